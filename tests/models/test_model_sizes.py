"""Arithmetic on the shape of a decoder counts what its arrays hold."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import pytest

from maspo_jax.models import presets, sizes
from maspo_jax.models.attention import layout_of_mask
from maspo_jax.models.decoder import DecoderConfig, init_decoder

PRESETS = {
    name: preset
    for name, preset in vars(presets).items()
    if isinstance(preset, DecoderConfig)
}


def shapes_of(config):
    return jax.eval_shape(lambda: init_decoder(config, jax.random.key(0)))


def total_bytes(tree):
    leaves = jax.tree.leaves(tree)
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)


@pytest.mark.parametrize("tied_head", [True, False])
@pytest.mark.parametrize("qkv_bias", [True, False])
@pytest.mark.parametrize("qk_norm", [True, False])
def test_every_parameter_is_counted(tiny_config, tied_head, qkv_bias, qk_norm):
    options = {"tied_head": tied_head, "qkv_bias": qkv_bias, "qk_norm": qk_norm}
    config = dataclasses.replace(tiny_config, **options)
    expected = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes_of(config)))
    assert sizes.param_count(config) == expected
    for dtype in ("float32", "bfloat16"):
        stored = dataclasses.replace(config, dtype=dtype)
        assert sizes.param_bytes(stored) == total_bytes(shapes_of(stored))
        assert sizes.param_bytes(config, dtype) == sizes.param_bytes(stored)


@pytest.mark.parametrize("name", PRESETS)
def test_the_sizes_of_the_papers_are_those_of_their_arrays(name):
    config = PRESETS[name]
    assert sizes.param_bytes(config) == total_bytes(shapes_of(config))


@pytest.mark.parametrize("compute_dtype", [None, "bfloat16"])
def test_a_cache_and_logits_have_the_bytes_of_their_arrays(tiny_config, compute_dtype):
    config = dataclasses.replace(tiny_config, compute_dtype=compute_dtype)
    tokens = jnp.zeros((5, 11), jnp.int32)
    read = lambda policy: policy(tokens, layout_of_mask(tokens == 0), keep=True)[1]
    columns = jax.eval_shape(read, shapes_of(config))
    assert sizes.cache_bytes(config, 5, 11) == total_bytes(columns)
    hidden = jax.ShapeDtypeStruct((5, config.width), jnp.float32)
    logits = jax.eval_shape(
        lambda policy, x: policy.logits(x), shapes_of(config), hidden
    )
    assert sizes.logits_bytes(config, 5) == total_bytes(logits)
