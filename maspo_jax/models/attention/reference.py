"""Attention as its equation says, with all scores at once: for short rows and tests."""

import math

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from maspo_jax.models.precision import precision_of
from maspo_jax.models.remat import ATTENTION

MASKED = -1e30  # finite, so that a position that sees nothing stays finite


def reference(query, key, value, layout):
    """Causal grouped-query attention within segments, softmax in float32.

    Args:
        query: [B, S, H, E].
        key: [B, K, S, E], each head shared by H / K query heads.
        value: [B, K, S, E].
        layout: the `RowLayout`.

    Returns:
        [B, S, H, E]; zero at a position that sees nothing, such as padding.
    """
    segments = layout.segments
    size = segments.shape[-1]
    same = segments[:, :, None] == segments[:, None, :]
    real = (segments > 0)[:, None, :]
    visible = same & real & jnp.tri(size, dtype=bool)[None]
    mixed = checkpoint_name(_attend(query, key, value, visible), ATTENTION)
    return jnp.where((segments > 0)[:, :, None, None], mixed, 0)


def _attend(query, key, value, visible):
    """Attention to what is `visible`, [B, S, C] bool, of [B, K, C, E] keys."""
    rows, steps, heads, width = query.shape
    groups = key.shape[1]
    precision = precision_of(query.dtype)
    query = query.reshape(rows, steps, groups, heads // groups, width)
    score = jnp.einsum(
        "bskge,bkce->bkgsc",
        query,
        key,
        precision=precision,
        preferred_element_type=jnp.float32,
    )
    score = jnp.where(visible[:, None, None], score / math.sqrt(width), MASKED)
    share = jax.nn.softmax(score, axis=-1).astype(value.dtype)
    mixed = jnp.einsum("bkgsc,bkce->bskge", share, value, precision=precision)
    return mixed.reshape(rows, steps, heads, width)
