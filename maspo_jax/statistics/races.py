"""Which of several methods is better, by runs from several training seeds.

The unit is the training seed: what differs between two runs of one method says how far
a difference between methods can be trusted. Problems and responses are part of a run's
score. Runs of two methods with one seed start from the same parameters and see the same
prompts, so differences are taken seed by seed. A run that collapsed has no score: it
counts as the worst, and is counted.

Agarwal et al., Deep Reinforcement Learning at the Edge of the Statistical Precipice,
arXiv 2108.13264: interquartile mean, stratified bootstrap, probability of improvement.
"""

import dataclasses
import itertools
import math

import numpy as np
from scipy import special, stats

from maspo_jax.statistics import comparison, intervals
from maspo_jax.statistics.intervals import CONFIDENCE, Interval

DRAWS = 2000  # of the bootstrap


@dataclasses.dataclass(frozen=True)
class Standing:
    """How one method did."""

    score: Interval  # the interquartile mean over seeds
    mean: float  # over seeds
    failures: float  # share of seeds whose run collapsed
    seeds: int


@dataclasses.dataclass(frozen=True)
class Duel:
    """How one method did against another on the same seeds.

    `detectable` is infinite for so few seeds that no p-value is below
    `comparison.ALPHA`. Where several methods race, both are corrected for that.
    """

    better: Interval  # probability that a run of the one beats a run of the other
    difference: Interval  # mean over seeds of the one less the other
    p_value: float
    detectable: float  # the smallest true difference found with 80 % probability
    seeds: int

    @property
    def real(self):
        """Whether it can be told which is better."""
        return self.p_value < comparison.ALPHA


@dataclasses.dataclass(frozen=True)
class Race:
    """What the runs of several methods say. `race` makes one."""

    standings: dict  # {method: Standing}, the best first
    duels: dict  # {(the one, the other): Duel}, of every two, the better first

    @property
    def winner(self):
        """The method that beats all others for certain, or None."""
        first = next(iter(self.standings))
        own = [duel for pair, duel in self.duels.items() if first == pair[0]]
        certain = len(own) == len(self.standings) - 1 and all(duel.real for duel in own)
        return first if certain else None


def race(scores, worst, confidence=CONFIDENCE, seed=0):
    """Compares methods by the scores of their runs.

    Args:
        scores: {method: {training seed: score}}, of at least two methods, each with the
            same seeds, at least 2; NaN for a run that collapsed.
        worst: the score that a collapsed run counts as.
        confidence: of the intervals.
        seed: of the bootstrap and of the permutation test.

    Returns:
        The `Race`. P-values are corrected by Holm's method for all pairs of methods, so
        that with 95 % confidence no difference said to be real is none.

    Raises:
        ValueError: fewer than two methods, other seeds, fewer than 2 of them, or a
            score that is infinite or below the worst.
    """
    values, failures = _table(scores, worst)
    standings = {
        method: Standing(
            bootstrap(interquartile_mean, row[None], confidence, seed),
            float(row.mean()),
            failures[method],
            len(row),
        )
        for method, row in values.items()
    }
    order = sorted(values, key=lambda method: -standings[method].mean)
    pairs = [*itertools.combinations(order, 2)]
    duels = [duel(values[a], values[b], confidence, seed) for a, b in pairs]
    corrected = comparison.holm([each.p_value for each in duels])
    duels = [
        dataclasses.replace(
            each,
            p_value=float(p),
            detectable=_detectable(values[a] - values[b], len(pairs)),
        )
        for each, p, (a, b) in zip(duels, corrected, pairs, strict=True)
    ]
    return Race(
        {method: standings[method] for method in order},
        dict(zip(pairs, duels, strict=True)),
    )


def duel(mine, theirs, confidence=CONFIDENCE, seed=0):
    """Returns the `Duel` of two methods, alone: its p-value is not corrected.

    The p-value is that of a permutation test: were the methods equal, the difference of
    each seed could as well have the other sign.

    Args:
        mine: [S] scores of runs, S at least 2.
        theirs: [S] of the other method, with the same seeds in the same order.
        confidence: of the intervals.
        seed: of the sign flips, where there are too many seeds to try all.
    """
    mine, theirs = _paired(mine, theirs)
    differences, count = mine - theirs, len(mine)
    mean = float(differences.mean())
    error = float(differences.std(ddof=1)) / math.sqrt(count)
    half = intervals.student_quantile(confidence, count - 1) * error
    return Duel(
        probability_of_improvement(mine, theirs, confidence),
        Interval(mean, mean - half, mean + half),
        comparison.flip_test([differences], seed),
        _detectable(differences),
        count,
    )


def _detectable(differences, pairs=1):
    """Returns the smallest true difference that is found with a probability of 80 %.

    Args:
        differences: [S], seed by seed.
        pairs: of methods that are compared: by Holm's method the first of them has to
            be as unlikely as ALPHA / pairs.
    """
    count, level = len(differences), comparison.ALPHA / pairs
    if 2 / 2**count >= level:  # no p-value of a permutation test is that small
        return math.inf
    error = float(differences.std(ddof=1)) / math.sqrt(count)
    normal = special.ndtri  # the quantile of the normal distribution
    quantile = intervals.student_quantile(1 - level, count - 1)
    return error * quantile * (1 + normal(comparison.POWER) / normal(1 - level / 2))


