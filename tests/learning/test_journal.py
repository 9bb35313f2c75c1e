"""What a step leaves is written when the next is under way, and before it is saved."""

import dataclasses
import types

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import EXPERIMENTS
from support.updates import update_metrics

from maspo_jax.config import DynamicSampling, loading
from maspo_jax.learning import loop
from maspo_jax.learning.loop import Journal, StepRecord
from maspo_jax.rewards.verdict import OUTCOMES
from maspo_jax.rollout.worker import RewardedRollout
from maspo_jax.runs.metrics_log import Clock
from maspo_jax.storage import WriteError


class Log:
    """A `MetricsLog` that remembers which lines were written, in order."""

    def __init__(self):
        self.lines = []

    def write(self, stage, step, metrics):
        self.lines.append((stage, step))
        self.metrics = metrics

    def flush(self):
        pass

    def write_updates(self, done, updates):
        self.lines += [("update", done + 1 + n) for n in range(len(updates))]


@pytest.fixture
def run():
    quiet = lambda *words: None
    display = types.SimpleNamespace(stage=quiet, note=quiet, step=quiet)
    experiment = loading.load(EXPERIMENTS / "tiny.py")
    return types.SimpleNamespace(
        experiment=experiment, display=display, log=Log(), clock=Clock(display)
    )


def record(step, loss=1.0, **of_rollout):
    shares = {f"verifier/{outcome}": 0.0 for outcome in OUTCOMES}
    rollout = RewardedRollout(
        [],
        "rows",
        np.zeros((8, 4)),
        np.zeros(32, bool),
        [],
        {"tokens": 9, **shares, **of_rollout},
    )
    updates = [update_metrics(1.0), update_metrics(loss, ratio=step + 1)]
    return StepRecord(
        step,
        rollout,
        {"loss_mask/mean": jnp.float32(1)},
        updates,
        {"sampling": 2.0, "evaluating": 90.0},
    )


def test_a_step_is_written_one_step_late_and_in_order(run):
    journal = Journal(run)
    journal.add(record(1))
    assert run.log.lines == []
    journal.add(record(2, loss=3.0))
    first = [("update", 1), ("update", 2), ("reinforcement", 1)]
    assert run.log.lines == first
    journal.flush(before_report=lambda: run.log.write("validation", 2, {}))
    last = [("update", 3), ("update", 4), ("validation", 2), ("reinforcement", 2)]
    assert run.log.lines == first + last
    journal.flush()
    assert run.log.lines == first + last
    found = run.log.metrics
    assert found["loss"] == 2.0
    assert found["ratio/max"] == pytest.approx(3) and found["ratio/min"] == 1
    assert (found["out_of_band"], found["out_of_band_last"]) == (0.5, 1.0)
    assert (found["loss_mask/mean"], found["updates"], found["tokens_per_second"]) == (
        1,
        4,
        4.5,
    )


def test_measuring_is_no_part_of_what_a_step_costs(run):
    journal = Journal(run)
    journal.add(record(1))
    journal.flush()
    found = run.log.metrics
    assert (found["time/step"], found["tokens_per_second"]) == (2.0, 4.5)
    assert "time/evaluating" not in found


def test_groups_that_teach_nothing_in_spite_of_all_rounds_are_said_once(run):
    sampling = run.experiment.sampling
    sampling = dataclasses.replace(sampling, dynamic=DynamicSampling(rounds=3))
    run.experiment = dataclasses.replace(run.experiment, sampling=sampling)
    notes = []
    run.display.note = notes.append
    journal = Journal(run)
    for step, share in enumerate([1.0, 0.5, 0.25, 1.0], start=1):
        journal.add(record(step, frac_groups_informative=share))
    journal.flush()
    (note,) = notes
    assert "sampling.dynamic.rounds=3 rounds, step 2 still" in note


def test_rows_of_a_step_are_not_kept_beside_those_of_the_next(run):
    journal = Journal(run)
    journal.add(record(1))
    assert journal._held.rollout.rollout is None


def test_what_is_held_is_written_on_the_way_out_with_an_error(run):
    with pytest.raises(MemoryError), Journal(run) as journal:
        journal.add(record(1))
        raise MemoryError
    assert run.log.lines == [("update", 1), ("update", 2), ("reinforcement", 1)]


def test_on_the_way_out_nothing_is_exchanged_and_the_cause_is_seen(run, monkeypatch):
    monkeypatch.setattr(loop, "write_responses", pytest.fail)
    with pytest.raises(FloatingPointError, match="step 1"), Journal(run) as journal:
        journal.add(record(1, np.nan))
        journal.add_responses("minibatch", "trace")
        raise ValueError("what came of it")


@pytest.mark.parametrize("loss", [np.nan, np.inf])
def test_no_state_is_handed_out_behind_an_update_that_is_not_finite(run, loss):
    journal = Journal(run)
    journal.add(record(1, loss))
    with pytest.raises(FloatingPointError, match="step 1; nothing was saved"):
        loop.settle(journal, None, None, "state", 1)
    assert run.log.lines == []


def test_no_state_is_handed_out_behind_what_could_not_be_written(run):
    """The thread of the log says so when it is waited for."""

    def fail():
        raise WriteError("no room")

    run.log.flush = fail
    journal = Journal(run)
    journal.add(record(1))
    with pytest.raises(WriteError, match="no room"):
        loop.settle(journal, None, None, "state", 1)


def test_lines_of_responses_are_left_to_the_log(run, monkeypatch):
    asked = []
    monkeypatch.setattr(loop, "write_responses", lambda *of, later: asked.append(later))
    run.folder, run.log.add = "folder", "the thread of the log"
    journal = Journal(run)
    journal.add(record(1))
    journal.add_responses("minibatch", "trace")
    journal.flush()
    assert asked == ["the thread of the log"]
