"""The policy: a decoder of the Qwen2 and Qwen3 families, with a key-value cache.

Letters beside those of `maspo_jax.types`:

    B  rows            S  positions fed in one call    C  columns of the cache
    D  width           H  query heads                  K  key-value heads
    E  width of a head

Flax holds the parameters of a layer; JAX does the rest. All layers share one
`Block` whose parameters have a leading depth axis, walked by `jax.lax.scan`.
"""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx, struct

from maspo_jax.models import rope

MASKED = -1e30  # finite, so that a row without any visible column stays finite


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
    """The shape of a decoder."""

    vocabulary: int
    width: int = 64
    depth: int = 2
    query_heads: int = 4
    key_value_heads: int = 2
    head_width: int = 16
    feed_forward: int = 176
    rope_theta: float = 1e4
    rope_scaling: Any = None  # from `models.rope`, for longer texts
    norm_epsilon: float = 1e-6
    qkv_bias: bool = False  # Qwen2
    qk_norm: bool = False  # Qwen3
    tied_head: bool = True
    dtype: str = "float32"  # of the parameters and of the matrix products

    def __post_init__(self):
        """Refuses shapes that no decoder has."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type is int and value < 1:
                raise ValueError(f"{field.name}={value}: must be at least 1")
        if self.query_heads % self.key_value_heads:
            raise ValueError(
                f"query_heads={self.query_heads} is not a multiple of "
                f"key_value_heads={self.key_value_heads}"
            )
        if self.head_width % 2:
            raise ValueError(
                f"head_width={self.head_width}: rotary embedding needs an even width"
            )
        if self.dtype not in ("float32", "bfloat16"):
            raise ValueError(f"dtype={self.dtype!r}: choose float32 or bfloat16")


@struct.dataclass
class Cache:
    """Keys and values of the columns seen so far, for every layer."""

    key: jax.Array  # [depth, B, K, C, E]
    value: jax.Array  # [depth, B, K, C, E]
    length: jax.Array  # [] int32, columns already written

    def write(self, layer, key, value):
        """Puts new columns of one layer, [B, K, S, E], behind those it has.

        Returns the cache, and all keys and values of the layer, [B, K, C, E].
        """
        where = (layer, 0, 0, self.length, 0)
        keys = jax.lax.dynamic_update_slice(self.key, key[None], where)
        values = jax.lax.dynamic_update_slice(self.value, value[None], where)
        return Cache(keys, values, self.length), keys[layer], values[layer]


def empty_cache(config, rows, columns):
    """Returns a `Cache` for `rows` sequences of at most `columns` tokens."""
    shape = (config.depth, rows, config.key_value_heads, columns, config.head_width)
    zeros = jnp.zeros(shape, config.dtype)
    return Cache(zeros, zeros, jnp.zeros((), jnp.int32))


def positions(mask):
    """Returns the position of each token, counted from its row's first. [B, S]."""
    return jnp.maximum(jnp.cumsum(mask, axis=-1) - 1, 0)


def causal(mask):
    """Returns which columns each position sees. [B, S] bool -> [B, S, S] bool."""
    size = mask.shape[-1]
    return jnp.tri(size, dtype=bool)[None] & mask[:, None, :]


def packed(segment):
    """Returns the positions and what is visible where rows hold several texts.

    Args:
        segment: [B, S] int32, which text of its row a token belongs to; 0 on padding.

    Returns:
        [B, S] int32, counted from the first token of each text, and [B, S, S] bool.
    """
    size = segment.shape[-1]
    place = jnp.broadcast_to(jnp.arange(size), segment.shape)
    begins = jnp.diff(segment, axis=-1, prepend=-1) != 0
    position = place - jax.lax.cummax(jnp.where(begins, place, 0), axis=1)
    same = segment[:, :, None] == segment[:, None, :]
    return position, same & causal(segment > 0)


