"""The recipe of a fair race: tuned alike, judged on fresh seeds, honest about doubt."""

import dataclasses
import json
import math

import numpy as np
import pytest
from conftest import TINY
from scipy import stats
from support.sweeps import swept, write_sweep

from maspo_jax import config, sweeps
from maspo_jax.objectives import gates
from maspo_jax.statistics import races
from maspo_jax.sweeps import race as recipe
from maspo_jax.sweeps import table
from maspo_jax.sweeps.chunk import FAILED, FINISHED

EXPERIMENT = config.load(TINY)
RATE = "optimization.learning_rate"
METHODS = {
    "maspo": sweeps.grid({"objective.gate": [gates.Maspo()], RATE: [1e-3, 2e-3]}),
    "clip": sweeps.grid({"objective.gate": [gates.Clip()], RATE: [1e-3, 2e-3]}),
}
RACE = """
    from tiny import experiment
    from maspo_jax import sweeps
    from maspo_jax.objectives import gates

    rates = {"optimization.learning_rate": [1e-3, 1e-7]}
    sweep = sweeps.Race(
        experiment,
        {
            "maspo": sweeps.grid({"objective.gate": [gates.Maspo()], **rates}),
            "clip": sweeps.grid({"objective.gate": [gates.Clip()], **rates}),
        },
        seeds=[0, 1, 2],
        tuning_seeds=[10, 11],
        metric="response_length/mean",
        level=1.0,
    )
"""


def test_a_race_tunes_and_judges_on_different_seeds(tmp_path):
    folder = tmp_path / "race"
    path = write_sweep(tmp_path, RACE)
    status, output = swept(path, folder)
    assert status == 0, output
    tuning, final = table.runs_of(folder / "tuning"), table.runs_of(folder / "final")
    assert {run.seed for run in tuning} == {10, 11}
    assert {run.seed for run in final} == {0, 1, 2}
    winners = json.loads((folder / "winners.json").read_text())
    for place, name in enumerate(["maspo", "clip"]):
        means = [
            np.mean(
                [r.curve("response_length/mean")[1][-1] for r in tuning if r.trial == t]
            )
            for t in (2 * place, 2 * place + 1)
        ]
        assert winners[name]["scores"] == pytest.approx(means)
        assert winners[name]["place"] == int(np.argmax(means))
        chosen = [run for run in final if run.label == name]
        rate = {run.settings[RATE] for run in chosen}
        assert rate == {[1e-3, 1e-7][winners[name]["place"]]}
    verdict = json.loads((folder / "verdict.json").read_text())
    assert verdict["seeds"] == [0, 1, 2]
    for run in final:
        score = verdict["methods"][run.label]["scores"][str(run.seed)]
        assert score == run.curve("response_length/mean")[1][-1]
    text = (folder / "verdict.md").read_text()
    # With three seeds every score is shown, and nothing is said to be certain.
    assert "Every score, as the seeds are few" in text
    assert verdict["winner"] is None and "better for certain" not in text
    assert "3 seeds are too few for any difference" in text
    again, output = swept(path, folder)
    assert again == 0 and output.count(" 0 of them to train") == 2
    other = RACE.replace("seeds=[0, 1, 2]", "seeds=[0, 1]")
    status, output = swept(write_sweep(tmp_path, other), folder)
    assert status == 2 and "holds a different race:\n  seeds: [0, 1, 2]" in output


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tuning_seeds": [3]}, r"seeds and tuning_seeds have \[3\] in common"),
        ({"seeds": [1]}, "give at least 2"),
        ({"methods": {"one": METHODS["maspo"]}}, "at least two"),
        ({"methods": METHODS | {"clip": METHODS["clip"][:1]}}, "as many of each"),
        ({"methods": METHODS | {"clip": [{}] * 0}}, "as many of each"),
        (
            {"methods": METHODS | {"clip": [{"train_set": None}] * 2}},
            "clip: train_set is no part of a method: runs of different tasks",
        ),
        (
            {"methods": METHODS | {"clip": [{"sampling.responses": 8}] * 2}},
            "sampling.responses is no part of a method",
        ),
        ({"metric": "acc"}, "no run measures it"),
        ({"collapse": 1.5}, "collapse=1.5: must lie in"),
    ],
)
def test_an_unfair_race_is_refused(changes, message):
    fields = {"methods": METHODS, "seeds": range(2, 8), **changes}
    with pytest.raises(ValueError, match=message):
        sweeps.Race(EXPERIMENT, **fields)


