"""One step of the loop with a worker that has drawn already, and what it leaves."""

import contextlib
import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import EXPERIMENTS, mesh_of

from maspo_jax import distributed
from maspo_jax.config import Objective, Validation, loading
from maspo_jax.data.sources import Problem
from maspo_jax.learning import learner as learners
from maspo_jax.learning import loop
from maspo_jax.learning import train_state as states
from maspo_jax.learning.optimizer import learning_rate
from maspo_jax.objectives import gates, kl
from maspo_jax.rewards.verdict import OUTCOMES
from maspo_jax.rollout.worker import RewardedRollout
from maspo_jax.runs.display import Display
from maspo_jax.runs.metrics_log import Clock
from maspo_jax.types import Rollout, Sequences

PROMPTS, RESPONSES, LENGTH, STEPS = 8, 4, 14, 2  # of tiny.py, but for the steps


class Stream:
    """The position of a stream is the number of batches that were taken."""

    taken = 0

    def get_state(self):
        return {"taken": self.taken}


class Worker:
    """Draws random tokens; half of the responses are right."""

    def __init__(self, mesh, size):
        self.mesh, self.size, self.stream = mesh, size, Stream()

    def collect(self, policy, step, between=None):
        self.stream.taken += 1
        rng, rows = np.random.default_rng(step), PROMPTS * RESPONSES
        mask = np.arange(LENGTH)[None] < rng.integers(2, LENGTH, (rows, 1))
        draw = lambda width: rng.integers(0, self.size, (rows, width), np.int32)
        sequences = Sequences(draw(6), mask[:, :6] | True, draw(LENGTH), mask)
        rollout = Rollout(
            sequences, np.zeros(mask.shape, np.float32), np.zeros(rows, np.int32)
        )
        reward = np.tile(np.float32([0, 1, 0, 1]), (PROMPTS, 1))
        shares = {f"verifier/{outcome}": 0.0 for outcome in OUTCOMES}
        return RewardedRollout(
            [Problem(str(n), "?", "0") for n in range(PROMPTS)],
            distributed.shard_rows(rollout, self.mesh),
            reward,
            reward.reshape(-1) == 1,
            [],
            {"tokens": int(mask.sum()), **shares},
        )


class Recorder:
    """A log, checkpoints and a display that remember what they are given."""

    def __init__(self):
        self.lines, self.saved, self.newest, self.order = [], [], None, []

    def finish(self):
        self.order.append("finish")

    def write(self, stage, step, metrics):
        self.lines.append((stage, step, metrics))

    def add(self, work):
        work()

    def flush(self):
        pass

    def write_updates(self, done, updates):
        for number, metrics in enumerate(updates, done + 1):
            self.write("update", number, metrics)

    def asked(self, checkpoints, step, state, unit):
        self.lines.append(("asked", step, state().data))  # also within the next step

    def save(self, steps, state):
        self.saved.append((steps, state))
        self.order.append("save")

    def of(self, stage):
        return {step: metrics for name, step, metrics in self.lines if name == stage}


class Noted:
    """The update of a learner, noted in an order of events."""

    def __init__(self, update, order):
        self._update, self._order, self.compile = update, order, update.compile

    def __call__(self, *arguments):
        self._order.append("update")
        return self._update(*arguments)


@pytest.fixture(scope="module")
def finished():
    """Two steps of two updates each. Returns the experiment and what was recorded."""
    tiny = loading.load(EXPERIMENTS / "tiny.py")
    experiment = dataclasses.replace(
        tiny,
        steps=STEPS,
        optimization=dataclasses.replace(
            tiny.optimization, learning_rate=1e-2, schedule="linear", warmup_updates=2
        ),
        validation=dataclasses.replace(tiny.validation, every=1),
        rollouts_every=STEPS + 1,
        checkpoint_every=1,
    )
    assert isinstance(experiment.validation, Validation)
    mesh, recorder = mesh_of(1, 1), Recorder()
    learner = learners.build(experiment, mesh)
    noted = Noted(learner.update, recorder.order)
    learner = dataclasses.replace(learner, update=noted)
    state = states.begin(experiment, learner.optimizer, mesh)
    start = jax.device_get(state.policy)
    quiet = lambda *words, **more: None
    display = types.SimpleNamespace(
        stage=quiet, note=quiet, step=quiet, show=quiet, begin=quiet
    )
    run = types.SimpleNamespace(
        experiment=experiment,
        mesh=mesh,
        folder=None,
        display=display,
        log=recorder,
        clock=Clock(display),
        interrupts=types.SimpleNamespace(requested=0),
        stop_if_asked=recorder.asked,
        save_is_due=lambda *about: True,
    )
    worker = Worker(mesh, experiment.decoder.vocabulary)
    with contextlib.ExitStack() as held:
        patch = held.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(loop, "write_responses", quiet)
        measured = lambda policy, mesh: {"norm": float(policy.norm.scale[...].sum())}
        loop.learn(run, worker, learner, 0, state, measured, recorder)
    return experiment, recorder, start