class Linear(nnx.Module):
    """A matrix product, with or without a bias."""

    def __init__(self, inputs, outputs, config, rngs, bias=False):
        scale = 1 / math.sqrt(inputs)
        kernel = scale * jax.random.normal(rngs.params(), (inputs, outputs))
        self.kernel = nnx.Param(kernel.astype(config.dtype))
        self.bias = nnx.Param(jnp.zeros(outputs, config.dtype)) if bias else None

    def __call__(self, x):
        """Returns [..., outputs] for [..., inputs]."""
        y = x @ self.kernel[...]
        return y if self.bias is None else y + jnp.broadcast_to(self.bias[...], y.shape)


class RMSNorm(nnx.Module):
    """Root-mean-square normalization of the last axis, in float32."""

    def __init__(self, width, config):
        self.scale = nnx.Param(jnp.ones(width, config.dtype))
        self.epsilon = config.norm_epsilon

    def __call__(self, x):
        """Returns an array of the shape and dtype of `x`."""
        wide = x.astype(jnp.float32)
        mean = jnp.mean(jnp.square(wide), axis=-1, keepdims=True)
        normal = (wide * jax.lax.rsqrt(mean + self.epsilon)).astype(x.dtype)
        return normal * jnp.broadcast_to(self.scale[...], x.shape)


def rotate(x, position, theta, scaling=None):
    """Rotary embedding of the two halves of a head. [B, S, H, E], [B, S]."""
    frequency, scale = rope.frequencies(theta, x.shape[-1], scaling)
    frequency = jnp.asarray(frequency, jnp.float32)
    angle = position[:, :, None, None].astype(jnp.float32) * frequency[None, None, None]
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    sin, cos = scale * jnp.sin(angle), scale * jnp.cos(angle)
    turned = [first * cos - second * sin, second * cos + first * sin]
    return jnp.concatenate(turned, axis=-1).astype(x.dtype)


