"""The key-value cache of a decoder: what earlier columns of each row left behind."""

import jax
import jax.numpy as jnp
from flax import struct


@struct.dataclass
class Cache:
    """Keys and values of the columns seen so far, for every layer."""

    key: jax.Array  # [depth, B, K, C, E]
    value: jax.Array  # [depth, B, K, C, E]
    length: jax.Array  # [B] int32, columns of each row already written

    def write(self, layer, key, value):
        """Puts new columns of one layer, [B, K, S, E], behind those its rows have.

        Returns the cache, and all keys and values of the layer, [B, K, C, E].
        """

        def put(row, new, length):
            where = (layer, 0, length, 0)
            return jax.lax.dynamic_update_slice(row, new[None], where)

        put = jax.vmap(put, in_axes=(1, 0, 0), out_axes=1)
        keys = put(self.key, key, self.length)
        values = put(self.value, value, self.length)
        return self.replace(key=keys, value=values), keys[layer], values[layer]

    def advance(self, columns):
        """Returns the cache after so many columns of every row were written."""
        return self.replace(length=self.length + columns)

    def repeat(self, times):
        """Returns the cache with every row so many times, neighbors of each other."""
        return Cache(
            jnp.repeat(self.key, times, axis=1),
            jnp.repeat(self.value, times, axis=1),
            jnp.repeat(self.length, times),
        )

    def pad(self, columns):
        """Returns the cache with so many columns, the new ones empty."""
        new = columns - self.key.shape[3]
        widths = ((0, 0), (0, 0), (0, 0), (0, new), (0, 0))
        return self.replace(
            key=jnp.pad(self.key, widths), value=jnp.pad(self.value, widths)
        )


def empty_cache(config, rows, columns):
    """Returns a `Cache` for `rows` sequences of at most `columns` tokens."""
    shape = (config.depth, rows, config.key_value_heads, columns, config.head_width)
    zeros = jnp.zeros(shape, config.product_dtype)
    return Cache(zeros, zeros, jnp.zeros(rows, jnp.int32))
