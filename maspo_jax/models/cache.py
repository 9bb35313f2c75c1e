"""The key-value cache of a decoder: what earlier tokens of each row left behind."""

import jax
import jax.numpy as jnp
from flax import struct

from maspo_jax.models.attention import target_platform, whole_blocks


@struct.dataclass
class Cache:
    """Keys and values of the tokens seen so far, for every layer.

    Token t of a row lies in column t. Keys lie transposed: the scores of a query are
    then a product of matrices as they are stored, which is what CPUs multiply fastest.
    """

    key: jax.Array  # [depth, B, K, E, C]
    value: jax.Array  # [depth, B, K, C, E]
    length: jax.Array  # [B] int32, tokens that each row holds

    def append(self, key, value, kept=True):
        """Returns the cache with S tokens more in each row, of all layers at once.

        Args:
            key: [depth, B, K, S, E].
            value: likewise.
            kept: [B] bool, the rows that go on; the others are empty from now on.
        """
        put = put_columns if target_platform() == "tpu" else scatter_columns
        return Cache(
            put(self.key, key.swapaxes(3, 4), self.length, axis=4),
            put(self.value, value, self.length, axis=3),
            jnp.where(kept, self.length + key.shape[3], 0),
        )

    def insert(self, row, other, place):
        """Returns the cache with a row replaced by one of another, shorter cache.

        Args:
            row: [] int32, which to replace.
            other: a `Cache` of no more columns.
            place: [] int32, which row of it.
        """
        one = lambda whole: jax.lax.dynamic_slice_in_dim(whole, place, 1, axis=1)
        put = lambda whole, new: jax.lax.dynamic_update_slice(
            whole, new, (0, row, 0, 0, 0)
        )
        return Cache(
            put(self.key, one(other.key)),
            put(self.value, one(other.value)),
            self.length.at[row].set(other.length[place]),
        )

    def take(self, rows):
        """Returns the cache of the rows, [R] int32, in that order."""
        return Cache(self.key[:, rows], self.value[:, rows], self.length[rows])

    def pad(self, columns):
        """Returns the cache with room for at least so many tokens in a row."""
        new = max(whole_blocks(columns) - self.value.shape[3], 0)
        none = (0, 0)
        return self.replace(
            key=jnp.pad(self.key, (none, none, none, none, (0, new))),
            value=jnp.pad(self.value, (none, none, none, (0, new), none)),
        )


def scatter_columns(whole, new, first, axis):
    """Returns an array with columns of each row replaced, all rows at once.

    Args:
        whole: [depth, B, K, ...], with the columns along `axis`.
        new: likewise, of S columns.
        first: [B] int32, where the S columns of each row begin.
        axis: 3 or 4.
    """
    row = jnp.arange(len(first))[:, None]
    column = first[:, None] + jnp.arange(new.shape[axis])[None]
    new = jnp.moveaxis(new, (1, axis), (0, 1))  # [B, S, depth, K, E]
    if axis == 4:
        return whole.at[:, row, :, :, column].set(new)
    return whole.at[:, row, :, column].set(new)


def put_columns(whole, new, first, axis):
    """Does what `scatter_columns` does, row after row.

    In place on a TPU, which would copy the array twice to lay it out for a scatter.
    """

    def put(row, whole):
        one = jax.lax.dynamic_slice_in_dim(new, row, 1, axis=1)
        start = [0, row, 0, 0, 0]
        start[axis] = first[row]
        return jax.lax.dynamic_update_slice(whole, one, start)

    return jax.lax.fori_loop(0, len(first), put, whole)


def cache_of_rows(key, value, length):
    """Returns the `Cache` of the first S tokens of rows.

    Args:
        key: [depth, B, K, S, E].
        value: likewise.
        length: [B] int32, how many of the S are tokens; padding is behind them.
    """
    return Cache(key.swapaxes(3, 4), value, length)
