"""Intervals against closed forms."""

import numpy as np
import pytest

from maspo_jax.statistics import intervals

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "freedom, quantiles",
    [  # Abramowitz and Stegun, table 26.10, and for 1000 by scipy.stats.t
        (1, (12.706, 63.657)),
        (2, (4.303, 9.925)),
        (5, (2.571, 4.032)),
        (29, (2.045, 2.756)),
        (120, (1.980, 2.617)),
        (1000, (1.962, 2.581)),
    ],
)
def test_quantiles_are_those_of_the_table(freedom, quantiles):
    got = [intervals.student_quantile(share, freedom) for share in (0.95, 0.99)]
    assert got == pytest.approx(quantiles, abs=5.1e-4)


def test_an_interval_holds_its_mean_and_shrinks_with_problems():
    few = intervals.score([0.0, 0.25, 0.5, 1.0] * 5)
    many = intervals.score([0.0, 0.25, 0.5, 1.0] * 50)
    assert few.mean == many.mean == 0.4375
    assert 0 < few.low < many.low < 0.4375 < many.high < few.high < 1
    wider = intervals.score([0.0, 0.25, 0.5, 1.0] * 5, confidence=0.99)
    assert wider.low < few.low and wider.high > few.high


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_thirty_problems_that_agree_do_not_prove_the_next(value):
    interval = intervals.score([value] * 30)
    assert interval.mean == value and interval.high - interval.low > 0.1
    assert 0 <= interval.low <= value <= interval.high <= 1


@pytest.mark.parametrize("solved", range(31))
def test_scores_of_zero_and_one_give_the_intervals_of_the_literature(solved):
    """With n - 1 trials and Student's quantile: the nearer end of Agresti and Coull."""
    q, n, m = 2.04523, 29, solved / 30
    center = (m + q**2 / (2 * n)) / (1 + q**2 / n)
    wilson = q * np.sqrt(m * (1 - m) / n + q**2 / (4 * n**2)) / (1 + q**2 / n)
    agresti_coull = q * np.sqrt(center * (1 - center) / (n + q**2))
    interval = intervals.score([1] * solved + [0] * (30 - solved))
    far, near = center - wilson, center + agresti_coull
    if solved < 15:
        far, near = center + wilson, center - agresti_coull
    ends = min(max(near, 0), 1), min(max(far, 0), 1)
    assert [interval.low, interval.high] == pytest.approx(sorted(ends), abs=1e-5)


def test_the_error_has_a_part_that_more_responses_remove():
    difficulty = RNG.beta(0.5, 0.5, 4000)
    of = lambda n: RNG.random((4000, n)) < difficulty[:, None]
    (few, few_chance), (many, many_chance) = map(
        intervals.standard_errors, map(of, (4, 64))
    )
    chance = np.sqrt(np.mean(difficulty * (1 - difficulty)) / 4000)
    assert few_chance == pytest.approx(chance / 2, rel=0.05)
    assert many_chance == pytest.approx(chance / 8, rel=0.05)
    problems = difficulty.std() / np.sqrt(4000)
    assert few == pytest.approx(np.hypot(problems, chance / 2), rel=0.05)
    assert many == pytest.approx(np.hypot(problems, chance / 8), rel=0.05)


def test_the_average_counts_every_benchmark_the_same():
    small, large = RNG.random(40), RNG.random(1000) / 2
    interval = intervals.average([small, large])
    assert interval.mean == pytest.approx((small.mean() + large.mean()) / 2)
    error = np.sqrt(small.var(ddof=1) / 40 + large.var(ddof=1) / 1000) / 2
    assert 1.96 < (interval.high - interval.low) / 2 / error < 2.5
    assert intervals.average([small]) == intervals.score(small)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: intervals.score([0.5]), "at least 2 problems"),
        (lambda: intervals.score([0.5, 1.5]), "lie in"),
    ],
)
def test_what_has_no_interval_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
