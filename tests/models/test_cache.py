"""What a cache holds of each row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maspo_jax.models import cache as caches
from maspo_jax.models.attention import layout_of_decoding, layout_of_mask, whole_blocks
from maspo_jax.models.cache import (
    Cache,
    cache_of_rows,
    empty_cache,
    put_columns,
    scatter_columns,
)

TOKENS = jax.random.randint(jax.random.key(2), (3, 9), 0, 24)


def numbered(rows, columns, lengths):
    """A cache of 2 layers and 2 heads of width 4, every number of it another."""
    shape = (2, rows, 2, columns, 4)
    key = jnp.arange(np.prod(shape), dtype=jnp.float32).reshape(shape)
    return cache_of_rows(key, -key, jnp.array(lengths))


def columns_of(cache, row):
    """Keys and values of the tokens of a row, each [depth, K, length, E]."""
    size = int(cache.length[row])
    key = np.asarray(cache.key[:, row, :, :, :size]).swapaxes(2, 3)
    return key, np.asarray(cache.value[:, row, :, :size])


@pytest.mark.parametrize("steps", [1, 2])
def test_new_tokens_go_behind_those_of_their_row(steps):
    lengths = [0, 2, 4]
    cache = numbered(3, 6, lengths)
    new = 1e3 + jnp.arange(2.0 * 3 * 2 * steps * 4).reshape(2, 3, 2, steps, 4)
    after = jax.jit(Cache.append)(cache, new, -new)
    np.testing.assert_array_equal(after.length, np.array(lengths) + steps)
    for row, length in enumerate(lengths):
        for sign, got, before in zip(
            (1, -1), columns_of(after, row), columns_of(cache, row), strict=True
        ):
            np.testing.assert_array_equal(got[:, :, :length], before)
            np.testing.assert_array_equal(got[:, :, length:], sign * new[:, row])


@pytest.mark.parametrize("axis", [3, 4])
@pytest.mark.parametrize("steps", [1, 3])
def test_columns_put_at_once_are_those_put_row_after_row(axis, steps):
    """What TPUs do is the latter."""
    shape, first = [2, 5, 2, 7, 7], jnp.array([0, 4, 2, 1, 3])
    whole = jax.random.normal(jax.random.key(0), shape)
    shape[axis] = steps
    new = jax.random.normal(jax.random.key(1), shape)
    put = [
        jax.jit(put, static_argnames="axis")(whole, new, first, axis=axis)
        for put in (put_columns, scatter_columns)
    ]
    np.testing.assert_array_equal(*put)
    assert np.sum(put[0] != whole) == new.size


def test_a_tpu_puts_columns_row_after_row(monkeypatch):
    monkeypatch.setattr(caches, "target_platform", lambda: "tpu")
    monkeypatch.setattr(caches, "scatter_columns", None)
    new = jnp.ones((2, 3, 2, 1, 4))
    np.testing.assert_array_equal(
        numbered(3, 6, [1, 2, 3]).append(new, new).length, [2, 3, 4]
    )


def test_rows_that_do_not_go_on_are_empty():
    cache = numbered(3, 6, [1, 2, 3])
    new = jnp.ones((2, 3, 2, 1, 4))
    after = cache.append(new, new, jnp.array([True, False, True]))
    np.testing.assert_array_equal(after.length, [2, 0, 4])


def test_a_row_is_replaced_by_one_of_a_shorter_cache():
    cache, prompts = numbered(3, 6, [6, 5, 4]), numbered(2, 3, [1, 3])
    after = jax.jit(Cache.insert)(cache, 1, prompts, 1)
    np.testing.assert_array_equal(after.length, [6, 3, 4])
    for got, expected in zip(columns_of(after, 1), columns_of(prompts, 1), strict=True):
        np.testing.assert_array_equal(got, expected)
    for row in (0, 2):
        for got, expected in zip(
            columns_of(after, row), columns_of(cache, row), strict=True
        ):
            np.testing.assert_array_equal(got, expected)


def test_rows_that_are_kept_move_to_the_front():
    cache = numbered(5, 4, [1, 0, 3, 0, 4])
    kept = jax.jit(Cache.keep)(cache, jnp.array([0, 2, 4, 1]))
    np.testing.assert_array_equal(kept.length, [1, 3, 4, 0])
    assert kept.key.shape == cache.key.shape
    for row, source in enumerate((0, 2, 4)):
        for got, expected in zip(
            columns_of(kept, row), columns_of(cache, source), strict=True
        ):
            np.testing.assert_array_equal(got, expected)


def test_some_rows_of_a_cache_go_on_in_it():
    """What is appended after some were kept goes to them and to no others."""
    kept = numbered(5, 4, [1, 0, 3, 0, 2]).keep(jnp.array([0, 2, 4]))
    new = 1e3 + jnp.arange(2.0 * 3 * 2 * 4).reshape(2, 3, 2, 1, 4)
    after = kept.append(new, -new)
    np.testing.assert_array_equal(after.length, [2, 4, 3])
    for row, length in enumerate((1, 3, 2)):
        key, value = columns_of(after, row)
        np.testing.assert_array_equal(key[:, :, length:], new[:, row])
        np.testing.assert_array_equal(value[:, :, length:], -new[:, row])
    np.testing.assert_array_equal(after.key[:, 3:], kept.key[:, 3:])


@pytest.mark.parametrize("columns", [4, 256, 257, 1000])
def test_an_empty_cache_has_room_for_all_tokens(columns):
    cache = empty_cache(numbered(2, 4, [4, 3]), 3, columns)
    room = whole_blocks(columns)
    assert cache.key.shape == (2, 3, 2, 4, room) and room >= columns
    assert cache.value.shape == (2, 3, 2, room, 4)
    assert not cache.length.any() and not cache.key.any() and not cache.value.any()


@pytest.mark.parametrize("columns", [12, 300])
def test_rows_of_different_lengths_go_on_as_each_would_alone(tiny_policy, columns):
    """As where a row that has ended makes room for another prompt."""
    lengths, steps = jnp.array([2, 5, 7]), 2
    feed = jax.jit(type(tiny_policy).__call__, static_argnames="keep")
    mask = jnp.arange(7)[None] < lengths[:, None]
    _, read = feed(tiny_policy, TOKENS[:, :7], layout_of_mask(mask), keep=True)
    prompts = cache_of_rows(*read, lengths)
    cache = empty_cache(prompts, 3, columns)
    for row in range(3):
        cache = cache.insert(row, prompts, row)
    for step in range(steps):
        tokens = TOKENS[jnp.arange(3), lengths + step]
        layout = layout_of_decoding(cache.length)
        hidden, new = feed(tiny_policy, tokens[:, None], layout, cache, keep=True)
        cache = cache.append(*new)
        for row, length in enumerate(lengths + step + 1):
            alone = TOKENS[row : row + 1, :length]
            expected, none = feed(tiny_policy, alone, layout_of_mask(alone >= 0))
            assert none is None
            np.testing.assert_allclose(
                hidden[row, 0], expected[0, -1], rtol=1e-5, atol=1e-5
            )
    np.testing.assert_array_equal(cache.length, lengths + steps)
