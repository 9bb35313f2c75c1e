"""How far a score, or a difference of two, can be trusted. NumPy only.

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
import functools
import math
import statistics

import numpy as np

from maspo_jax.statistics import estimators

CONFIDENCE = 0.95
ALPHA = 0.05  # a corrected p-value below it: the difference is real
POWER = 0.8
FLIPS = 10_000  # drawn where there are too many to try all
EXACT = 13  # problems up to which all sign flips are tried


@dataclasses.dataclass(frozen=True)
class Interval:
    """An estimate, and the ends of its confidence interval."""

    mean: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Difference:
    """How much better one policy is than another on the same problems.

    `detectable` is infinite for so few problems that no p-value is below `ALPHA`.
    """

    interval: Interval
    p_value: float
    detectable: float  # the smallest true difference found with 80 % probability


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

    Chosen by coverage, which `tests/test_coverage.py` works out again: on 30 problems,
    nearly all solved or nearly none, a bootstrap of problems or Student's interval,
    said to hold in 95 % of cases, held in 53 % to 90 %, and Wilson's in 85 %.

    Args:
        values: [P] in [0, 1], P at least 2.
        confidence: that the interval holds the mean over all problems of the kind.
    """
    values = _one_per_problem(values)
    count, mean = len(values), float(values.mean())
    if values.min() < 0 or values.max() > 1:
        raise ValueError("values: scores of problems lie in [0, 1]")
    variance = float(values.var(ddof=1)) / count
    most = max(2 * count, count**2 / 20)
    # All scores equal: as if every one were 0 or 1.
    trials = min(mean * (1 - mean) / variance, most) if variance > 0 else count - 1.0
    square = student_quantile((1 + confidence) / 2, count - 1) ** 2 / trials
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
    mean = _one_per_problem(correct.mean(axis=1))
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
    return _mean([score(values, confidence) for values in benchmarks])


def compare(mine, theirs, confidence=CONFIDENCE, seed=0):
    """Returns how much better one policy is than another on the same problems.

    What makes a problem hard for both cancels. The p-value is that of a permutation
    test: were the policies equal, the difference on each problem could as well have
    the other sign.

    Args:
        mine: [P] scores of one policy; or a list of them, one for each benchmark, for
            the difference of the plain means over benchmarks.
        theirs: those of the other policy, on the same problems in the same order.
        confidence: of the interval.
        seed: of the sign flips, where there are too many problems to try all.
    """
    if not isinstance(mine, list):
        mine, theirs = [mine], [theirs]
    pairs = [
        (_one_per_problem(one), _one_per_problem(other))
        for one, other in zip(mine, theirs, strict=True)
    ]
    for one, other in pairs:
        if one.shape != other.shape:
            raise ValueError(
                f"{len(one)} problems against {len(other)}: compare the same problems"
            )
    interval = _mean([_difference(one, other, confidence) for one, other in pairs])
    normal = statistics.NormalDist().inv_cdf
    steps = 1 + normal(POWER) / normal((1 + confidence) / 2)
    detectable = steps * (interval.high - interval.low) / 2
    # Of all flips, those that make every sign equal are as large as any.
    if 2 / 2 ** sum(len(one) for one, _ in pairs) >= ALPHA:
        detectable = math.inf
    p_value = _flip_test([one - other for one, other in pairs], seed)
    return Difference(interval, p_value, detectable)


def _difference(mine, theirs, confidence):
    """Returns the mean of paired differences, with Student's interval.

    Where the policies agree nearly everywhere, their few differences say little about
    other problems: the standard error is at least half a problem, 1 / (2 P). So the
    interval is not empty where both agree. Where a problem is either solved or not,
    see `_of_shares`.
    """
    differences = mine - theirs
    if np.isin(differences, (-1, 0, 1)).all():
        return _of_shares(differences, confidence)
    count, mean = len(differences), float(differences.mean())
    error = max(differences.std(ddof=1) / math.sqrt(count), 0.5 / count)
    half = student_quantile((1 + confidence) / 2, count - 1) * error
    return Interval(mean, mean - half, mean + half)