@pytest.mark.parametrize(
    ("values", "status", "score"),
    [
        ([0.1, 0.6, 0.5], FINISHED, 0.5),
        ([0.1, 0.6, 0.3], FINISHED, 0.3),
        ([0.1, 0.6, 0.29], FINISHED, math.nan),
        ([0.1, 0.6], FAILED, math.nan),
        ([0.1, math.nan], FINISHED, math.nan),
        ([0.0, 0.0], FINISHED, 0.0),
    ],
)
def test_a_run_that_lost_half_of_its_best_has_collapsed(values, status, score):
    found = recipe.score_of(values, status, 0.5)
    assert found == pytest.approx(score, nan_ok=True)


def test_collapse_is_counted_from_the_worst():
    """Or a run whose metric is below zero would have collapsed whatever it learned."""
    assert recipe.score_of([-2.0, -1.0], FINISHED, 0.5, worst=-3.0) == -1.0
    assert math.isnan(recipe.score_of([-1.0, -2.5], FINISHED, 0.5, worst=-3.0))
    with pytest.raises(ValueError, match="worst=0: a run measured -1"):
        recipe.score_of([0.5, -1.0], FINISHED, 0.5)


def simulated(effects, matters, number, settings=3, tuning=2, seeds=16):
    """Returns the `Race` of methods of whose scores everything is known.

    A score is the effect of the method, that of its setting, the luck of the seed and
    the luck of the run; the last two have a deviation of one.

    Args:
        effects: of the methods.
        matters: how much one setting is better than the one before.
        number: of the simulation.
        settings: of each method.
        tuning: seeds of stage 1.
        seeds: of stage 2.
    """
    draw = np.random.default_rng(number).normal
    place = matters * np.arange(settings)[:, None]

    def stage(count):
        seed = draw(size=count)
        return [
            10 + effect + place + seed + draw(size=(settings, count))
            for effect in effects
        ]

    best = [int(np.argmax(scores.mean(axis=1))) for scores in stage(tuning)]
    final = {
        method: dict(enumerate(scores[chosen]))
        for method, (scores, chosen) in enumerate(zip(stage(seeds), best, strict=True))
    }
    return races.race(final, worst=0.0)


def told_apart(race):
    return any(duel.real for duel in race.duels.values())


def test_two_equal_methods_are_told_apart_as_often_as_is_said():
    """The test of two alone is exact: one in twenty, but for the luck of counting."""
    found = sum(told_apart(simulated([0, 0], 0.0, n)) for n in range(1000))
    assert found <= stats.binom.ppf(0.999, 1000, 0.05)


@pytest.mark.parametrize("methods", [3, 5])
def test_equal_methods_have_a_winner_in_at_most_one_race_of_twenty(methods):
    found = [told_apart(simulated([0] * methods, 0.0, n)) for n in range(400)]
    assert np.mean(found) <= 0.05


@pytest.mark.parametrize("matters", [0.5, 3.0])
def test_the_luck_of_tuning_rarely_makes_a_winner(matters):
    """Equal methods of which tuning chose different settings differ in earnest."""
    found = [simulated([0] * 5, matters, n).winner is not None for n in range(400)]
    assert np.mean(found) <= 0.05


def test_a_difference_of_one_deviation_is_found():
    """That of a run with one seed from another, all luck taken together."""
    found = [simulated([0, math.sqrt(2)], 0.0, n).winner == 1 for n in range(400)]
    assert np.mean(found) >= 0.75


def test_the_verdict_states_its_seeds_and_intervals():
    sweep = sweeps.Race(EXPERIMENT, METHODS, seeds=range(8), tuning_seeds=[100])
    assert sweep.tuning().seeds == (100,)
    final = sweep.final({"maspo": METHODS["maspo"][0], "clip": METHODS["clip"][1]})
    assert final.names == ("maspo", "clip") and final.seeds == tuple(range(8))
    assert dataclasses.replace(sweep).methods == sweep.methods
