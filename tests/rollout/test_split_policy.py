"""A policy of which each device holds a part draws what a whole one draws."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import mesh_of, noisy
from flax import nnx

from maspo_jax import distributed
from maspo_jax.models import sharding
from maspo_jax.models.decoder import Decoder
from maspo_jax.rollout.generate import SamplingParams, sample
from maspo_jax.rollout.weights import copy_for_sampling, sampling_specs
from maspo_jax.types import Prompts

DECODING = SamplingParams(responses=2, length=24, eos_tokens=(1,), pad=0)
KEY = jax.random.key(7)
LAYOUTS = [(2, 2, 2), (1, 1, 2), (4, 1, 2), (1, 4, 2), (2, 4, 1)]


@pytest.fixture(scope="module")
def prompts():
    tokens = jax.random.randint(jax.random.key(2), (8, 6), 2, 24)
    mask = np.arange(6)[None] >= np.array([0, 3, 1, 5, 0, 2, 0, 4])[:, None]
    return Prompts(np.where(mask, tokens, 0).astype(np.int32), mask)


@pytest.fixture(scope="module")
def odd_policy(tiny_config):
    """A policy whose vocabulary no number of devices divides."""
    config = dataclasses.replace(tiny_config, vocabulary=25, tied_head=False)
    return noisy(jax.jit(lambda: Decoder(config, nnx.Rngs(0)))())


@pytest.fixture(scope="module")
def draw(prompts):
    def draw(policy, layout=(1, 1, 1), place=None, **changes):
        mesh, decoding = mesh_of(*layout), dataclasses.replace(DECODING, **changes)
        specs = sharding.param_specs(policy, mesh)
        policy = jax.device_put(policy, distributed.named_shardings(specs, mesh))
        if place is not None:
            policy = copy_for_sampling(policy, mesh, place)
        rows = distributed.shard_rows(prompts, mesh)
        return distributed.local_rows(sample(policy, rows, KEY, decoding, mesh))

    return draw


@pytest.fixture(scope="module", params=["tiny_policy", "untied_policy", "odd_policy"])
def policy(request):
    """Heads tied and untied, split by tokens and whole."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def expected(draw, policy):
    rollout = draw(policy)
    lengths = rollout.sequences.response_mask.sum(axis=-1)
    assert len(set(lengths)) > 4 and lengths.max() == 24
    return rollout


@pytest.mark.parametrize("gather", ["once", "layer"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_devices_that_share_it_draw_the_same(draw, policy, expected, layout, gather):
    got = draw(policy, layout, gather=gather)
    chex.assert_trees_all_equal(got.sequences, expected.sequences)
    chex.assert_trees_all_close(
        got.sampler_logprob, expected.sampler_logprob, atol=1e-5
    )


@pytest.mark.parametrize("layout", [(1, 8, 1), (2, 2, 2)])
def test_gathered_per_layer_is_bit_equal_to_gathered_once(draw, policy, layout):
    chex.assert_trees_all_equal(
        draw(policy, layout, gather="layer"), draw(policy, layout, gather="once")
    )
