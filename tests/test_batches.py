"""Minibatches use every group once per epoch, and weigh it anew."""

import chex
import numpy as np
import pytest
from conftest import mesh_of

from maspo_jax import parallel
from maspo_jax.objectives.advantages import group_normalized
from maspo_jax.objectives.correction import TokenTruncated
from maspo_jax.objectives.token_weights import sequence_mean, token_mean
from maspo_jax.training import batches
from maspo_jax.types import Rollout, Sequences


@pytest.mark.parametrize("minibatches, epochs", [(1, 1), (4, 1), (2, 3), (8, 2)])
def test_every_epoch_uses_every_prompt_once(minibatches, epochs):
    order = batches.order(0, 5, 8, minibatches, epochs)
    assert order.shape == (minibatches * epochs, 8 // minibatches)
    for epoch in np.split(order, epochs):
        assert sorted(epoch.reshape(-1)) == list(range(8))


def test_every_step_and_epoch_has_an_order_of_its_own_that_can_be_repeated():
    order = batches.order(3, 5, 16, 1, 2)
    assert (order[0] != order[1]).any()
    assert (order != batches.order(3, 6, 16, 1, 2)).any()
    assert (order != batches.order(4, 5, 16, 1, 2)).any()
    np.testing.assert_array_equal(order, batches.order(3, 5, 16, 1, 2))


@pytest.fixture
def rollout():
    rng = np.random.default_rng(0)
    mask = np.arange(5)[None] < rng.integers(1, 6, (16, 1))
    rows = np.arange(16, dtype=np.int32)[:, None]
    sequences = Sequences(
        np.broadcast_to(rows, (16, 3)), np.ones((16, 3), bool), rows * mask, mask
    )
    return Rollout(sequences, np.zeros((16, 5), np.float32))


@pytest.mark.parametrize("weight", [token_mean, sequence_mean])
@pytest.mark.parametrize("data", [1, 4])
def test_a_minibatch_holds_whole_groups_whose_weights_sum_to_one(rollout, weight, data):
    mesh = mesh_of(data, 1)
    reward = np.arange(16, dtype=np.float32).reshape(4, 4) ** 2
    assemble = batches.make_assemble(group_normalized, weight, mesh)
    whole = assemble(
        parallel.spread(rollout, mesh),
        parallel.spread(rollout.logprob - 1, mesh),
        parallel.spread(reward, mesh),
    )
    np.testing.assert_allclose(np.asarray(whole.weight).sum(), 1, rtol=1e-6)
    take = batches.make_take(weight, 4, mesh)
    part = parallel.local(take(whole, np.array([3, 1], np.int32)))
    rows = [12, 13, 14, 15, 4, 5, 6, 7]
    np.testing.assert_array_equal(part.sequences.prompt[:, 0], rows)
    np.testing.assert_allclose(part.weight.sum(), 1, rtol=1e-6)
    assert (part.weight[~part.sequences.mask] == 0).all()
    whole = parallel.local(whole)
    chex.assert_trees_all_equal(part.advantage, whole.advantage[rows])
    chex.assert_trees_all_equal(part.old_logprob, whole.old_logprob[rows])


def test_demonstrations_are_weighed_over_the_whole_batch(rollout):
    batch = batches.demonstration_batch(rollout.sequences, token_mean)
    mask = rollout.sequences.mask
    np.testing.assert_allclose(batch.weight[mask], 1 / mask.sum(), rtol=1e-6)
    assert (batch.weight[~mask] == 0).all()


def test_a_correction_stays_with_its_tokens(rollout):
    """The sampler was half as sure of everything as the trainer is."""
    mesh = mesh_of(2, 1)
    assemble = batches.make_assemble(
        group_normalized, token_mean, mesh, TokenTruncated(1.5)
    )
    reward = np.arange(16, dtype=np.float32).reshape(4, 4) ** 2
    half = np.where(np.arange(16) < 8, np.log(2), np.log(1.2)).astype(np.float32)
    old = rollout.logprob + half[:, None]
    whole = assemble(*(parallel.spread(x, mesh) for x in (rollout, old, reward)))
    part = batches.make_take(token_mean, 4, mesh)(whole, np.array([3, 1], np.int32))
    part = parallel.local(part)
    mask = part.sequences.mask
    expected = np.where(np.arange(8) < 4, 1.2, 1.5)[:, None] * mask / mask.sum()
    np.testing.assert_allclose(part.weight, expected, rtol=1e-5)