def probability_of_improvement(mine, theirs, confidence=CONFIDENCE):
    """Returns how likely a run of one method beats one of another, with its interval.

    The share of all pairs of a run of the one and a run of the other that the one
    wins; a tie is half a win. Its variance is that of the sums over seeds of how each
    run does against all of the other method, so what runs with one seed have in common
    counts.
    The interval is Wilson's for a share with as many trials as this variance is worth,
    S - 1 where all pairs end alike, and Student's quantile.

    Args:
        mine: [S] scores of runs, S at least 2.
        theirs: [S] of the other method, with the same seeds in the same order.
        confidence: that the interval holds the probability.
    """
    mine, theirs = _paired(mine, theirs)
    wins = (np.sign(mine[:, None] - theirs[None]) + 1) / 2
    count, mean = len(mine), float(wins.mean())
    variance = float(np.var(wins.mean(axis=1) + wins.mean(axis=0), ddof=1)) / count
    most = 2 * count
    trials = count - 1.0
    if variance > 0:
        trials = max(min(mean * (1 - mean) / variance, most), trials)
    square = intervals.student_quantile(confidence, count - 1) ** 2 / trials
    center = (mean + square / 2) / (1 + square)
    half = math.sqrt(square * (mean * (1 - mean) + square / 4)) / (1 + square)
    return Interval(mean, max(0.0, center - half), min(1.0, center + half))


def interquartile_mean(scores):
    """Returns the mean of the middle half of scores. [..., K, S] -> [...]."""
    scores = np.asarray(scores, float)
    return stats.trim_mean(scores.reshape(*scores.shape[:-2], -1), 0.25, axis=-1)


def bootstrap(statistic, scores, confidence=CONFIDENCE, seed=0, draws=DRAWS):
    """Returns a statistic of scores with its interval, by a stratified bootstrap.

    Seeds are drawn with replacement within each task; the interval is that of the
    percentiles.

    Args:
        statistic: a function of scores, [..., K, S] -> [...].
        scores: [K, S], of S seeds in each of K tasks.
        confidence: of the interval.
        seed: of the draws.
        draws: how many.
    """
    scores = np.asarray(scores, float)
    tasks, count = scores.shape
    generator = np.random.default_rng(seed)
    drawn = generator.integers(0, count, (draws, tasks, count))
    found = statistic(np.take_along_axis(scores[None], drawn, axis=2))
    low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(statistic(scores)), float(low), float(high))


def area_under_curve(steps, values):
    """Returns the mean of a curve over its steps, by trapezoids.

    Args:
        steps: [M] increasing, M at least 2.
        values: [M].
    """
    steps = _increasing(steps, values)
    return float(np.trapezoid(values, steps) / (steps[-1] - steps[0]))


def steps_to_level(steps, values, level):
    """Returns the first step at which a curve is at a level or above, or infinity.

    Args:
        steps: [M] increasing, M at least 2.
        values: [M].
        level: a number.
    """
    steps = _increasing(steps, values)
    reached = np.flatnonzero(np.asarray(values) >= level)
    return float(steps[reached[0]]) if len(reached) else math.inf


def _increasing(steps, values):
    steps = np.asarray(steps, float)
    if len(steps) < 2 or len(steps) != len(values) or np.any(np.diff(steps) <= 0):
        raise ValueError(
            "steps: give at least 2 that increase, and as many values; "
            f"{len(steps)} steps and {len(values)} values were given"
        )
    return steps


def _paired(mine, theirs):
    mine, theirs = np.asarray(mine, float), np.asarray(theirs, float)
    if mine.shape != theirs.shape or mine.ndim != 1 or len(mine) < 2:
        raise ValueError(
            f"scores of shapes {mine.shape} and {theirs.shape}: give one of each seed, "
            "for both methods the same seeds, at least 2"
        )
    if not (np.isfinite(mine).all() and np.isfinite(theirs).all()):
        raise ValueError(
            "scores: a run that collapsed has none; `race` counts it as the worst"
        )
    return mine, theirs


def _table(scores, worst):
    """Returns {method: [S] scores}, and the share of collapsed runs of each."""
    if len(scores) < 2:
        raise ValueError(f"{len(scores)} methods: a race takes at least 2")
    first, *others = scores
    seeds = sorted(scores[first])
    if len(seeds) < 2:
        raise ValueError(f"{first}: {len(seeds)} seeds; give at least 2")
    for method in others:
        if other := set(scores[method]) ^ set(seeds):
            raise ValueError(
                f"{first} and {method}: seeds {sorted(other)} are of only one of them; "
                "give every method the same seeds"
            )
    rows = {
        method: np.array([of[seed] for seed in seeds], float)
        for method, of in scores.items()
    }
    for method, row in rows.items():
        wrong = row[np.isinf(row) | (row < worst)]
        if len(wrong):
            raise ValueError(
                f"{method}: a score of {wrong[0]:.4g}, where the worst is {worst}: "
                "give finite scores, none below the worst, and NaN for a collapsed run"
            )
    failures = {method: float(np.isnan(row).mean()) for method, row in rows.items()}
    return {m: np.where(np.isnan(row), worst, row) for m, row in rows.items()}, failures
