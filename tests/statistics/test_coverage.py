"""Intervals hold the truth as often as they say, on benchmarks made up to know it.

A benchmark is a law of difficulties: how likely the policy solves a problem. Problems
and responses are drawn thousands of times, and the truth is the mean over the law.
Where a problem is solved or not, nothing is drawn: all outcomes are counted.
"""

import math

import numpy as np
import pytest

from maspo_jax.statistics import comparison, estimators, intervals

TIMES = 2000
ERROR = 0.0049  # of a share near 0.95 among so many
LAWS = {  # shapes of a beta distribution
    "even": (1, 1),
    "solved or not": (0.3, 0.7),
    "hard": (0.15, 1.5),
    "very hard": (0.05, 2),
    "easy": (5, 0.5),
    "nearly all solved": (3, 0.15),
}
every_law = pytest.mark.parametrize("law", LAWS)


def scores(draw, law, times, problems, n, k):
    """Returns pass@k of each problem, [times, problems], and its true mean."""
    table = estimators.pass_at_k([[1] * c + [0] * (n - c) for c in range(n + 1)], k)
    right = draw.binomial(n, draw.beta(*LAWS[law], (times, problems)))
    truth = np.mean(1 - (1 - draw.beta(*LAWS[law], 1_000_000)) ** k)
    return table[right], truth


@pytest.fixture
def few_flips(monkeypatch):
    """For tests that look at intervals alone."""
    monkeypatch.setattr(comparison, "FLIPS", 1)


def share_held(found, truth):
    return np.mean([interval.low <= truth <= interval.high for interval in found])


@every_law
@pytest.mark.parametrize(
    "problems, n, k",
    [
        *((12, 8, 1), (30, 32, 1), (30, 32, 16), (40, 8, 4), (300, 4, 1)),
        *((30, 4, 4), (30, 4, 3), (30, 32, 32), (40, 4, 4), (300, 4, 4)),
    ],
)
def test_the_interval_of_a_score_holds_the_truth(law, problems, n, k):
    values, truth = scores(np.random.default_rng(1), law, TIMES, problems, n, k)
    assert share_held(map(intervals.score, values), truth) > 0.95 - 3 * ERROR


def coverage_of_shares(problems, truths):
    """Returns how often the interval of 0/1 scores holds each truth, all counted."""
    solved = np.arange(problems + 1)
    found = [intervals.score([1] * s + [0] * (problems - s)) for s in solved]
    low, high = np.array([(each.low, each.high) for each in found]).T[..., None]
    ways = np.array([math.log(math.comb(problems, s)) for s in solved])[:, None]
    s, truths = solved[:, None], truths[None]
    chance = np.exp(ways + s * np.log(truths) + (problems - s) * np.log1p(-truths))
    return np.sum(chance * ((low <= truths) & (truths <= high)), axis=0)


@pytest.mark.parametrize("problems", [12, 30, 40, 100, 272, 500])
def test_the_interval_of_a_share_holds_every_truth(problems):
    """As of pass@n of n responses, whatever the share; Wilson's held 1 in 85 %."""
    truths = np.concatenate([np.linspace(0, 1, 2001)[1:-1], 1 - np.geomspace(1e-6, 1)])
    held = coverage_of_shares(problems, truths[truths > 0])
    assert held.min() > 0.94
    assert held.mean() < 0.99, "or it would be wider than it has to be"


def test_the_interval_is_no_wider_than_it_has_to_be():
    """On problems that are solved or not, the widest of them, 95 % is 95 %."""
    draw = np.random.default_rng(2)
    values, truth = scores(draw, "solved or not", TIMES, 300, 32, 1)
    held = share_held(map(intervals.score, values), truth)
    assert held == pytest.approx(0.95, abs=3 * ERROR)


@pytest.mark.parametrize(
    "law, most", [("very hard", 0.82), ("nearly all solved", 0.91)]
)
def test_the_interval_of_student_would_not(law, most):
    """Why `score` does not take it: the figures its docstring names."""
    draw = np.random.default_rng(3)
    values, truth = scores(draw, law, TIMES, 30, 32, 1)
    half = intervals.student_quantile(0.95, 29) * values.std(axis=1, ddof=1) / 30**0.5
    assert np.mean(np.abs(values.mean(axis=1) - truth) <= half) < most


def test_the_interval_of_an_average_holds_the_truth():
    draw = np.random.default_rng(4)
    parts = [
        scores(draw, law, TIMES, problems, 8, 1)
        for law, problems in [("solved or not", 30), ("easy", 40), ("even", 300)]
    ]
    truth = np.mean([truth for _, truth in parts])
    found = [
        intervals.average(rows) for rows in zip(*(v for v, _ in parts), strict=True)
    ]
    assert share_held(found, truth) == pytest.approx(0.95, abs=0.025)


