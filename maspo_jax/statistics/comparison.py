"""How much better one policy is than another, problem by problem.

Both answered the same problems, so what makes a problem hard for both cancels in the
differences, whose interval is wide because of problems and responses drawn, as that of
a score is (`intervals`). Whether there is any difference is the question of a
permutation test, and of several benchmarks that of Holm's correction.
"""

import dataclasses
import math

import numpy as np
from scipy import special

from maspo_jax.statistics import intervals
from maspo_jax.statistics.intervals import CONFIDENCE

ALPHA = 0.05  # a corrected p-value below it: the difference is real
POWER = 0.8
FLIPS = 10_000  # drawn where there are too many to try all
EXACT = 13  # problems up to which all sign flips are tried


@dataclasses.dataclass(frozen=True)
class Difference:
    """How much better one policy is than another on the same problems.

    `detectable` is infinite for so few problems that no p-value is below `ALPHA`.
    """

    interval: intervals.Interval
    p_value: float
    detectable: float  # the smallest true difference found with 80 % probability


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
        (intervals.one_per_problem(one), intervals.one_per_problem(other))
        for one, other in zip(mine, theirs, strict=True)
    ]
    for one, other in pairs:
        if one.shape != other.shape:
            raise ValueError(
                f"{len(one)} problems against {len(other)}: compare the same problems"
            )
    interval = intervals.mean_of_independent(
        [_difference(one, other, confidence) for one, other in pairs]
    )
    normal = special.ndtri  # the quantile of the normal distribution
    steps = 1 + float(normal(POWER) / normal((1 + confidence) / 2))
    detectable = steps * (interval.high - interval.low) / 2
    # Of all flips, those that make every sign equal are as large as any.
    if 2 / 2 ** sum(len(one) for one, _ in pairs) >= ALPHA:
        detectable = math.inf
    p_value = flip_test([one - other for one, other in pairs], seed)
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
    half = intervals.student_quantile(confidence, count - 1) * error
    return intervals.Interval(mean, mean - half, mean + half)


def _of_shares(differences, confidence):
    """Returns the mean of differences that are -1, 0 or 1, with its interval.

    It is u - d, of the share u of problems that only the one policy solves, and the
    share d of those that only the other does. Both have the interval of a score, put
    together as those of independent estimates are. No problem is of both kinds, so the
    shares are correlated: with the covariance -u d / P, the variance of u - d grows by
    twice u d / P.

    Student's interval would hold a true difference of 3 / P in 80 % of cases where one
    policy solves a few problems more and none less.
    """
    up = intervals.score(np.maximum(differences, 0), confidence)
    down = intervals.score(np.maximum(-differences, 0), confidence)
    quantile = intervals.student_quantile(confidence, len(differences) - 1)
    joint = quantile * math.sqrt(2 * up.mean * down.mean / len(differences))
    below = math.hypot(up.mean - up.low, down.high - down.mean, joint)
    above = math.hypot(up.high - up.mean, down.mean - down.low, joint)
    mean = up.mean - down.mean
    return intervals.Interval(mean, mean - below, mean + above)


def flip_test(differences, seed):
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
