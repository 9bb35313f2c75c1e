"""Intervals, p-values and corrections against closed forms and enumeration."""

import itertools

import numpy as np
import pytest

from maspo_jax.statistics import intervals

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "freedom, quantiles",
    [  # Abramowitz and Stegun, table 26.10: 97.5 % and 99.5 %
        (1, (12.706, 63.657)),
        (2, (4.303, 9.925)),
        (5, (2.571, 4.032)),
        (29, (2.045, 2.756)),
        (120, (1.980, 2.617)),
        (1000, (1.960, 2.576)),
    ],
)
def test_quantiles_are_those_of_the_table(freedom, quantiles):
    got = [intervals.student_quantile(p, freedom) for p in (0.975, 0.995)]
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


def test_policies_that_both_solve_everything_may_still_differ():
    both = intervals.compare(np.ones(30), np.ones(30))
    most = intervals.score(np.zeros(30)).high  # that may be solved by one of them alone
    assert both.interval.mean == 0 and both.p_value == 1
    assert both.interval.low == pytest.approx(-most) and 3 / 30 < most < 5 / 30
    assert both.interval.high == pytest.approx(most)
    assert both.detectable == pytest.approx(most * (1 + 0.8416 / 1.96), rel=1e-4)
    half = np.ones(30)
    half[0] = 0.5
    nearly = intervals.compare(np.ones(30), half).interval
    assert nearly.high - nearly.low == pytest.approx(2.0452 / 30, rel=1e-4)


def test_where_one_policy_alone_solves_more_the_difference_is_their_share():
    """Its end away from zero is that of the share; the other allows for the reverse."""
    more = np.repeat([1.0, 0.0], [4, 36])
    share, none = intervals.score(more), intervals.score(np.zeros(40))
    got = intervals.compare(more, np.zeros(40)).interval
    assert got.high == pytest.approx(share.high)
    below = np.hypot(share.mean - share.low, none.high)
    assert got.low == pytest.approx(share.mean - below)


def test_the_interval_of_a_difference_is_that_of_the_paired_differences():
    mine = RNG.random(30)
    theirs = 0.7 * mine + 0.3 * RNG.random(30)
    got = intervals.compare(mine, theirs).interval
    half = 2.0452 * (mine - theirs).std(ddof=1) / np.sqrt(30)
    assert got.high - got.low == pytest.approx(2 * half, rel=1e-4)


def test_the_p_value_is_the_share_of_sign_flips_as_large():
    mine, theirs = RNG.random((2, 8))
    flips = itertools.product([-1, 1], repeat=8)
    sums = [np.dot(signs, mine - theirs) for signs in flips]
    share = np.mean(np.abs(sums) >= abs(np.sum(mine - theirs)) - 1e-12)
    assert intervals.compare(mine, theirs).p_value == pytest.approx(share)


def test_drawn_flips_agree_with_all_of_them(monkeypatch):
    mine, theirs = RNG.random(13), RNG.random(13) - 0.2
    exact = intervals.compare(mine, theirs).p_value
    monkeypatch.setattr(intervals, "EXACT", 0)
    drawn = intervals.compare(mine, theirs, seed=3).p_value
    assert drawn != exact and drawn == pytest.approx(exact, abs=0.02)
    assert intervals.compare(mine, theirs, seed=3).p_value == drawn


@pytest.mark.parametrize("problems", [[2], [5], [6], [2, 3], [3, 3]])
def test_so_few_problems_that_no_p_value_is_small_enough_detect_nothing(problems):
    """The best there can be: one policy solves all of them, the other none."""
    mine, theirs = [np.ones(n) for n in problems], [np.zeros(n) for n in problems]
    found = intervals.compare(mine, theirs)
    assert (found.p_value < intervals.ALPHA) == (sum(problems) >= 6)
    assert np.isfinite(found.detectable) == (sum(problems) >= 6)


def test_a_difference_has_the_sign_of_who_is_better():
    theirs = RNG.random(50)
    better = intervals.compare(theirs + 0.1 + 0.02 * RNG.random(50), theirs)
    worse = intervals.compare(theirs, theirs + 0.1 + 0.02 * RNG.random(50))
    assert better.interval.low > 0 > worse.interval.high
    assert max(better.p_value, worse.p_value) < 0.001
    same = intervals.compare(theirs, theirs)
    assert same.p_value == 1 and same.interval.mean == 0


def test_what_both_find_hard_cancels():
    hard = RNG.random(100)
    noise = lambda: hard + 0.01 * RNG.random(100)
    paired = intervals.compare(noise(), noise()).interval
    shuffled = intervals.compare(noise(), RNG.permutation(noise())).interval
    assert 6 * (paired.high - paired.low) < shuffled.high - shuffled.low


def test_several_benchmarks_are_compared_by_the_difference_of_their_means():
    mine = [RNG.random(20), RNG.random(300)]
    theirs = [RNG.random(20), RNG.random(300)]
    got = intervals.compare(mine, theirs)
    expected = np.mean([a.mean() - b.mean() for a, b in zip(mine, theirs, strict=True)])
    assert got.interval.mean == pytest.approx(expected)
    single = intervals.compare(mine[:1], theirs[:1])
    assert single == intervals.compare(mine[0], theirs[0])


def test_holm_multiplies_the_smallest_by_all_and_never_falls():
    # 3 * 0.01, then 2 * 0.02 = 0.04, then 0.03 raised to what came before it.
    np.testing.assert_allclose(intervals.holm([0.03, 0.01, 0.02]), [0.04, 0.03, 0.04])
    np.testing.assert_allclose(intervals.holm([0.6, 0.7]), [1, 1])
    np.testing.assert_allclose(intervals.holm([0.04]), [0.04])


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: intervals.score([0.5]), "at least 2 problems"),
        (lambda: intervals.score([0.5, 1.5]), "lie in"),
        (lambda: intervals.compare([0, 1], [0, 1]), "at least 2 problems"),
        (lambda: intervals.compare(np.zeros(3), np.zeros(4)), "3 problems against 4"),
    ],
)
def test_what_has_no_interval_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
