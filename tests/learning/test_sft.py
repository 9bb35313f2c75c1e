"""Solutions for supervised updates: the phases in order, and on from any position."""

import dataclasses
import json
import signal
import types

import chex
import numpy as np
import pytest
from conftest import EXPERIMENTS, mesh_of
from support.updates import update_metrics

from maspo_jax.config import loading
from maspo_jax.distributed import make_mesh
from maspo_jax.learning import sft
from maspo_jax.learning.batches import demonstration_batch
from maspo_jax.objectives.token_weights import token_mean
from maspo_jax.runs.run_folder import Run
from maspo_jax.storage import WriteError

UPDATES = 60  # of each of the two phases of tiny.py


@pytest.fixture(scope="module")
def experiment():
    return loading.load(EXPERIMENTS / "tiny.py")


@pytest.fixture(scope="module")
def batches(experiment):
    return list(sft.demonstrations(experiment, sft.START))


def test_every_phase_has_its_updates_on_its_own_source(experiment, batches):
    assert [position["phase"] for _, position in batches] == [0] * 60 + [1] * 60
    decode = experiment.tokenizer.decode
    for number, phase in enumerate(experiment.sft.phases):
        known = {phase.source[n].question for n in range(2000)}
        mine = batches[number * UPDATES : (number + 1) * UPDATES]
        asked = [
            decode(row[mask])
            for rows, _ in mine
            for row, mask in zip(rows.prompt, rows.prompt_mask, strict=True)
        ]
        assert len(asked) == UPDATES * experiment.sft.batch
        assert set(asked) <= known
    first, again = batches[0][0].prompt, batches[UPDATES][0].prompt
    assert (first != again).any()


@pytest.mark.parametrize("done", [1, 59, 60, 61, 119])
def test_it_goes_on_behind_any_update(experiment, batches, done):
    position = json.loads(json.dumps(batches[done - 1][1]))
    rest = list(sft.demonstrations(experiment, position))
    assert len(rest) == 2 * UPDATES - done
    for (rows, behind), (expected, where) in zip(rest, batches[done:], strict=True):
        chex.assert_trees_all_equal(rows, expected)
        assert behind == where


def test_what_is_asked_and_what_pads_has_no_weight(batches):
    rows = batches[0][0]
    batch = demonstration_batch(rows, token_mean)
    assert (batch.weight[~rows.response_mask] == 0).all()
    np.testing.assert_allclose(batch.weight.sum(), 1, rtol=1e-6)


class Checkpoints:
    """Remembers what it is given. The save of one update fails, when it is asked."""

    newest, age = None, 0.0

    def __init__(self, failing=None):
        self.saved, self.failing = [], failing

    def save(self, done, state):
        self.saved.append(done)

    def check(self):
        if self.failing in self.saved:
            raise WriteError(f"update {self.failing} could not be written")

    finish = check


@pytest.fixture
def trained(experiment, monkeypatch):
    """Makes 12 updates that change nothing, a checkpoint every third.

    Returns the options the update was made with, and how many were begun.
    """

    def trained(checkpoints, losses=None, signals=None, **settings):
        phase = dataclasses.replace(experiment.sft.phases[0], updates=12)
        own = dataclasses.replace(
            experiment.sft, phases=(phase,), checkpoint_every=3, **settings
        )
        quiet = lambda *words, **more: None
        made = types.SimpleNamespace(options=None, updates=0)
        interrupts = types.SimpleNamespace(requested=0)

        def make_update(*parts, **options):
            made.options = options
            return update

        def update(state, batch, method):
            made.updates += 1
            interrupts.requested = (signals or {}).get(made.updates, 0)
            return state, update_metrics((losses or {}).get(made.updates, 1.0)), None

        monkeypatch.setattr(sft, "make_update", make_update)
        run = Run(
            dataclasses.replace(experiment, sft=own),
            None,
            mesh_of(1, 1),
            log=types.SimpleNamespace(write=quiet, flush=quiet),
            clock=None,
            display=types.SimpleNamespace(begin=quiet, stage=quiet, step=quiet),
            interrupts=interrupts,
        )
        made.run = lambda: sft.sft(run, checkpoints)
        return made

    return trained


@pytest.mark.parametrize("asked", [{}, {5: signal.SIGTERM}], ids=["due", "asked"])
def test_nothing_is_saved_behind_an_update_that_was_not_finite(trained, asked):
    """However seldom it is shown."""
    update, checkpoints = 5 if asked else 6, Checkpoints()
    made = trained(checkpoints, {update: np.nan}, asked)
    with pytest.raises(FloatingPointError, match=f"at update {update}; nothing was"):
        made.run()
    assert checkpoints.saved == [3] and made.updates == update


def test_a_save_that_fails_ends_it_with_the_update_that_is_under_way(trained):
    checkpoints = Checkpoints(failing=6)
    made = trained(checkpoints)
    with pytest.raises(WriteError, match="update 6"):
        made.run()
    assert made.updates == 7


def test_an_update_has_the_microbatches_of_the_settings(trained):
    checkpoints = Checkpoints()
    made = trained(checkpoints, microbatches=4)
    made.run()
    assert made.options == {"microbatches": 4}
    assert checkpoints.saved == [3, 6, 9, 12] and made.updates == 12


@pytest.mark.parametrize(
    "settings, parts",
    [
        ({}, 1),
        ({"microbatches": 2}, 2),
        ({"microbatch_tokens": 40}, 1),
        ({"microbatch_tokens": 39}, 2),
        ({"microbatch_tokens": 39, "response_length": 4}, 1),
        ({"microbatch_tokens": 59, "row_length": 30}, 2),
    ],
    ids=str,
)
def test_microbatches_are_of_so_many_tokens(experiment, monkeypatch, settings, parts):
    """Of two rows of 6 + 14 tokens on each of eight devices, unless settings differ.

    That parts make the update of the whole is a law of tests/learning/test_update.py.
    """

    def make_update(*_, microbatches):
        raise StopIteration(microbatches)

    monkeypatch.setattr(sft, "make_update", make_update)
    changed = dataclasses.replace(experiment.sft, **settings)
    run = types.SimpleNamespace(
        experiment=dataclasses.replace(experiment, sft=changed), mesh=make_mesh()
    )
    with pytest.raises(StopIteration) as asked:
        sft.sft(run, types.SimpleNamespace(newest=None))
    assert asked.value.value == parts