@pytest.mark.parametrize("problems", [12, 30, 100, 500])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_interval_of_a_one_way_difference_holds_every_truth(problems, sign):
    """One policy solves a few problems more and none less; Student's held in 80 %."""
    gained = np.arange(problems + 1)
    none = np.zeros(problems)
    found = [
        comparison._difference(sign * (gained[:-1] < b), none, 0.95) for b in gained
    ]
    low, high = np.array([(each.low, each.high) for each in found]).T[..., None]
    truths = np.linspace(0.2, min(0.9 * problems, 30), 500)[None] / problems
    ways = np.array([math.log(math.comb(problems, b)) for b in gained])[:, None]
    b = gained[:, None]
    chance = np.exp(ways + b * np.log(truths) + (problems - b) * np.log1p(-truths))
    held = np.sum(chance * ((low <= sign * truths) & (sign * truths <= high)), axis=0)
    assert held.min() > 0.945
    assert held.mean() < 0.992, "or it would be wider than it has to be"


@pytest.mark.parametrize(
    "problems, better, worse",
    [(30, 0.3, 0.3), (30, 0.1, 0.03), (100, 0.05, 0.02), (500, 0.02, 0.01)],
)
def test_the_interval_of_a_difference_of_solved_problems_holds(problems, better, worse):
    """Counted over all numbers of problems that only one of the two solves."""
    held = 0.0
    for up in range(problems + 1):
        for down in range(problems + 1 - up):
            same = problems - up - down
            ways = math.lgamma(problems + 1) - sum(
                math.lgamma(count + 1) for count in (up, down, same)
            )
            chance = math.exp(
                ways
                + up * math.log(better)
                + down * math.log(worse)
                + same * math.log(1 - better - worse)
            )
            if chance > 1e-7:
                values = np.repeat([1, -1, 0], [up, down, same])
                found = comparison._difference(values, 0 * values, 0.95)
                held += chance * (found.low <= better - worse <= found.high)
    assert 0.945 < held < 0.995


def policies(draw, law, times, problems, n, gain):
    """Returns avg@n of two policies on the same problems; one solves more of them.

    On a problem the other solves with probability p, the better one does with
    probability p + gain * 4 p (1 - p); the mean difference is returned too.
    """
    better = lambda p: p + gain * 4 * p * (1 - p)
    p = draw.beta(*LAWS[law], (times, problems))
    many = draw.beta(*LAWS[law], 1_000_000)
    rate = lambda p: draw.binomial(n, p) / n
    return rate(better(p)), rate(p), np.mean(better(many) - many)


@every_law
@pytest.mark.parametrize("gain", [0.0, 0.15])
@pytest.mark.parametrize("problems, n", [(30, 16), (40, 1)])
def test_the_interval_of_a_difference_holds_the_truth(
    few_flips, law, gain, problems, n
):
    draw = np.random.default_rng(5)
    mine, theirs, truth = policies(draw, law, TIMES, problems, n, gain)
    found = [
        comparison.compare(*pair).interval for pair in zip(mine, theirs, strict=True)
    ]
    assert share_held(found, truth) > 0.95 - 3 * ERROR


@pytest.mark.parametrize("law", ["even", "solved or not"])
def test_the_interval_of_a_difference_is_no_wider_than_it_has_to_be(few_flips, law):
    draw = np.random.default_rng(8)
    mine, theirs, truth = policies(draw, law, TIMES, 100, 16, 0.15)
    found = [
        comparison.compare(*pair).interval for pair in zip(mine, theirs, strict=True)
    ]
    assert share_held(found, truth) == pytest.approx(0.95, abs=3 * ERROR)


@pytest.mark.parametrize("law", ["even", "solved or not", "hard"])
def test_equal_policies_are_rarely_told_apart(law):
    draw = np.random.default_rng(6)
    mine, theirs, _ = policies(draw, law, 600, 30, 16, 0.0)
    p_values = [
        comparison.compare(*pair).p_value for pair in zip(mine, theirs, strict=True)
    ]
    assert np.mean(np.array(p_values) < 0.05) < 0.05 + 3 * 0.009


def test_a_detectable_difference_is_detected_four_times_in_five():
    """The gain whose true difference is the one called detectable at that gain."""
    draw = np.random.default_rng(7)
    law, problems, n = "solved or not", 60, 16
    gains, excess = np.linspace(0.04, 0.2, 9), []
    for gain in gains:
        mine, theirs, truth = policies(draw, law, 100, problems, n, gain)
        found = [comparison.compare(*pair) for pair in zip(mine, theirs, strict=True)]
        excess.append(truth - np.mean([difference.detectable for difference in found]))
    gain = np.interp(0, excess, gains)
    assert gains[0] < gain < gains[-1]
    mine, theirs, _ = policies(draw, law, 600, problems, n, gain)
    p_values = [
        comparison.compare(*pair).p_value for pair in zip(mine, theirs, strict=True)
    ]
    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.8, abs=0.05)
