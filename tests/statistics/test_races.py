"""Races between methods: closed forms, and how often what is said is true."""

import functools
import itertools
import math

import numpy as np
import pytest
from scipy import special

from maspo_jax.statistics import comparison, races

SEEDS = 16


def normal_scores(rng, shifts, seeds=SEEDS, shared=0.3):
    """Runs of methods with standard deviation 1; a share of the variance is the seed's.

    Returns {method: {seed: score}}.
    """
    common = math.sqrt(shared) * rng.normal(size=seeds)
    own = math.sqrt(1 - shared) * rng.normal(size=(len(shifts), seeds))
    rows = np.array(shifts)[:, None] + common + own
    return {f"m{n}": dict(enumerate(row)) for n, row in enumerate(rows)}


def test_probability_of_improvement_is_the_share_of_pairs_that_are_won():
    mine, theirs = [3.0, 1.0, 2.0], [2.0, 0.0, 2.5]
    won = [(a > b) + (a == b) / 2 for a, b in itertools.product(mine, theirs)]
    found = races.probability_of_improvement(mine, theirs)
    assert found.mean == pytest.approx(np.mean(won))
    other = races.probability_of_improvement(theirs, mine)
    turned = other.mean + found.mean, other.low + found.high, other.high + found.low
    assert turned == pytest.approx((1, 1, 1))


def test_methods_that_are_one_are_equal():
    scores = np.random.default_rng(0).normal(size=SEEDS)
    duel = races.duel(scores, scores)
    assert duel.better.mean == 0.5 and duel.p_value == 1 and not duel.real
    assert duel.difference.mean == duel.difference.low == duel.difference.high == 0


@pytest.mark.parametrize("seeds", [3, 5, 8, 16])
@pytest.mark.parametrize("shift", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("shared", [0.0, 0.8])
def test_intervals_hold_the_truth_as_often_as_they_say(seeds, shift, shared):
    rng, held = np.random.default_rng(1), []
    probability = special.ndtr(shift / math.sqrt(2))
    for _ in range(600):
        runs = normal_scores(rng, (shift, 0.0), seeds, shared)
        duel = races.duel(*([*of.values()] for of in runs.values()))
        held.append(
            (
                duel.better.low <= probability <= duel.better.high,
                duel.difference.low <= shift <= duel.difference.high,
            )
        )
    spread = 3 * math.sqrt(0.05 * 0.95 / len(held))
    assert np.mean(held, axis=0).min() >= 0.95 - spread


@pytest.mark.parametrize("methods", [2, 5])
def test_equal_methods_rarely_have_a_difference_and_more_rarely_a_winner(methods):
    rng, differ, won = np.random.default_rng(2), [], []
    for _ in range(400):
        found = races.race(normal_scores(rng, (0.0,) * methods, 8), worst=-99)
        differ.append(any(duel.real for duel in found.duels.values()))
        won.append(found.winner is not None)
    assert np.mean(won) <= np.mean(differ) <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 400)
    assert np.mean(won) <= 0.05 if methods > 2 else True


def test_a_difference_of_one_deviation_is_found_with_sixteen_seeds():
    rng, found = np.random.default_rng(3), []
    for _ in range(400):
        race = races.race(normal_scores(rng, (0.0, 1.0)), worst=-99)
        found.append(race.winner == "m1")
        assert race.winner != "m0"
    assert np.mean(found) >= 0.75


def test_what_is_detectable_is_detected_in_four_of_five_races():
    rng = np.random.default_rng(4)
    pair = lambda shift: [
        [*of.values()] for of in normal_scores(rng, (shift, 0.0)).values()
    ]
    detectable = np.median([races.duel(*pair(0.0)).detectable for _ in range(300)])
    real = [races.duel(*pair(detectable)).real for _ in range(400)]
    assert np.mean(real) == pytest.approx(comparison.POWER, abs=0.06)


