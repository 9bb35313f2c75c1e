"""Where the tokens of a call stand: what an attention function sees instead of a mask.

A mask of [B, S, C] grows with the square of the length. These records are one or two
numbers per token or per row, which is also what the kernels of accelerators take.
"""

import jax
import jax.numpy as jnp
from flax import struct


@struct.dataclass
class RowLayout:
    """Whole rows: each token sees those before it of its own segment, and itself."""

    positions: jax.Array  # [B, S] int32, counted from the first token of a segment
    segments: jax.Array  # [B, S] int32, the text a token belongs to; 0 is padding
    # Whether a row may hold several texts; some kernels know only one.
    packed: bool = struct.field(pytree_node=False, default=True)


@struct.dataclass
class DecodeLayout:
    """New tokens of rows whose earlier ones lie in a cache."""

    positions: jax.Array  # [B, S] int32, from the first token of the row
    lengths: jax.Array  # [B] int32, tokens that the cache holds of it


def layout_of_mask(mask):
    """Returns the `RowLayout` of rows that hold one text each. [B, S] bool."""
    positions = jnp.maximum(jnp.cumsum(mask, axis=-1) - 1, 0)
    return RowLayout(positions, mask.astype(jnp.int32), packed=False)


def layout_of_segments(segments):
    """Returns the `RowLayout` of rows that hold several texts.

    Args:
        segments: [B, S] int32, which text of its row a token belongs to; 0 on padding.
    """
    column = jnp.broadcast_to(jnp.arange(segments.shape[-1]), segments.shape)
    begins = jnp.diff(segments, axis=-1, prepend=-1) != 0
    first = jax.lax.cummax(jnp.where(begins, column, 0), axis=1)
    return RowLayout(column - first, segments)


def layout_of_decoding(lengths, steps=1):
    """Returns the `DecodeLayout` of the next tokens of rows.

    Args:
        lengths: [B] int32, tokens of each row before this call.
        steps: S, tokens of each row in this call.
    """
    positions = lengths[:, None] + jnp.arange(steps, dtype=jnp.int32)[None]
    return DecodeLayout(positions, lengths)
