"""The arena: every gate, by the fair recipe, in regimes that were fixed before."""

import dataclasses
import inspect
import json
import subprocess
import sys

import pytest
from conftest import ROOT
from support.processes import LIMIT
from support.settings import validate

from maspo_jax.data.sources import arithmetic
from maspo_jax.objectives import gates
from maspo_jax.rewards import graders
from maspo_jax.sweeps import loading
from maspo_jax.sweeps.sweep import Sweep, trials_of

FOLDER = ROOT / "experiments" / "sweeps"


@pytest.fixture
def arena(monkeypatch):
    """The module of the script."""
    monkeypatch.syspath_prepend(FOLDER)
    import arena

    return arena


def test_every_gate_of_the_package_races(arena):
    raced = {
        type(gate) for settings in arena.regimes.METHODS.values() for gate in settings
    }
    there = {
        kind
        for name in gates.__all__
        if inspect.isclass(kind := getattr(gates, name))
        and dataclasses.is_dataclass(kind)
        and not getattr(kind, "_is_protocol", False)
    }
    assert raced == there


def test_every_regime_is_a_race_that_can_run(arena):
    assert len(arena.regimes.REGIMES) >= 6
    for name, regime in arena.regimes.REGIMES.items():
        race = arena.race_of(name)
        assert len(race.seeds) >= 16 and not {*race.seeds} & {*race.tuning_seeds}
        assert {len(trials) for trials in race.methods.values()} == {4}
        tuning = race.tuning()
        found = trials_of(regime.experiment, tuning.trials)
        assert len(found) == 4 * len(race.methods)
        validate(found[0].experiment, devices=1)


def test_claims_are_of_methods_that_race(arena):
    for one, other, of in arena.regimes.CLAIMS:
        assert {one, other} <= {*arena.regimes.METHODS}
        assert of in ("accuracy", "entropy")


def test_one_reference_answer_in_five_is_wrong_and_the_others_are_not(arena):
    source, right = arena.regimes.WrongGolds(), arithmetic.Chains(numbers=4)
    wrong = [source[n] != right[n] for n in range(1000) if source[n].id == right[n].id]
    assert sum(wrong) == 200 and len(wrong) == 1000
    for n in range(20):
        text = rf"\boxed{{{right[n].answer}}}"
        verdict = graders.hendrycks(text, source[n].answer)
        assert verdict.outcome == ("wrong" if source[n] != right[n] else "correct")


@pytest.mark.parametrize("holds", ["yes", "no, the reverse", "cannot be told"])
def test_what_holds_follows_from_difference_and_p_value(arena, holds):
    claims = {
        "yes": (0.2, 0.01),
        "no, the reverse": (-0.2, 0.01),
        "cannot be told": (0.2, 0.05),
    }
    mean, p_value = claims[holds]
    claim = {"difference": {"mean": mean}, "p_value": p_value}
    assert arena.outcome(claim) == holds


@pytest.mark.parametrize(
    "name", ["maspo_or_dgpo", "maspo_settings", "dgpo_settings", "methods", "staleness"]
)
def test_every_sweep_file_can_be_trained(name):
    sweep = loading.load(FOLDER / f"{name}.py")
    stage = sweep if isinstance(sweep, Sweep) else sweep.tuning()
    trials = trials_of(stage.experiment, stage.trials, stage.names)
    assert len({trial.label for trial in trials}) == len(trials)
    for trial in (trials[0], trials[-1]):
        validate(trial.experiment, devices=1)


@pytest.mark.slow
def test_the_quick_arena_comes_to_a_verdict(tmp_path):
    words = [sys.executable, FOLDER / "arena.py", "--quick", "--out", tmp_path]
    done = subprocess.run(
        list(map(str, words)), capture_output=True, text=True, timeout=4 * LIMIT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((tmp_path / "arena.json").read_text())
    assert {*record["verdicts"]} == {"reuse", "lag"}
    for verdict in record["verdicts"].values():
        assert {*verdict["methods"]} == {"GRPO", "MASPO", "DGPO"}
        assert verdict["winner"] is None  # three seeds tell nothing
    # Those of methods that race, in both regimes.
    assert len(record["claims"]) == 10
    assert {claim["holds"] for claim in record["claims"]} == {"cannot be told"}
    page = (tmp_path / "arena.md").read_text()
    assert "MASPO over GRPO" in page and "3 seeds in stage 2" in page
    for name in ("improvement", "profiles", "curves"):
        assert (tmp_path / "reuse" / "figures" / f"{name}.png").is_file()
