"""Attention a block of queries and a block of keys at a time: memory linear in length.

The softmax is kept online: each block of keys changes the largest score so far, the
sum of exponentials and the mix of values (Milakov & Gimelshein, arXiv 1805.02867).
The backward pass computes scores again from the logarithm of that sum, as
FlashAttention does (arXiv 2205.14135). Blocks above the diagonal are not computed.
"""

import math

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from maspo_jax.models.attention.reference import MASKED
from maspo_jax.models.precision import precision_of
from maspo_jax.models.remat import ATTENTION

BLOCK = 512  # tokens of a block of queries or keys


def chunked(query, key, value, layout, block=BLOCK):
    """Does what `reference` does, for long rows.

    Args:
        query: [B, S, H, E].
        key: [B, K, S, E], each head shared by H / K query heads.
        value: [B, K, S, E].
        layout: the `RowLayout`.
        block: the most tokens of a block; S need not be a multiple of it.

    Returns:
        [B, S, H, E]; zero at a position that sees nothing, such as padding.
    """
    rows, steps, heads, width = query.shape
    groups = key.shape[1]
    count = -(-steps // block)
    block = min(block, -(-steps // (8 * count)) * 8)  # equal ones: little to fill
    fill = count * block - steps
    # What fills the last block is padding: segment 0.
    segments = jnp.pad(layout.segments, ((0, 0), (0, fill)))
    segments = segments.reshape(rows, count, block).swapaxes(0, 1)
    query = query.reshape(rows, steps, groups, heads // groups, width)
    query = query.transpose(0, 2, 3, 1, 4)  # [B, K, G, S, E]

    def blocks(x):
        """[..., S, E] -> [blocks, ..., block, E]."""
        x = jnp.pad(x, (*[(0, 0)] * (x.ndim - 2), (0, fill), (0, 0)))
        x = x.reshape(*x.shape[:-2], count, block, width)
        return jnp.moveaxis(x, -3, 0)

    mixed = _attend(blocks(query), blocks(key), blocks(value), segments)
    mixed = jnp.moveaxis(mixed, 0, 3).reshape(*mixed.shape[1:4], -1, width)
    mixed = mixed[..., :steps, :].transpose(0, 3, 1, 2, 4)
    return mixed.reshape(rows, steps, heads, width)


# In what follows the arrays are blocks, n of them, each of c tokens:
#     query, mixed  [n, B, K, G, c, E]      key, value  [n, B, K, c, E]
#     segments      [n, B, c]               normalizer  [n, B, K, G, c, 1]


@jax.custom_vjp
def _attend(query, key, value, segments):
    return _forward(query, key, value, segments)[0]


def _forward(query, key, value, segments):
    def row_of_blocks(numbered):
        """All blocks of keys for one block of queries."""
        i, queries, seen_by = numbered

        def add(j, carry):
            largest, total, mixed = carry
            score = _scores(queries, key[j], seen_by, segments[j], i, j)
            higher = jnp.maximum(largest, jnp.max(score, axis=-1, keepdims=True))
            share = jnp.where(score > MASKED, jnp.exp(score - higher), 0)
            fade = jnp.exp(largest - higher)
            total = fade * total + jnp.sum(share, axis=-1, keepdims=True)
            mixed = fade * mixed + _product("bkgqc,bkce->bkgqe", share, value[j])
            return higher, total, mixed

        mixed = jnp.zeros_like(queries, jnp.float32)
        total = mixed[..., :1]
        start = total + MASKED, total, mixed
        largest, total, mixed = jax.lax.fori_loop(0, i + 1, add, start)
        total = jnp.where(total > 0, total, 1)  # of a position that sees nothing
        return (mixed / total).astype(queries.dtype), largest + jnp.log(total)

    numbered = jnp.arange(len(query)), query, segments
    # With both kept, the backward pass need not go over the blocks of keys again.
    mixed, normalizer = checkpoint_name(jax.lax.map(row_of_blocks, numbered), ATTENTION)
    return mixed, (query, key, value, segments, mixed, normalizer)


def _backward(residuals, cotangent):
    query, key, value, segments, mixed, normalizer = residuals
    width = query.shape[-1]
    wide = cotangent.astype(jnp.float32) * mixed.astype(jnp.float32)
    offset = jnp.sum(wide, axis=-1, keepdims=True)  # [n, B, K, G, c, 1]

    def column_of_blocks(by_query, numbered):
        """All blocks of queries for one block of keys."""
        j, keys, values, seen = numbered

        def add(i, carry):
            by_query, by_key, by_value = carry
            score = _scores(query[i], keys, segments[i], seen, i, j)
            share = jnp.where(score > MASKED, jnp.exp(score - normalizer[i]), 0)
            by_value += _product("bkgqc,bkgqe->bkce", share, cotangent[i])
            by_share = _product("bkgqe,bkce->bkgqc", cotangent[i], values)
            by_score = share * (by_share - offset[i]) / math.sqrt(width)
            by_key += _product("bkgqc,bkgqe->bkce", by_score, query[i])
            change = _product("bkgqc,bkce->bkgqe", by_score, keys)
            return by_query.at[i].add(change), by_key, by_value

        zeros = jnp.zeros_like(keys, jnp.float32)
        start = by_query, zeros, zeros
        by_query, *by_memory = jax.lax.fori_loop(j, len(query), add, start)
        return by_query, by_memory

    numbered = jnp.arange(len(key)), key, value, segments
    by_query, (by_key, by_value) = jax.lax.scan(
        column_of_blocks, jnp.zeros_like(query, jnp.float32), numbered
    )
    return (
        by_query.astype(query.dtype),
        by_key.astype(key.dtype),
        by_value.astype(value.dtype),
        None,
    )


_attend.defvjp(_forward, _backward)


def _scores(query, key, seen_by, seen, i, j):
    """Scores of block i of queries and block j of keys, MASKED where not visible."""
    score = _product("bkgqe,bkce->bkgqc", query, key) / math.sqrt(query.shape[-1])
    place = jnp.arange(seen.shape[-1])
    causal = (i - j) * len(place) + place[:, None] >= place[None]
    same = seen_by[:, :, None] == seen[:, None, :]
    visible = causal[None] & same & (seen > 0)[:, None, :]
    return jnp.where(visible[:, None, None], score, MASKED)


def _product(equation, one, other):
    """A product of blocks in the dtype of `other`, summed in float32."""
    return jnp.einsum(
        equation,
        one.astype(other.dtype),
        other,
        precision=precision_of(other.dtype),
        preferred_element_type=jnp.float32,
    )