def test_a_collapsed_run_counts_as_the_worst_and_is_counted():
    scores = {
        "steady": {0: 0.5, 1: 0.6, 2: 0.5, 3: 0.6},
        "wild": {0: 0.9, 1: math.nan, 2: 0.9, 3: math.nan},
    }
    found = races.race(scores, worst=0.0)
    assert [*found.standings] == ["steady", "wild"]
    wild = found.standings["wild"]
    assert wild.failures == 0.5 and wild.mean == pytest.approx(0.45)
    duel = found.duels["steady", "wild"]
    assert duel.better.mean == 0.5 and duel.seeds == 4
    assert duel.detectable == math.inf and found.winner is None  # of four seeds


def test_holm_corrects_for_all_pairs():
    rng = np.random.default_rng(5)
    scores = normal_scores(rng, (0.0, 1.0, 2.0))
    found = races.race(scores, worst=-99)
    rows = {method: np.array([*of.values()]) for method, of in scores.items()}
    alone = [races.duel(rows[a], rows[b]).p_value for a, b in found.duels]
    corrected = [duel.p_value for duel in found.duels.values()]
    np.testing.assert_allclose(corrected, comparison.holm(alone))
    assert max(np.divide(corrected, alone)) > 1


def test_the_interquartile_mean_is_that_of_the_middle_half():
    scores = np.array([[9.0, 1, 2, -50], [3, 4, 100, 2]])
    middle = sorted(scores.ravel())[2:6]
    assert races.interquartile_mean(scores) == pytest.approx(np.mean(middle))


def test_a_stratified_bootstrap_keeps_tasks_apart():
    """Tasks without any spread: nothing is drawn from another one."""
    mean = functools.partial(np.mean, axis=(-2, -1))
    scores = np.repeat([[0.0], [1.0], [5.0]], 4, axis=1)
    found = races.bootstrap(mean, scores)
    assert found.low == found.mean == found.high == 2
    rng = np.random.default_rng(6)
    spread = races.bootstrap(mean, rng.normal(size=(2, 100)), draws=4000)
    half = 1.96 * math.sqrt(1 / 200)
    assert spread.high - spread.mean == pytest.approx(half, rel=0.2)


def test_curves_by_area_and_by_steps_to_a_level():
    steps, values = [0, 10, 40], [0.0, 1.0, 0.5]
    assert races.area_under_curve(steps, values) == pytest.approx(27.5 / 40)
    assert races.steps_to_level(steps, values, 0.5) == 10
    assert races.steps_to_level(steps, values, 1.5) == math.inf


TWO = {"a": {0: 0.1, 1: 0.2}, "b": {0: 0.1, 1: 0.3}}


@pytest.mark.parametrize(
    "scores, message",
    [
        ({"a": TWO["a"]}, "1 methods: a race takes at least 2"),
        (TWO | {"b": {0: 0.1, 2: 0.3}}, r"a and b: seeds \[1, 2\] are of only one"),
        ({"a": {0: 0.1}, "b": {0: 0.2}}, "a: 1 seeds; give at least 2"),
        (TWO | {"b": {0: -1.0, 1: 0.3}}, "b: a score of -1, where the worst is 0"),
        (
            TWO | {"b": {0: math.inf, 1: 0.3}},
            "b: a score of inf, where .* give finite scores",
        ),
    ],
)
def test_what_is_no_race_is_refused(scores, message):
    with pytest.raises(ValueError, match=message):
        races.race(scores, worst=0)


def test_curves_and_pairs_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="at least 2 that increase"):
        races.area_under_curve([0, 0], [1, 2])
    with pytest.raises(ValueError, match="the same seeds, at least 2"):
        races.duel([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="collapsed"):
        races.duel([1.0, math.nan], [1.0, 2.0])


def test_what_would_have_been_found_is_corrected_for_all_pairs():
    """Of many pairs a difference has to be larger, or no number of seeds will do."""
    draw = np.random.default_rng(0)
    scores = {name: dict(enumerate(draw.normal(5, 1, 12))) for name in "abcdefgh"}
    all_, two = races.race(scores, 0.0), races.race({n: scores[n] for n in "ab"}, 0.0)
    pair = ("a", "b") if ("a", "b") in all_.duels else ("b", "a")
    same = next(iter(two.duels.values()))
    assert all_.duels[pair].detectable > 1.3 * same.detectable
    few = {n: {s: of[s] for s in range(8)} for n, of in scores.items()}
    assert all(
        math.isinf(duel.detectable) for duel in races.race(few, 0.0).duels.values()
    )
