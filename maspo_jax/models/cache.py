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
    # Whether all rows have the same length. One slice is written for all of them then,
    # which costs half of what a scatter to each row does.
    in_step: bool = struct.field(pytree_node=False, default=True)

    def write(self, layer, key, value):
        """Puts new columns of one layer, [B, K, S, E], behind those its rows have.

        Returns the cache, and all keys and values of the layer, [B, K, C, E].
        """
        put = _put_in_step if self.in_step else _put_each
        keys = put(self.key, key, layer, self.length)
        values = put(self.value, value, layer, self.length)
        return self.replace(key=keys, value=values), keys[layer], values[layer]

    def advance(self, columns):
        """Returns the cache after so many columns of every row were written."""
        return self.replace(length=self.length + columns)

    def repeat(self, times):
        """Returns the cache with every row so many times, neighbors of each other."""
        return self.replace(
            key=jnp.repeat(self.key, times, axis=1),
            value=jnp.repeat(self.value, times, axis=1),
            length=jnp.repeat(self.length, times),
        )

    def pad(self, columns):
        """Returns the cache with so many columns, the new ones empty."""
        new = columns - self.key.shape[3]
        widths = ((0, 0), (0, 0), (0, 0), (0, new), (0, 0))
        return self.replace(
            key=jnp.pad(self.key, widths), value=jnp.pad(self.value, widths)
        )


def _put_in_step(whole, new, layer, length):
    where = (layer, 0, 0, length[0], 0)
    return jax.lax.dynamic_update_slice(whole, new[None], where)


def _put_each(whole, new, layer, length):
    def put(row, new, length):
        where = (layer, 0, length, 0)
        return jax.lax.dynamic_update_slice(row, new[None], where)

    return jax.vmap(put, in_axes=(1, 0, 0), out_axes=1)(whole, new, length)


def empty_cache(config, rows, columns, in_step=True, tensor=1):
    """Returns a `Cache` for `rows` sequences of at most `columns` tokens.

    Args:
        config: the `DecoderConfig`.
        rows: B.
        columns: C.
        in_step: whether all rows will have the same length at any time.
        tensor: devices that share the heads; each holds K / tensor of them.
    """
    heads = config.key_value_heads // tensor
    shape = (config.depth, rows, heads, columns, config.head_width)
    zeros = jnp.zeros(shape, config.product_dtype)
    return Cache(zeros, zeros, jnp.zeros(rows, jnp.int32), in_step)