def _of_shares(differences, confidence):
    """Returns the mean of differences that are -1, 0 or 1, with its interval.

    It is u - d, of the share u of problems that only the one policy solves, and the
    share d of those that only the other does. Both have the interval of a `score`, put
    together as in `_mean`. No problem is of both kinds, so the shares are correlated:
    with the covariance -u d / P, the variance of u - d grows by twice u d / P.

    Student's interval would hold a true difference of 3 / P in 80 % of cases where one
    policy solves a few problems more and none less.
    """
    up = score(np.maximum(differences, 0), confidence)
    down = score(np.maximum(-differences, 0), confidence)
    quantile = student_quantile((1 + confidence) / 2, len(differences) - 1)
    joint = quantile * math.sqrt(2 * up.mean * down.mean / len(differences))
    below = math.hypot(up.mean - up.low, down.high - down.mean, joint)
    above = math.hypot(up.high - up.mean, down.mean - down.low, joint)
    mean = up.mean - down.mean
    return Interval(mean, mean - below, mean + above)


def _mean(parts):
    """Returns the interval of a mean of independent estimates, given theirs.

    Distances to the ends are put together as standard errors are: Zou and Donner,
    Statistics in Medicine 27 (2008) 1693.
    """
    mean = sum(part.mean for part in parts) / len(parts)
    below = math.hypot(*(part.mean - part.low for part in parts)) / len(parts)
    above = math.hypot(*(part.high - part.mean for part in parts)) / len(parts)
    return Interval(mean, mean - below, mean + above)


def _flip_test(differences, seed):
    """Returns the p-value of a mean of means under random signs, two-sided."""
    weighted = np.concatenate(
        [values / len(values) / len(differences) for values in differences]
    )
    weighted = weighted[weighted != 0]
    if not len(weighted):
        return 1.0
    exact = len(weighted) <= EXACT
    if exact:
        bits = np.arange(2 ** len(weighted))[:, None] >> np.arange(len(weighted))[None]
        flipped = (1 - 2 * (bits & 1)) @ weighted
    else:
        draw = np.random.default_rng(seed)
        signs = draw.integers(0, 2, (FLIPS, len(weighted)), dtype=np.int8)
        flipped = (1 - 2 * signs) @ weighted
    extreme = int(np.sum(np.abs(flipped) >= abs(weighted.sum()) - 1e-12))
    # What was seen is itself one of the flips; among all of them it is counted already.
    return extreme / len(flipped) if exact else (extreme + 1) / (FLIPS + 1)


def holm(p_values):
    """Returns p-values corrected for being several, by Holm's method. [M] -> [M].

    Of the M differences that were given, those whose corrected value is below `ALPHA`
    are all real, with 95 % confidence. A difference that was tested beside them, such
    as that of another score, is not counted.
    """
    p_values = np.asarray(p_values, float)
    order = np.argsort(p_values)
    factors = np.arange(len(order), 0, -1)
    corrected = np.empty_like(p_values)
    corrected[order] = np.maximum.accumulate(p_values[order] * factors)
    return np.minimum(corrected, 1)


@functools.cache
def student_quantile(probability, freedom):
    """Returns the quantile of Student's distribution, for a probability above 1/2.

    By bisection of its distribution function, a finite sum for whole degrees of
    freedom: Abramowitz and Stegun, 26.7.3 and 26.7.4.
    """
    if freedom > 500:  # within 0.3 % of it
        return statistics.NormalDist().inv_cdf(probability)
    low, high = 0.0, math.pi / 2  # of the angle whose tangent is t / sqrt(freedom)
    for _ in range(60):
        angle = (low + high) / 2
        if _student_mass(angle, freedom) < 2 * probability - 1:
            low = angle
        else:
            high = angle
    return math.sqrt(freedom) * math.tan(high)


def _student_mass(angle, freedom):
    """Returns the probability within an angle of zero, on both sides."""
    odd = freedom % 2
    term = math.cos(angle) if odd else 1.0
    total = 0.0
    for power in range(1 + odd, freedom, 2):
        total += term
        term *= math.cos(angle) ** 2 * power / (power + 1)
    total *= math.sin(angle)
    return 2 / math.pi * (angle + total) if odd else total


def _one_per_problem(values):
    values = np.asarray(values, float)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(
            "the scores of at least 2 problems are needed, one number each: a single "
            "problem says nothing about others"
        )
    return values
