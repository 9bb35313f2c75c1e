"""What a cache holds of each row."""

import jax
import jax.numpy as jnp
import numpy as np

from maspo_jax.models.attention import layout_of_decoding, layout_of_mask
from maspo_jax.models.cache import empty_cache

TOKENS = jax.random.randint(jax.random.key(2), (3, 9), 0, 24)


def test_columns_go_behind_those_of_their_row(tiny_config):
    cache = empty_cache(tiny_config, 3, 5, in_step=False)
    cache = cache.replace(length=jnp.array([0, 2, 4]))
    new = jnp.arange(1.0, 4)[:, None, None, None] * jnp.ones((3, 2, 1, 6))
    written, keys, values = jax.jit(type(cache).write)(cache, 1, new, -new)
    expected = np.zeros((3, 2, 5, 6))
    for row, column in enumerate((0, 2, 4)):
        expected[row, :, column] = row + 1
    np.testing.assert_array_equal(keys, expected)
    np.testing.assert_array_equal(values, -expected)
    np.testing.assert_array_equal(written.key[1], keys)
    np.testing.assert_array_equal(written.value[1], values)
    assert not written.key[jnp.array([0, 2])].any()
    np.testing.assert_array_equal(written.advance(1).length, [1, 3, 5])


def test_rows_in_step_are_written_as_each_by_itself_would_be(tiny_config):
    new = jax.random.normal(jax.random.key(0), (3, 2, 2, 6))
    written = []
    for in_step in (True, False):
        cache = empty_cache(tiny_config, 3, 5, in_step).advance(2)
        written.append(cache.write(1, new, -new)[0])
    np.testing.assert_array_equal(written[0].key, written[1].key)
    np.testing.assert_array_equal(written[0].value, written[1].value)


def test_rows_of_different_lengths_go_on_as_each_would_alone(tiny_policy):
    """As where a row that has ended makes room for another prompt."""
    lengths, steps = [2, 5, 7], 2
    feed = jax.jit(type(tiny_policy).__call__)
    cache = empty_cache(tiny_policy.config, 3, 12, in_step=False)
    alone = []
    for row, length in enumerate(lengths):
        tokens = TOKENS[row : row + 1, : length + steps]
        prompt = tokens[:, :length]
        hidden, _ = feed(tiny_policy, tokens, layout_of_mask(tokens >= 0))
        alone.append(hidden[0, -steps:])
        one = empty_cache(tiny_policy.config, 1, length)
        _, one = feed(tiny_policy, prompt, layout_of_mask(prompt >= 0), one)
        one = one.pad(12)
        cache = cache.replace(
            key=cache.key.at[:, row].set(one.key[:, 0]),
            value=cache.value.at[:, row].set(one.value[:, 0]),
            length=cache.length.at[row].set(one.length[0]),
        )
    for step in range(steps):
        tokens = jnp.stack([TOKENS[row, n + step] for row, n in enumerate(lengths)])
        layout = layout_of_decoding(jnp.zeros(3, jnp.int32), cache.length)
        hidden, cache = feed(tiny_policy, tokens[:, None], layout, cache)
        for row in range(3):
            np.testing.assert_allclose(
                hidden[row, 0], alone[row][step], rtol=1e-5, atol=1e-5
            )
    np.testing.assert_array_equal(cache.length, np.array(lengths) + steps)


def test_whole_rows_fill_a_cache_and_see_only_themselves(tiny_policy):
    """In as many columns as they have, then padded: nothing reads the others."""
    layout = layout_of_mask(jnp.arange(9)[None] >= jnp.array([[0], [3], [8]]))
    plain, _ = tiny_policy(TOKENS, layout)
    for columns in (9, 14):
        cache = empty_cache(tiny_policy.config, 3, columns)
        hidden, cache = tiny_policy(TOKENS, layout, cache)
        np.testing.assert_allclose(hidden, plain, rtol=1e-6, atol=1e-6)
        assert cache.pad(14).key.shape[3] == 14
        np.testing.assert_array_equal(cache.length, [9, 9, 9])
        assert not cache.pad(14).key[:, :, :, 9:].any()


def test_repeated_rows_are_neighbors(tiny_config):
    cache = empty_cache(tiny_config, 2, 3)
    cache = cache.replace(key=cache.key.at[:, 1].set(1.0), length=jnp.array([1, 2]))
    repeated = cache.repeat(3)
    np.testing.assert_array_equal(repeated.length, [1, 1, 1, 2, 2, 2])
    np.testing.assert_array_equal(repeated.key[0, :, 0, 0, 0], [0, 0, 0, 1, 1, 1])
    assert repeated.value.shape == repeated.key.shape