def attend(query, key, value, visible):
    """Grouped-query attention, softmax in float32.

    Args:
        query: [B, S, H, E].
        key: [B, K, C, E], each head shared by H / K query heads.
        value: [B, K, C, E].
        visible: [B, S, C] bool.

    Returns:
        [B, S, H * E].
    """
    rows, steps, heads, width = query.shape
    groups = key.shape[1]
    query = query.reshape(rows, steps, groups, heads // groups, width)
    score = jnp.einsum(
        "bskge,bkce->bkgsc", query, key, preferred_element_type=jnp.float32
    )
    score = jnp.where(visible[:, None, None], score / math.sqrt(width), MASKED)
    share = jax.nn.softmax(score, axis=-1).astype(value.dtype)
    mixed = jnp.einsum("bkgsc,bkce->bskge", share, value)
    return mixed.reshape(rows, steps, heads * width)


class Attention(nnx.Module):
    """Causal self-attention with rotary positions and grouped key-value heads."""

    def __init__(self, config, rngs):
        inner = config.query_heads * config.head_width
        shared = config.key_value_heads * config.head_width
        self.query = Linear(config.width, inner, config, rngs, config.qkv_bias)
        self.key = Linear(config.width, shared, config, rngs, config.qkv_bias)
        self.value = Linear(config.width, shared, config, rngs, config.qkv_bias)
        self.output = Linear(inner, config.width, config, rngs)
        self.query_norm = RMSNorm(config.head_width, config) if config.qk_norm else None
        self.key_norm = RMSNorm(config.head_width, config) if config.qk_norm else None
        self.head_width = config.head_width
        self.rope = config.rope_theta, config.rope_scaling

    def __call__(self, x, position, visible, cache, layer):
        """Returns the change of `x`, [B, S, D], and the cache."""
        query = self.heads(self.query(x), self.query_norm)
        key = self.heads(self.key(x), self.key_norm)
        value = self.heads(self.value(x)).swapaxes(1, 2)
        query = rotate(query, position, *self.rope)
        key = rotate(key, position, *self.rope).swapaxes(1, 2)
        if cache is not None:
            cache, key, value = cache.write(layer, key, value)
        return self.output(attend(query, key, value, visible)), cache

    def heads(self, x, norm=None):
        """Splits heads and normalizes each. [B, S, H * E] -> [B, S, H, E]."""
        x = x.reshape(*x.shape[:2], -1, self.head_width)
        return x if norm is None else norm(x)


class FeedForward(nnx.Module):
    """SwiGLU: a gated linear unit with a SiLU gate."""

    def __init__(self, config, rngs):
        self.gate = Linear(config.width, config.feed_forward, config, rngs)
        self.up = Linear(config.width, config.feed_forward, config, rngs)
        self.down = Linear(config.feed_forward, config.width, config, rngs)

    def __call__(self, x):
        """Returns [..., D] for [..., D]."""
        return self.down(jax.nn.silu(self.gate(x)) * self.up(x))


class Block(nnx.Module):
    """One layer: attention, then feed-forward, each on a normalized residual."""

    def __init__(self, config, rngs):
        self.attention_norm = RMSNorm(config.width, config)
        self.attention = Attention(config, rngs)
        self.feed_forward_norm = RMSNorm(config.width, config)
        self.feed_forward = FeedForward(config, rngs)

    def __call__(self, x, position, visible, cache=None, layer=None):
        """Returns the new residual stream, [B, S, D], and the cache."""
        change, cache = self.attention(
            self.attention_norm(x), position, visible, cache, layer
        )
        x = x + change
        return x + self.feed_forward(self.feed_forward_norm(x)), cache


class Decoder(nnx.Module):
    """The policy: tokens in, hidden states out, and a head that scores tokens."""

    def __init__(self, config, rngs):
        self.config = config
        embedding = 0.02 * jax.random.normal(
            rngs.params(), (config.vocabulary, config.width)
        )
        self.embedding = nnx.Param(embedding.astype(config.dtype))
        make_block = lambda key: Block(config, nnx.Rngs(key))
        self.blocks = jax.vmap(make_block)(
            jax.random.split(rngs.params(), config.depth)
        )
        self.norm = RMSNorm(config.width, config)
        self.head = (
            None
            if config.tied_head
            else Linear(config.width, config.vocabulary, config, rngs)
        )

    def __call__(
        self, tokens, position, visible, cache=None, *, unshard=lambda block: block
    ):
        """Returns hidden states, and the cache with the new columns.

        Args:
            tokens: [B, S] int32.
            position: [B, S] int32, where each token stands in its row.
            visible: [B, S, C] bool, the columns each token sees, its own included;
                C is S without a cache.
            cache: a `Cache` to put these S columns in, or None.
            unshard: given the parameters of one layer as they are stored, returns
                them whole.

        Returns:
            [B, S, D] and the `Cache`, or None if there was none.
        """

        @functools.partial(jax.checkpoint, prevent_cse=False)
        def step(carry, stored):
            block, layer = stored
            x, cache = carry
            return unshard(block)(x, position, visible, cache, layer), None

        layers = self.blocks, jnp.arange(self.config.depth)
        (x, cache), _ = jax.lax.scan(step, (self.embed(tokens), cache), layers)
        if cache is not None:
            cache = cache.replace(length=cache.length + tokens.shape[1])
        return self.norm(x), cache

    def embed(self, tokens):
        """Returns the embeddings of tokens. [...] int32 -> [..., D]."""
        return self.embedding[...][tokens]

    def head_matrix(self):
        """Returns the matrix that scores every token against a hidden state. [V, D]."""
        return self.embedding[...] if self.head is None else self.head.kernel[...].T

    def logits(self, hidden):
        """Returns the scores of all tokens. [..., D] -> [..., V] float32."""
        return jnp.einsum(
            "...d,vd->...v",
            hidden,
            self.head_matrix(),
            preferred_element_type=jnp.float32,
        )