def test_the_second_update_of_a_step_is_off_policy_and_the_first_is_not(finished):
    """The policy has moved then; the ratio is to the one that drew."""
    updates = finished[1].of("update")
    assert list(updates) == [1, 2, 3, 4]
    for step in range(STEPS):
        first, second = updates[2 * step + 1], updates[2 * step + 2]
        assert first["ratio/max"] == pytest.approx(1, abs=1e-4)
        assert first["ratio/min"] == pytest.approx(1, abs=1e-4)
        assert second["ratio/max"] > 1.001 and second["ratio/min"] < 0.999


def test_a_step_says_the_rate_of_its_last_update(finished):
    experiment, recorder, _ = finished
    rate = learning_rate(experiment.optimization, 4)
    for step, metrics in recorder.of("reinforcement").items():
        assert metrics["updates"] == 2 * step
        assert metrics["learning_rate"] == pytest.approx(float(rate(2 * step - 1)))


def test_what_is_saved_goes_on_behind_its_step(finished):
    """In whatever way it is saved: the position is that of the next problems."""
    _, recorder, start = finished
    assert [steps for steps, _ in recorder.saved] == [1, 2]
    for steps, state in recorder.saved:
        assert state.data == {"taken": steps}
        assert state.policy_version == 2 * steps
    assert recorder.of("asked") == {step: {"taken": step} for step in range(3)}


def test_nothing_is_learned_before_what_was_saved_is_on_disk(finished):
    step = ["finish", "update", "update", "save"]
    assert finished[1].order == step * STEPS


def test_every_step_is_measured_with_the_policy_behind_it(finished):
    _, recorder, start = finished
    measured = [numbers["norm"] for numbers in recorder.of("validation").values()]
    assert list(recorder.of("validation")) == [0, 1, 2]
    assert measured[0] == pytest.approx(start.norm.scale[...].sum())
    assert len(set(measured)) == 3


def test_processes_that_see_other_checkpoints_are_told_what_to_do(
    tmp_path, monkeypatch
):
    others = lambda rows: np.concatenate([rows, rows + 1])
    monkeypatch.setattr(distributed.hosts, "all_gather_hosts", others)
    experiment = loading.load(EXPERIMENTS / "tiny.py")
    with pytest.raises(ValueError) as caught, Display(quiet=True) as display:
        loop.train(experiment, tmp_path, None, None, display)
    assert str(caught.value) == (
        "the processes of this pod disagree about the checkpoints of this run: let all "
        f"of them see the same {tmp_path / 'checkpoints'}"
    )


def test_the_reference_is_the_policy_at_the_start_also_of_a_run_that_goes_on(tmp_path):
    tiny = loading.load(EXPERIMENTS / "tiny.py")
    objective = Objective(gates.Maspo(), terms=(kl.Penalty(0.1, kl.k3),))
    experiment = dataclasses.replace(tiny, objective=objective)
    mesh = mesh_of(2, 1)
    learner = learners.build(experiment, mesh)
    policy = states.begin(experiment, learner.optimizer, mesh).policy
    moved = jax.tree.map(lambda leaf: leaf + 1, policy)
    display = types.SimpleNamespace(note=lambda text: None)
    run = types.SimpleNamespace(experiment=experiment, folder=tmp_path, display=display)
    first = loop.reference_of(run, learner, 0, policy)
    again = loop.reference_of(run, learner, 4, moved)
    for one, two, expected in zip(
        *map(jax.tree.leaves, (first, again, policy)), strict=True
    ):
        np.testing.assert_array_equal(one, expected)
        np.testing.assert_array_equal(two, expected)
        assert jnp.shape(two) == expected.shape
