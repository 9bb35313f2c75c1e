"""A policy from scratch: every layer drawn by itself, at the scale of its inputs."""

import itertools
import math

import jax
import numpy as np
import pytest

from maspo_jax.models.decoder import DecoderConfig, init_decoder
from maspo_jax.models.huggingface.save import tensors_of


@pytest.fixture(scope="module")
def tensors():
    config = DecoderConfig(
        vocabulary=60,
        width=32,
        depth=3,
        query_heads=4,
        key_value_heads=2,
        head_width=12,
        feed_forward=80,
        qkv_bias=True,
        qk_norm=True,
        tied_head=False,
    )
    policy = jax.jit(lambda key: init_decoder(config, key))(jax.random.key(0))
    return {name: value() for name, _, value in tensors_of(policy)}


def test_no_two_matrices_are_alike(tensors):
    matrices = {name: value for name, value in tensors.items() if value.ndim == 2}
    assert len(matrices) == 2 + 3 * 7
    for (name, one), (other, two) in itertools.combinations(matrices.items(), 2):
        size = min(one.size, two.size)
        alike = np.corrcoef(one.ravel()[:size], two.ravel()[:size])[0, 1]
        assert abs(alike) < 0.3, (name, other)


def test_outputs_are_as_large_as_inputs(tensors):
    for name, value in tensors.items():
        if value.ndim == 2:
            inputs = value.shape[1]
            scale = 0.02 if "embed" in name else 1 / math.sqrt(inputs)
            assert value.std() == pytest.approx(scale, rel=0.1), name
        else:
            assert (value == ("norm" in name)).all(), name


def test_a_key_draws_one_policy():
    config = DecoderConfig(vocabulary=20, width=8, depth=2)
    keys = [jax.random.key(seed) for seed in (0, 0, 1)]
    one, same, other = (init_decoder(config, key) for key in keys)
    pairs = zip(*map(jax.tree.leaves, (one, same, other)), strict=True)
    for first, second, third in pairs:
        np.testing.assert_array_equal(first, second)
        assert first.ndim < 3 or (first != third).any()
