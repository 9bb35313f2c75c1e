"""Sequences as a decoder reads them without their padding, and the way back.

Padded prompts and responses become rows of many texts, or of one text and few columns;
what comes out for each token is moved back to where the response has it. So nothing
that looks at responses has to know how they were read.
"""

import jax
import jax.numpy as jnp
from flax import struct

from maspo_jax.models.attention import layout_of_mask, layout_of_segments


@struct.dataclass
class PackedRows:
    """R rows of S columns, which hold every token that has another one behind it."""

    tokens: jax.Array  # [R, S] int32
    segment: jax.Array  # [R, S] int32, the text of a token, from 1; 0 is padding
    place: jax.Array  # [n, T] int32, the column, through all rows, before each token

    @property
    def layout(self):
        """The `RowLayout` for attention that knows texts apart."""
        return layout_of_segments(self.segment)

    @property
    def layout_of_one(self):
        """The `RowLayout` of rows with one text each, for any attention."""
        return layout_of_mask(self.segment > 0)


def pack(sequences, start, rows, length):
    """Returns the `PackedRows` of n sequences.

    Args:
        sequences: the `Sequences`; a text without a response is left out.
        start: [n] int32, the first column of each, counted through all rows.
        rows: R.
        length: S.
    """
    mask = jnp.concatenate([sequences.prompt_mask, sequences.response_mask], axis=-1)
    tokens = jnp.concatenate([sequences.prompt, sequences.response], axis=-1)
    # Nothing follows the last token of a text.
    reads = mask[:, :-1] & mask[:, 1:] & sequences.response_mask[:, :1]
    within = jnp.cumsum(reads, axis=-1, dtype=jnp.int32) - 1
    size = rows * length
    column = jnp.where(reads, start[:, None] + within, size)  # or nowhere
    texts = jnp.arange(1, len(start) + 1, dtype=jnp.int32)
    texts = jnp.broadcast_to(texts[:, None], reads.shape)
    fill = lambda values: scatter(values, column, size).reshape(rows, length)
    place = column[:, sequences.prompt.shape[-1] - 1 :]
    return PackedRows(fill(tokens[:, :-1]), fill(texts), place)


def scatter(values, place, size):
    """Moves values to their places, where others are zero. [n, T] -> [size]."""
    zeros = jnp.zeros(size, values.dtype)
    return zeros.at[place].set(values, mode="drop")


def gather(values, place):
    """Undoes `scatter`; zero where a place is none. [size, ...] -> [n, T, ...]."""
    return values.at[place].get(mode="fill", fill_value=0)
