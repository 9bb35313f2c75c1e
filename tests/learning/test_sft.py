"""Solutions for supervised updates: the phases in order, and on from any position."""

import dataclasses
import json
import types

import chex
import numpy as np
import pytest
from conftest import EXPERIMENTS

from maspo_jax.config import loading
from maspo_jax.distributed import make_mesh
from maspo_jax.learning import sft
from maspo_jax.learning.batches import demonstration_batch
from maspo_jax.objectives.token_weights import token_mean

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
