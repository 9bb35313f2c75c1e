"""A search by Optuna: bounded, recorded, and gone on with by another process."""

import optuna
import pytest
from support.sweeps import swept, write_sweep

from maspo_jax import sweeps
from maspo_jax.sweeps import search, table

SEARCH = """
    from tiny import experiment
    from maspo_jax import sweeps

    sweep = sweeps.Sweep(
        experiment,
        sweeps.Search(
            {
                "optimization.learning_rate": sweeps.LogUniform(1e-5, 1e-2),
                "objective.gate.alpha": sweeps.Choice((0.1, 0.5)),
            },
            trials=TRIALS,
            batch=2,
        ),
        seeds=[0, 1],
    )
"""


def test_a_study_is_told_what_its_trials_have_come_to(tmp_path):
    path = write_sweep(tmp_path, SEARCH.replace("TRIALS", "3"))
    status, output = swept(path, tmp_path / "run", "--steps", "2")
    assert status == 0, output
    runs = table.runs_of(tmp_path / "run")
    assert len(runs) == 6
    asked = sweeps.Search({"x": sweeps.Uniform(0, 1)}, 3)
    study = search.study_of(asked, tmp_path / "run", "max")
    trials = study.get_trials()
    assert [each.state for each in trials] == [optuna.trial.TrialState.COMPLETE] * 3
    for number, trial in enumerate(trials):
        own = [run for run in runs if run.trial == number]
        assert {run.settings["optimization.learning_rate"] for run in own} == {
            trial.params["optimization.learning_rate"]
        }
        scores = [run.curve("validation/accuracy")[1][-1] for run in own]
        assert trial.value == pytest.approx(sum(scores) / 2)
    status, output = swept(path, tmp_path / "run", "--steps", "2")
    assert status == 0 and "0 of them to train" in output
    assert len(study.get_trials()) == 3


def test_what_was_proposed_but_not_trained_is_trained(tmp_path):
    """As after a kill between the two."""
    space = {"x": sweeps.LogUniform(1e-3, 1.0), "y": sweeps.Choice(("a", "b"))}
    asked = sweeps.Search(space, trials=5, batch=4)
    study = search.study_of(asked, tmp_path, "min")
    assert search.propose(asked, study, 4) == [0, 1, 2, 3]
    again = search.study_of(asked, tmp_path, "min")
    found = search.settings_in_study(asked, again)
    assert len(found) == 4
    assert all(1e-3 <= each["x"] <= 1 and each["y"] in "ab" for each in found)
    assert search.propose(asked, again, 4) == [4]
    assert search.propose(asked, again, 4) == []
    search.tell(again, 1, 0.25)
    search.tell(again, 1, 0.75)  # a second time it stays what it was
    search.tell(again, 2, None)
    assert study.best_trial.number == 1
    states = [trial.state.name for trial in study.get_trials()]
    assert states == ["RUNNING", "COMPLETE", "FAIL", "RUNNING", "RUNNING"]
    assert study.best_value == 0.25


def test_good_trials_draw_others_near():
    asked = sweeps.Search({"x": sweeps.Uniform(0.0, 1.0)}, trials=60, batch=4)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=0), direction="minimize"
    )
    while new := search.propose(asked, study, asked.batch):
        for number in new:
            x = search.settings_in_study(asked, study)[number]["x"]
            search.tell(study, number, (x - 0.3) ** 2)
    drawn = [each["x"] for each in search.settings_in_study(asked, study)]
    near = [abs(x - 0.3) < 0.1 for x in drawn]
    assert sum(near[30:]) > 2 * sum(near[:15])
