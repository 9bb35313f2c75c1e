"""A policy of which each device holds a part draws what a whole one draws."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import mesh_of, noisy
from flax import nnx
from support.prompts import padded_prompts

from maspo_jax import distributed
from maspo_jax.models import sharding
from maspo_jax.models.decoder import Decoder
from maspo_jax.rollout.generate import SamplingParams, SplitPolicy, sample
from maspo_jax.rollout.logprobs import response_logprobs
from maspo_jax.rollout.weights import copy_for_sampling, sampling_specs

DECODING = SamplingParams(responses=2, length=24, eos_tokens=(1,), pad=0)
KEY = jax.random.key(7)


@pytest.fixture(scope="module")
def prompts():
    return padded_prompts()


@pytest.fixture(scope="module")
def odd_policy(tiny_config):
    """A policy whose vocabulary no number of devices divides."""
    config = dataclasses.replace(tiny_config, vocabulary=25, tied_head=False)
    return noisy(jax.jit(lambda: Decoder(config, nnx.Rngs(0)))())


@pytest.fixture(scope="module")
def draw(prompts):
    def draw(policy, layout=(1, 1, 1), copied=False, **changes):
        mesh, decoding = mesh_of(*layout), dataclasses.replace(DECODING, **changes)
        specs = sharding.param_specs(policy, mesh)
        policy = jax.device_put(policy, distributed.named_shardings(specs, mesh))
        if copied:
            policy = copy_for_sampling(policy, mesh, decoding.gather)
        rows = distributed.shard_rows(prompts, mesh)
        return distributed.local_rows(sample(policy, rows, KEY, decoding, mesh))

    return draw


@pytest.fixture(scope="module")
def whole(draw, request):
    """What one device draws that holds all of a policy, by the name of its fixture."""

    @functools.cache
    def whole(kind):
        policy = request.getfixturevalue(kind)
        rollout = draw(policy)
        lengths = rollout.sequences.response_mask.sum(axis=-1)
        assert len(set(lengths)) > 4 and lengths.max() == 24
        return policy, rollout

    return whole


@pytest.mark.parametrize(
    "exchanged, expected",
    [
        ((), range(8)),
        (("tensor",), [1, 1, 3, 3, 5, 5, 7, 7]),
        (("fsdp", "tensor"), [3, 3, 3, 3, 7, 7, 7, 7]),
    ],
)
def test_devices_that_exchange_leave_a_loop_together(exchanged, expected):
    """With the largest number of rows that any of them still draws."""
    model = SplitPolicy(None, None, 2, exchanged)
    program = jax.shard_map(
        model.most,
        mesh=mesh_of(2, 2, 2),
        in_specs=distributed.BATCH,
        out_specs=distributed.BATCH,
    )
    np.testing.assert_array_equal(jax.jit(program)(jnp.arange(8)), expected)


@pytest.mark.parametrize(
    "kind, layout, gather",
    [
        ("tiny_policy", (2, 2, 2), "once"),
        ("tiny_policy", (2, 2, 2), "layer"),
        ("tiny_policy", (2, 4, 1), "layer"),
        ("untied_policy", (1, 1, 2), "once"),
        ("untied_policy", (2, 2, 2), "layer"),
        ("odd_policy", (1, 4, 2), "once"),
    ],
)
def test_devices_that_share_a_policy_draw_the_same(draw, whole, kind, layout, gather):
    policy, expected = whole(kind)
    got = draw(policy, layout, gather=gather)
    chex.assert_trees_all_equal(got.sequences, expected.sequences)
    chex.assert_trees_all_close(
        got.sampler_logprob, expected.sampler_logprob, atol=1e-5
    )


def test_in_bfloat16_it_is_as_near_to_the_trainer_as_a_whole_one(draw, tiny_policy):
    """Parts are rounded before they are added up."""
    config = dataclasses.replace(tiny_policy.config, compute_dtype="bfloat16")
    structure = jax.tree.structure(jax.eval_shape(lambda: Decoder(config, nnx.Rngs(0))))
    policy = jax.tree.unflatten(structure, jax.tree.leaves(tiny_policy))
    for layout in ((1, 1, 1), (1, 2, 2)):
        rollout = draw(policy, layout, gather="layer")
        sequences = jax.tree.map(jnp.asarray, rollout.sequences)
        score = jax.jit(response_logprobs, static_argnums=2)
        logprob, _ = score(policy, sequences, 1.0)
        difference = np.abs(rollout.sampler_logprob - logprob)
        assert 0 < difference.mean() < 0.02 and difference.max() < 0.3


@pytest.mark.parametrize("layout", [(1, 8, 1), (2, 2, 2)])
def test_gathered_per_layer_is_bit_equal_to_gathered_once(draw, tiny_policy, layout):
    chex.assert_trees_all_equal(
        draw(tiny_policy, layout, gather="layer"),
        draw(tiny_policy, layout, gather="once"),
    )


@pytest.mark.parametrize("gather", ["once", "layer"])
def test_the_copy_lies_as_the_sampler_reads_it(draw, untied_policy, gather):
    """So no call of it moves anything; what is drawn is the same to the bit."""
    mesh = mesh_of(2, 2, 2)
    specs = sharding.param_specs(untied_policy, mesh)
    policy = jax.device_put(untied_policy, distributed.named_shardings(specs, mesh))
    copy = copy_for_sampling(policy, mesh, gather)
    specs = jax.tree.leaves(sampling_specs(policy, mesh, gather))
    assert [leaf.sharding.spec for leaf in jax.tree.leaves(copy)] == specs
    chex.assert_trees_all_equal(
        draw(untied_policy, (2, 2, 2), gather=gather),
        draw(untied_policy, (2, 2, 2), gather=gather, copied=True),
    )


def test_a_copy_is_only_made_where_something_is_to_be_done(untied_policy):
    """In the dtype of products and on one device, or where shards may stay shards."""
    for layout, gather, same in (
        ((8, 1, 1), "once", True),
        ((2, 4, 1), "layer", True),
        ((2, 4, 1), "once", False),
        ((4, 1, 2), "once", True),
    ):
        mesh = mesh_of(*layout)
        specs = sharding.param_specs(untied_policy, mesh)
        places = distributed.named_shardings(specs, mesh)
        policy = jax.device_put(untied_policy, places)
        copy = copy_for_sampling(policy, mesh, gather)
        assert (copy is policy) == same
        chex.assert_trees_all_equal(copy, policy)


def test_devices_hold_their_share_while_they_draw(untied_policy):
    """Heads, units and tokens over `tensor`; all but vectors over both, per layer."""
    once, layer = (
        sampling_specs(untied_policy, mesh_of(2, 2, 2), gather)
        for gather in ("once", "layer")
    )
    block = once.blocks
    outputs, inputs = jax.P(None, None, "tensor"), jax.P(None, "tensor")
    for name in ("query", "key", "value"):
        assert getattr(block.attention, name).kernel.get_value() == outputs
        assert getattr(block.attention, name).bias.get_value() == inputs
    assert block.feed_forward.gate.kernel.get_value() == outputs
    assert block.feed_forward.up.kernel.get_value() == outputs
    assert block.attention.output.kernel.get_value() == inputs
    assert block.feed_forward.down.kernel.get_value() == inputs
    assert once.embedding.get_value() == jax.P("tensor")
    assert once.head.kernel.get_value() == jax.P(None, "tensor")
    assert once.norm.scale.get_value() == jax.P()
    both = jax.P(None, "fsdp", "tensor")
    assert layer.blocks.attention.query.kernel.get_value() == both
    assert layer.blocks.feed_forward.down.kernel.get_value() == jax.P(
        None, ("tensor", "fsdp")
    )


def test_heads_that_cannot_be_shared_are_refused(tiny_policy, prompts):
    mesh = mesh_of(1, 1, 4)
    rows = distributed.shard_rows(prompts, mesh)
    message = r"tensor=4 does not divide key_value_heads=2 .* one of \[1, 2\]"
    with pytest.raises(ValueError, match=message):
        sample(tiny_policy, rows, KEY, DECODING, mesh)


def test_another_way_to_gather_is_refused():
    with pytest.raises(ValueError, match="gather='never': choose once or layer"):
        dataclasses.replace(DECODING, gather="never")
