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
    Every method works in place where the cache it is called on is not used again.
    """

    key: jax.Array  # [depth, B or more, K, E, C]
    value: jax.Array  # [depth, B or more, K, C, E]
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
        """Returns the cache with a row replaced by one of a cache of no more columns.

        Args:
            row: [] int32, which to replace.
            other: the other `Cache`.
            place: [] int32, which row of it.
        """
        return Cache(
            _put_row(self.key, row, other.key, place),
            _put_row(self.value, row, other.value, place),
            self.length.at[row].set(other.length[place]),
        )

    def keep(self, rows):
        """Returns the cache of some of its rows, in the memory of all of them.

        Args:
            rows: [R] int32, which; they move to the front, one after another, so that
                row i of those that hold tokens may be no earlier than row i.
        """

        def move(place, whole):
            return tuple(_put_row(x, place, x, rows[place]) for x in whole)

        moved = jax.lax.fori_loop(0, len(rows), move, (self.key, self.value))
        return Cache(*moved, self.length[rows])


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


def _put_row(whole, row, other, place):
    one = jax.lax.dynamic_slice_in_dim(other, place, 1, axis=1)
    return jax.lax.dynamic_update_slice(whole, one, (0, row, 0, 0, 0))


def cache_of_rows(key, value, length):
    """Returns the `Cache` of the first S tokens of rows.

    Args:
        key: [depth, B, K, S, E].
        value: likewise.
        length: [B] int32, how many of the S are tokens; padding is behind them.
    """
    return Cache(key.swapaxes(3, 4), value, length)


def empty_cache(other, rows, columns):
    """Returns a `Cache` without tokens, of the shape that another one has.

    Args:
        other: the other `Cache`.
        rows: B.
        columns: as many as a row may have tokens; C may be a few more.
    """
    depth, _, heads, width, _ = other.key.shape
    columns = whole_blocks(columns)
    key = jnp.zeros((depth, rows, heads, width, columns), other.key.dtype)
    return Cache(key, key.swapaxes(3, 4), jnp.zeros(rows, jnp.int32))
