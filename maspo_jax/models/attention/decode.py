"""Attention of new tokens to a cache, a block of columns at a time, as far as filled.

Blocks behind the longest row are not read, and none of a layer is copied whole.
"""

import math

import jax
import jax.numpy as jnp

from maspo_jax.models.attention.choice import target_platform
from maspo_jax.models.attention.reference import MASKED
from maspo_jax.models.precision import precision_of

# Columns read at a time, at most. A GPU waits for its host at every block.
BLOCKS = {"cpu": 128, "gpu": 2048, "tpu": 512}
TILE = 128  # of columns
SHORT = 256  # a cache of so many columns is one block
ROWS = 4  # read together on a CPU


def whole_blocks(columns):
    """Returns how many columns a cache has that must hold so many."""
    if columns <= SHORT:
        return columns
    count = block_count(columns)
    return count * -(-columns // (count * TILE)) * TILE


def block_count(columns):
    """Returns in how many blocks, all of one size, a cache of so many columns is read.

    As many as before for the columns that `whole_blocks` makes of them.
    """
    return 1 if columns <= SHORT else -(-columns // BLOCKS[target_platform()])


def decode(query, key, value, layout, cache, layer):
    """Attention of S new tokens of each row to what the cache holds, and themselves.

    Args:
        query: [B, S, H, E].
        key: [B, K, S, E], of the new tokens, each head shared by H / K query heads.
        value: [B, K, S, E], likewise.
        layout: the `DecodeLayout`.
        cache: the `models.cache.Cache` of the tokens before.
        layer: [] int32, which layer of it.

    Returns:
        [B, S, H, E].
    """
    rows, steps, heads, width = query.shape
    groups, columns = key.shape[1], cache.key.shape[-1]
    query = query.reshape(rows, steps, groups, heads // groups, width)
    query = query.transpose(0, 2, 3, 1, 4).reshape(rows, groups, -1, width)
    own = jnp.tile(jnp.tri(steps, dtype=bool), (heads // groups, 1))[None, None]
    size = columns // block_count(columns)
    count = rows_at_a_time(rows)

    def attend(_, some):
        query, key, value, lengths, row = some

        def block(index, seen):
            first = index * size
            keys = jax.lax.dynamic_slice(
                cache.key, (layer, row, 0, 0, first), (1, count, groups, width, size)
            )
            values = jax.lax.dynamic_slice(
                cache.value, (layer, row, 0, first, 0), (1, count, groups, size, width)
            )
            column = first + jnp.arange(size)
            filled = (column[None] < lengths[:, None])[:, None, None]
            return _attend(seen, query, keys[0], values[0], filled)

        # The tokens themselves come first: each sees one at least, itself.
        nothing = (
            jnp.full(query.shape[:3], MASKED),
            jnp.zeros(query.shape[:3]),
            jnp.zeros(query.shape, jnp.float32),
        )
        seen = _attend(nothing, query, key.swapaxes(2, 3), value, own)
        if size == columns:
            seen = block(0, seen)
        else:
            blocks = -(-jnp.max(lengths) // size)
            seen = jax.lax.fori_loop(0, blocks, block, seen)
        _, total, mixed = seen
        return None, (mixed / total[..., None]).astype(value.dtype)

    parts = jax.tree.map(
        lambda x: x.reshape(-1, count, *x.shape[1:]),
        (query, key, value, layout.lengths),
    )
    _, mixed = jax.lax.scan(attend, None, (*parts, jnp.arange(0, rows, count)))
    mixed = mixed.reshape(rows, groups, heads // groups, steps, width)
    return mixed.transpose(0, 3, 1, 2, 4).reshape(rows, steps, heads, width)


def rows_at_a_time(rows):
    """Returns how many rows are read as far as the longest of them, of so many.

    All, where rows are computed side by side. On a CPU a few: less is read of short
    rows, and it stays in the cache of the processor until it is multiplied.
    """
    few = target_platform() == "cpu" and rows % ROWS == 0
    return ROWS if few else rows


def _attend(seen, query, key, value, visible):
    """Adds columns to a softmax that is computed as they come.

    Args:
        seen: of the columns so far, the largest score and the sum of exponentials,
            [B, K, Q], and the sum of values that these weigh, [B, K, Q, E].
        query: [B, K, Q, E].
        key: [B, K, E, C].
        value: [B, K, C, E].
        visible: bool, of a shape that spreads to [B, K, Q, C].
    """
    largest, total, mixed = seen
    precision = precision_of(query.dtype)
    score = jnp.matmul(
        query, key, precision=precision, preferred_element_type=jnp.float32
    )
    score = jnp.where(visible, score / math.sqrt(query.shape[-1]), MASKED)
    new = jnp.maximum(largest, score.max(axis=-1))
    share = jnp.where(visible, jnp.exp(score - new[..., None]), 0)
    before = jnp.exp(largest - new)
    added = jnp.matmul(
        share.astype(value.dtype),
        value,
        precision=precision,
        preferred_element_type=jnp.float32,
    )
    total = before * total + share.sum(axis=-1)
    return new, total, before[..., None] * mixed + added
