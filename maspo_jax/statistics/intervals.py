"""How far a score can be trusted.

Problems are taken as drawn from all problems of their kind, and responses as drawn
from the policy. The score of a problem then varies for both reasons at once, and
independently of the other problems, so the variance over problems holds both:

    Var(mean) = Var(scores of problems) / P
              = (spread of the problems + chance of their n responses) / P

Drawing the responses of drawn problems again, as a nested bootstrap does, would count
chance twice. Only chance shrinks when more responses are drawn: `standard_errors` says
how much of the error it is. Miller, Adding Error Bars to Evals, arXiv 2411.00640.
"""

import dataclasses
import math

import numpy as np
from scipy import special

from maspo_jax.statistics import estimators

CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class Interval:
    """An estimate, and the ends of its confidence interval."""

    mean: float
    low: float
    high: float


def score(values, confidence=CONFIDENCE):
    """Returns the mean of the scores of problems, with its confidence interval.

    Wilson's interval for a share, with as many trials as the variance of the scores
    is worth, m (1 - m) / Var(mean), and Student's quantile for the normal one. A few
    problems that almost agree say little about the rest, so they are worth at most
    2 P trials, or P^2 / 20 where that is more. The interval stays within [0, 1].

    The end nearer to 0 or 1 is Agresti and Coull's, a little further out. Wilson's is
    too bold there: one missed problem of 30 would exclude a share of 99.7 %, which
    misses one of 30 in 8 % of cases. Brown, Cai and DasGupta, Interval Estimation for a
    Binomial Proportion, Statistical Science 16 (2001) 101.

    Chosen by coverage, which `tests/statistics/test_coverage.py` works out again: on
    30 problems, nearly all solved or nearly none, a bootstrap of problems or Student's
    interval, said to hold in 95 % of cases, held in 53 % to 90 %, and Wilson's in 85 %.

    Args:
        values: [P] in [0, 1], P at least 2.
        confidence: that the interval holds the mean over all problems of the kind.
    """
    values = one_per_problem(values)
    count, mean = len(values), float(values.mean())
    if values.min() < 0 or values.max() > 1:
        raise ValueError("values: scores of problems lie in [0, 1]")
    variance = float(values.var(ddof=1)) / count
    most = max(2 * count, count**2 / 20)
    # All scores equal: as if every one were 0 or 1.
    trials = min(mean * (1 - mean) / variance, most) if variance > 0 else count - 1.0
    square = student_quantile(confidence, count - 1) ** 2 / trials
    center = (mean + square / 2) / (1 + square)
    wilson = math.sqrt(square * (mean * (1 - mean) + square / 4)) / (1 + square)
    near = math.sqrt(square * center * (1 - center) / (1 + square))
    below, above = (near, wilson) if mean < 0.5 else (wilson, near)
    return Interval(mean, max(0.0, center - below), min(1.0, center + above))


def standard_errors(correct):
    """Returns the standard error of avg@n, and how much of it is chance.

    Args:
        correct: [P, n] of 0 and 1, P and n at least 2.

    Returns:
        The error over new problems and new responses, and the error over new responses
        to these very problems, which falls with the square root of n.
    """
    correct = estimators.verdicts(correct)
    count, n = correct.shape
    mean = one_per_problem(correct.mean(axis=1))
    if n < 2:
        return math.sqrt(mean.var(ddof=1) / count), math.nan
    chance = float(np.mean(mean * (1 - mean))) / (n - 1)  # unbiased for p (1 - p) / n
    return math.sqrt(mean.var(ddof=1) / count), math.sqrt(chance / count)


def average(benchmarks, confidence=CONFIDENCE):
    """Returns the plain mean of the scores of several benchmarks, with its interval.

    Args:
        benchmarks: an array of the scores of problems, [P], for each.
        confidence: of the interval.
    """
    return mean_of_independent([score(values, confidence) for values in benchmarks])


def mean_of_independent(parts):
    """Returns the interval of a mean of independent estimates, given theirs.

    Distances to the ends are put together as standard errors are: Zou and Donner,
    Statistics in Medicine 27 (2008) 1693.
    """
    mean = sum(part.mean for part in parts) / len(parts)
    below = math.hypot(*(part.mean - part.low for part in parts)) / len(parts)
    above = math.hypot(*(part.high - part.mean for part in parts)) / len(parts)
    return Interval(mean, mean - below, mean + above)


def student_quantile(confidence, freedom):
    """Returns how many standard errors hold Student's variable so often, two-sided."""
    return float(special.stdtrit(freedom, (1 + confidence) / 2))


def one_per_problem(values):
    """Returns the scores of problems, [P] float.

    Raises:
        ValueError: not one number for each of at least 2 problems.
    """
    values = np.asarray(values, float)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(
            "the scores of at least 2 problems are needed, one number each: a single "
            "problem says nothing about others"
        )
    return values
