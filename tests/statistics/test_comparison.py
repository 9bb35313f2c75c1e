"""Differences, p-values and corrections against closed forms and enumeration."""

import itertools

import numpy as np
import pytest

from maspo_jax.statistics import comparison, intervals

RNG = np.random.default_rng(0)


def test_policies_that_both_solve_everything_may_still_differ():
    both = comparison.compare(np.ones(30), np.ones(30))
    most = intervals.score(np.zeros(30)).high  # that may be solved by one of them alone
    assert both.interval.mean == 0 and both.p_value == 1
    assert both.interval.low == pytest.approx(-most) and 3 / 30 < most < 5 / 30
    assert both.interval.high == pytest.approx(most)
    assert both.detectable == pytest.approx(most * (1 + 0.8416 / 1.96), rel=1e-4)
    half = np.ones(30)
    half[0] = 0.5
    nearly = comparison.compare(np.ones(30), half).interval
    assert nearly.high - nearly.low == pytest.approx(2.0452 / 30, rel=1e-4)


def test_where_one_policy_alone_solves_more_the_difference_is_their_share():
    """Its end away from zero is that of the share; the other allows for the reverse."""
    more = np.repeat([1.0, 0.0], [4, 36])
    share, none = intervals.score(more), intervals.score(np.zeros(40))
    got = comparison.compare(more, np.zeros(40)).interval
    assert got.high == pytest.approx(share.high)
    below = np.hypot(share.mean - share.low, none.high)
    assert got.low == pytest.approx(share.mean - below)


def test_the_interval_of_a_difference_is_that_of_the_paired_differences():
    mine = RNG.random(30)
    theirs = 0.7 * mine + 0.3 * RNG.random(30)
    got = comparison.compare(mine, theirs).interval
    half = 2.0452 * (mine - theirs).std(ddof=1) / np.sqrt(30)
    assert got.high - got.low == pytest.approx(2 * half, rel=1e-4)


def test_the_p_value_is_the_share_of_sign_flips_as_large():
    mine, theirs = RNG.random((2, 8))
    flips = itertools.product([-1, 1], repeat=8)
    sums = [np.dot(signs, mine - theirs) for signs in flips]
    share = np.mean(np.abs(sums) >= abs(np.sum(mine - theirs)) - 1e-12)
    assert comparison.compare(mine, theirs).p_value == pytest.approx(share)


def test_drawn_flips_agree_with_all_of_them(monkeypatch):
    mine, theirs = RNG.random(13), RNG.random(13) - 0.2
    exact = comparison.compare(mine, theirs).p_value
    monkeypatch.setattr(comparison, "EXACT", 0)
    drawn = comparison.compare(mine, theirs, seed=3).p_value
    assert drawn != exact and drawn == pytest.approx(exact, abs=0.02)
    assert comparison.compare(mine, theirs, seed=3).p_value == drawn


@pytest.mark.parametrize("problems", [[2], [5], [6], [2, 3], [3, 3]])
def test_so_few_problems_that_no_p_value_is_small_enough_detect_nothing(problems):
    """The best there can be: one policy solves all of them, the other none."""
    mine, theirs = [np.ones(n) for n in problems], [np.zeros(n) for n in problems]
    found = comparison.compare(mine, theirs)
    assert (found.p_value < comparison.ALPHA) == (sum(problems) >= 6)
    assert np.isfinite(found.detectable) == (sum(problems) >= 6)


def test_a_difference_has_the_sign_of_who_is_better():
    theirs = RNG.random(50)
    better = comparison.compare(theirs + 0.1 + 0.02 * RNG.random(50), theirs)
    worse = comparison.compare(theirs, theirs + 0.1 + 0.02 * RNG.random(50))
    assert better.interval.low > 0 > worse.interval.high
    assert max(better.p_value, worse.p_value) < 0.001
    same = comparison.compare(theirs, theirs)
    assert same.p_value == 1 and same.interval.mean == 0


def test_what_both_find_hard_cancels():
    hard = RNG.random(100)
    noise = lambda: hard + 0.01 * RNG.random(100)
    paired = comparison.compare(noise(), noise()).interval
    shuffled = comparison.compare(noise(), RNG.permutation(noise())).interval
    assert 6 * (paired.high - paired.low) < shuffled.high - shuffled.low


def test_several_benchmarks_are_compared_by_the_difference_of_their_means():
    mine = [RNG.random(20), RNG.random(300)]
    theirs = [RNG.random(20), RNG.random(300)]
    got = comparison.compare(mine, theirs)
    expected = np.mean([a.mean() - b.mean() for a, b in zip(mine, theirs, strict=True)])
    assert got.interval.mean == pytest.approx(expected)
    single = comparison.compare(mine[:1], theirs[:1])
    assert single == comparison.compare(mine[0], theirs[0])


def test_holm_multiplies_the_smallest_by_all_and_never_falls():
    # 3 * 0.01, then 2 * 0.02 = 0.04, then 0.03 raised to what came before it.
    np.testing.assert_allclose(comparison.holm([0.03, 0.01, 0.02]), [0.04, 0.03, 0.04])
    np.testing.assert_allclose(comparison.holm([0.6, 0.7]), [1, 1])
    np.testing.assert_allclose(comparison.holm([0.04]), [0.04])


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: comparison.compare([0, 1], [0, 1]), "at least 2 problems"),
        (lambda: comparison.compare(np.zeros(3), np.zeros(4)), "3 problems against 4"),
    ],
)
def test_what_cannot_be_compared_has_no_difference(call, message):
    with pytest.raises(ValueError, match=message):
        call()
