"""Laws of the decoder that need no oracle."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import noisy
from flax import nnx

from maspo_jax.models.attention import (
    layout_of_decoding,
    layout_of_mask,
)
from maspo_jax.models.cache import cache_of_rows, empty_cache
from maspo_jax.models.decoder import Decoder, DecoderConfig


@pytest.fixture(scope="module")
def batch():
    tokens = jax.random.randint(jax.random.key(2), (4, 9), 0, 24)
    mask = jnp.arange(9)[None] >= jnp.array([[0], [3], [1], [8]])
    return tokens, mask


@jax.jit
def full_pass(policy, tokens, mask):
    return policy(tokens, layout_of_mask(mask))[0]


@functools.partial(jax.jit, static_argnames="keep")
def cached_pass(policy, tokens, layout, cache, keep=True):
    return policy(tokens, layout, cache, keep=keep)


@pytest.mark.parametrize("columns", [12, 300])
@pytest.mark.parametrize("chunks", [[9], [1] * 9, [4, 1, 1, 3], [6, 3]])
def test_cached_decoding_equals_the_full_pass(tiny_policy, batch, chunks, columns):
    tokens = batch[0]
    config = tiny_policy.config
    shape = config.depth, len(tokens), config.key_value_heads, 0, config.head_width
    nothing = jnp.zeros(shape)
    cache = cache_of_rows(nothing, nothing, jnp.zeros(len(tokens), jnp.int32))
    cache, pieces = empty_cache(cache, len(tokens), columns), []
    for part in jnp.split(tokens, np.cumsum(chunks)[:-1], axis=1):
        layout = layout_of_decoding(cache.length, part.shape[1])
        hidden, new = cached_pass(tiny_policy, part, layout, cache)
        cache = cache.append(*new)
        pieces.append(hidden)
    assert (cache.length == 9).all()
    expected = full_pass(tiny_policy, tokens, jnp.ones(tokens.shape, bool))
    got = jnp.concatenate(pieces, axis=1)
    chex.assert_trees_all_close(got, expected, rtol=1e-5, atol=1e-5)


def test_padding_changes_nothing(tiny_policy, batch):
    tokens, mask = batch
    together = tiny_policy.logits(full_pass(tiny_policy, tokens, mask))
    for row in range(len(tokens)):
        alone = tokens[row, mask[row]][None]
        logits = tiny_policy.logits(
            full_pass(tiny_policy, alone, jnp.ones(alone.shape, bool))
        )
        chex.assert_trees_all_close(
            together[row, mask[row]], logits[0], rtol=1e-5, atol=1e-5
        )


def test_what_stands_on_padding_changes_nothing(tiny_policy, batch):
    tokens, mask = batch
    other = jnp.where(mask, tokens, 23 - tokens)
    assert (other != tokens).any()
    chex.assert_trees_all_equal(
        full_pass(tiny_policy, tokens, mask)[mask],
        full_pass(tiny_policy, other, mask)[mask],
    )


def test_no_position_sees_the_next(tiny_policy, batch):
    tokens, _ = batch
    mask = jnp.ones(tokens.shape, bool)
    changed = tokens.at[:, 5].set((tokens[:, 5] + 1) % 24)
    before, after = (full_pass(tiny_policy, t, mask) for t in (tokens, changed))
    chex.assert_trees_all_equal(before[:, :5], after[:, :5])
    assert (jnp.abs(before - after)[:, 5:].max(axis=(0, 2)) > 1e-3).all()


@pytest.mark.parametrize(
    "option",
    ["qkv_bias", "qk_norm", "tied_head", "rope_theta", "norm_epsilon"],
)
def test_every_option_matters(tiny_config, batch, option):
    other = {"rope_theta": 7.0, "norm_epsilon": 0.5}
    flipped = dataclasses.replace(
        tiny_config, **{option: other.get(option, not getattr(tiny_config, option))}
    )
    one, two = (
        noisy(Decoder(config, nnx.Rngs(0))) for config in (tiny_config, flipped)
    )
    hidden = full_pass(one, *batch), full_pass(two, *batch)
    logits = one.logits(hidden[0]), two.logits(hidden[1])
    assert jnp.abs(logits[0] - logits[1])[batch[1]].max() > 1e-3


def test_bfloat16_parameters_give_float32_logits_close_by(tiny_config, batch):
    narrow = dataclasses.replace(tiny_config, dtype="bfloat16")
    wide_policy = Decoder(tiny_config, nnx.Rngs(0))
    narrow_policy = Decoder(narrow, nnx.Rngs(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(narrow_policy)} == {
        jnp.dtype("bfloat16")
    }
    logits = narrow_policy.logits(full_pass(narrow_policy, *batch))
    expected = wide_policy.logits(full_pass(wide_policy, *batch))
    assert logits.dtype == jnp.float32
    error = jnp.linalg.norm((logits - expected)[batch[1]])
    assert error / jnp.linalg.norm(expected[batch[1]]) < 3e-2


def test_a_row_without_any_token_stays_finite(tiny_policy):
    hidden = full_pass(tiny_policy, jnp.zeros((1, 4), int), jnp.zeros((1, 4), bool))
    assert np.isfinite(hidden).all()


@pytest.mark.parametrize(
    "setting, message",
    [
        ({"vocabulary": 0}, "vocabulary=0"),
        ({"depth": 0}, "depth=0"),
        ({"query_heads": 3}, "query_heads=3"),
        ({"head_width": 7}, "head_width=7"),
        ({"dtype": "float16"}, "dtype='float16'"),
    ],
)
def test_impossible_shapes_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        DecoderConfig(**{"vocabulary": 10} | setting)
