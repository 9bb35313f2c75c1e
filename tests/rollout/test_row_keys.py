"""No two tokens of a large batch are drawn with the same random numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import mesh_of

from maspo_jax import distributed
from maspo_jax.rollout import responder, slots
from maspo_jax.rollout.generate import SamplingParams, sample
from maspo_jax.types import Prompts

PROMPTS, LENGTH = 32, 2
# No other test has these settings, so none is given a program compiled here.
DECODING = SamplingParams(responses=16, length=LENGTH, eos_tokens=(-1,), pad=0)


@pytest.fixture
def shown_keys(monkeypatch):
    """Every token is a number that its key alone decides, of 2^31."""

    def bits_of(logits, keys, temperature, top_p):
        draw = lambda key: jax.random.randint(key, (), 0, 2**31 - 1)
        token = jax.vmap(draw)(keys)
        return token, jnp.zeros(token.shape)

    monkeypatch.setattr(slots, "sample_token", bits_of)


def prompts_on(mesh):
    tokens = np.ones((PROMPTS, 3), np.int32)
    return distributed.shard_rows(Prompts(tokens, tokens > 0), mesh)


def tokens_of(rollout):
    drawn = distributed.local_rows(rollout.sequences.response)
    assert drawn.shape == (PROMPTS * DECODING.responses, LENGTH)
    return drawn


@pytest.mark.parametrize("devices", [1, 8])
def test_rows_and_steps_of_a_rollout_share_no_random_number(
    tiny_policy, shown_keys, devices
):
    mesh = mesh_of(devices, 1)
    key = jax.random.key(3)
    drawn = tokens_of(sample(tiny_policy, prompts_on(mesh), key, DECODING, mesh))
    assert len(np.unique(drawn)) == drawn.size


def test_problems_and_samples_of_an_evaluation_share_no_random_number(
    tiny_policy, shown_keys
):
    """Two batches of the same problems, of their first and of their next responses."""
    mesh, number = mesh_of(1, 1), np.arange(PROMPTS, dtype=np.uint32)
    drawn = [
        tokens_of(
            responder.draw(
                tiny_policy,
                prompts_on(mesh),
                jax.random.key(3),
                number,
                np.full(PROMPTS, first, np.uint32),
                DECODING,
                mesh,
            )
        )
        for first in (0, DECODING.responses)
    ]
    assert len(np.unique(drawn)) == np.size(drawn)
