"""The policy: a decoder of the Llama, Qwen2 and Qwen3 families, with a key-value cache.

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
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from maspo_jax.distributed.mesh import pcast_varying
from maspo_jax.models import rope
from maspo_jax.models.attention import (
    IMPLEMENTATIONS,
    AttentionName,
    DecodeLayout,
    choose_attention,
    decode,
)
from maspo_jax.models.precision import cast, precision_of
from maspo_jax.models.remat import POLICIES, checkpoint
from maspo_jax.settings import check_intervals, setting

DTYPES = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
    """The shape of a decoder."""

    vocabulary: int = setting(interval="[1, inf)")
    width: int = setting(64, "[1, inf)")
    depth: int = setting(2, "[1, inf)")
    query_heads: int = setting(4, "[1, inf)")
    key_value_heads: int = setting(2, "[1, inf)")
    head_width: int = setting(16, "[1, inf)")
    feed_forward: int = setting(176, "[1, inf)")
    rope_theta: float = setting(1e4, "(0, inf)")
    rope_scaling: Any = None  # from `models.rope`, for longer texts
    norm_epsilon: float = setting(1e-6, "[0, inf)")
    qkv_bias: bool = False  # Qwen2
    qk_norm: bool = False  # Qwen3
    tied_head: bool = True
    dtype: str = "float32"  # of the parameters
    # Of the matrix products, the hidden states and the cache; None: that of the
    # parameters. Logits, log-probabilities and softmax are float32 in any case.
    compute_dtype: Literal["float32", "bfloat16"] | None = None
    attention: AttentionName = "auto"  # of whole rows, see `models.attention`
    # What of a layer the backward pass finds in memory, see `models.remat`; the rest
    # it computes again.
    remat: Literal["full", "dots", "attention", "none"] = "full"

    def __post_init__(self):
        """Refuses shapes that no decoder has."""
        check_intervals(self)
        if self.query_heads % self.key_value_heads:
            raise ValueError(
                f"query_heads={self.query_heads} is not a multiple of "
                f"key_value_heads={self.key_value_heads}"
            )
        if self.head_width % 2:
            raise ValueError(
                f"head_width={self.head_width}: rotary embedding needs an even width"
            )
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype={self.dtype!r}: choose float32 or bfloat16")
        if self.compute_dtype not in (None, *DTYPES):
            raise ValueError(
                f"compute_dtype={self.compute_dtype!r}: choose float32 or bfloat16, or "
                "None for the dtype of the parameters"
            )
        if self.attention not in ("auto", *IMPLEMENTATIONS):
            raise ValueError(
                f"attention={self.attention!r}: choose one of auto, "
                f"{', '.join(IMPLEMENTATIONS)}"
            )
        if self.remat not in POLICIES:
            raise ValueError(f"remat={self.remat!r}: choose {' or '.join(POLICIES)}")

    @property
    def product_dtype(self):
        """The dtype of matrix products: `compute_dtype`, or that of the parameters."""
        return self.compute_dtype or self.dtype


class Linear(nnx.Module):
    """A matrix product, with or without a bias."""

    def __init__(self, inputs, outputs, config, rngs, bias=False):
        scale = 1 / math.sqrt(inputs)
        kernel = scale * jax.random.normal(rngs.params(), (inputs, outputs))
        self.kernel = nnx.Param(kernel.astype(config.dtype))
        self.bias = nnx.Param(jnp.zeros(outputs, config.dtype)) if bias else None

    def __call__(self, x):
        """Returns [..., outputs] for [..., inputs]."""
        y = jnp.matmul(x, self.kernel[...], precision=precision_of(x.dtype))
        return y if self.bias is None else y + _spread(self.bias[...], y.shape)


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
        return normal * _spread(self.scale[...], x.shape)


def rotate(x, position, theta, scaling=None):
    """Rotary embedding of the two halves of a head. [B, S, H, E], [B, S]."""
    frequency, scale = rope.frequencies(theta, x.shape[-1], scaling)
    frequency = jnp.asarray(frequency, jnp.float32)
    angle = position[:, :, None, None].astype(jnp.float32) * frequency[None, None, None]
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    sin, cos = scale * jnp.sin(angle), scale * jnp.cos(angle)
    turned = [first * cos - second * sin, second * cos + first * sin]
    return jnp.concatenate(turned, axis=-1).astype(x.dtype)


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

    def __call__(self, x, layout, attention, tensor=None):
        """Returns the change of `x`, [B, S, D], its keys and values, [B, K, S, E]."""
        query = self.heads(self.query(x), self.query_norm)
        key = self.heads(self.key(x), self.key_norm)
        value = self.heads(self.value(x)).swapaxes(1, 2)
        query = rotate(query, layout.positions, *self.rope)
        key = rotate(key, layout.positions, *self.rope).swapaxes(1, 2)
        mixed = attention(query, key, value, layout)
        change = self.output(mixed.reshape(*mixed.shape[:2], -1))
        return add_parts(change, tensor), (key, value)

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

    def __call__(self, x, tensor=None):
        """Returns [..., D] for [..., D]."""
        return add_parts(self.down(jax.nn.silu(self.gate(x)) * self.up(x)), tensor)


class Block(nnx.Module):
    """One layer: attention, then feed-forward, each on a normalized residual."""

    def __init__(self, config, rngs):
        self.attention_norm = RMSNorm(config.width, config)
        self.attention = Attention(config, rngs)
        self.feed_forward_norm = RMSNorm(config.width, config)
        self.feed_forward = FeedForward(config, rngs)

    def __call__(self, x, layout, attention, tensor=None):
        """Returns the new residual stream, [B, S, D], and the keys and values."""
        change, columns = self.attention(
            self.attention_norm(x), layout, attention, tensor
        )
        x = x + change
        return x + self.feed_forward(self.feed_forward_norm(x), tensor), columns


def add_parts(change, tensor):
    """Returns a change of the stream, given what the heads or units held here add.

    Args:
        change: [..., D].
        tensor: the axis of the mesh along which others hold the others; None: none do.
    """
    return change if tensor is None else pcast_varying(jax.lax.psum(change, tensor))


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
        self,
        tokens,
        layout,
        cache=None,
        *,
        keep=False,
        unshard=lambda block: block,
        tensor=None,
    ):
        """Returns hidden states, and what the cache is given of these tokens.

        Args:
            tokens: [B, S] int32.
            layout: where they stand: a `RowLayout` of whole rows, or a `DecodeLayout`
                of tokens that follow what the cache holds.
            cache: the `Cache` of the tokens before, with a `DecodeLayout`.
            keep: whether to return keys and values.
            unshard: given the parameters of one layer as they are stored, returns
                them whole.
            tensor: the axis of the mesh along which this policy is split, as
                `models.sharding` says: each device holds some heads, and some units of
                the feed-forward network, of all B rows. None: it is whole.

        Returns:
            [B, S, D] in the dtype of matrix products, and the keys and values of these
            tokens, each [depth, B, K, S, E], for `cache_of_rows` or `Cache.append`, or
            None.
        """
        dtype = self.config.product_dtype
        if isinstance(layout, DecodeLayout):
            attend = functools.partial(decode, cache=cache)
        else:
            plain = choose_attention(
                self.config.attention, layout, dtype, self.config.head_width
            )
            attend = lambda *of, layer: plain(*of)

        @functools.partial(checkpoint, name=self.config.remat)
        def step(x, stored):
            block, layer = stored
            block = cast(unshard(block), dtype)
            attention = functools.partial(attend, layer=layer)
            x, columns = block(x, layout, attention, tensor)
            return x, columns if keep else None

        layers = self.blocks, jnp.arange(self.config.depth)
        x, columns = jax.lax.scan(step, self.embed(tokens, tensor), layers)
        return cast(self.norm, dtype)(x), columns

    def embed(self, tokens, tensor=None):
        """Returns the embeddings of tokens. [...] int32 -> [..., D].

        With `tensor`, the axis of the mesh, each device may hold a part of the rows.
        """
        table, dtype = self.embedding[...], self.config.product_dtype
        if table.shape[0] == self.config.vocabulary:
            return _rows(table, tokens).astype(dtype)
        place = tokens - jax.lax.axis_index(tensor) * table.shape[0]
        held = (place >= 0) & (place < table.shape[0])
        rows = _rows(table, jnp.where(held, place, 0)).astype(dtype)
        return add_parts(jnp.where(held[..., None], rows, 0), tensor)

    def head_matrix(self):
        """Returns the matrix that scores every token against a hidden state. [V, D].

        A policy split along `tensor` has the rows of the tokens it holds.
        """
        matrix = self.embedding[...] if self.head is None else self.head.kernel[...].T
        return matrix.astype(self.config.product_dtype)

    def logits(self, hidden):
        """Returns the scores of all tokens. [..., D] -> [..., V] float32."""
        return jnp.einsum(
            "...d,vd->...v",
            hidden,
            self.head_matrix(),
            precision=precision_of(hidden.dtype),
            preferred_element_type=jnp.float32,
        )


@jax.custom_vjp
def _rows(table, index):
    """Returns rows of a table. [V, D], [...] int32 -> [..., D].

    Its gradient is added up in float32: bfloat16 has too few digits for the terms of a
    frequent token.
    """
    return table[index]


def _rows_forward(table, index):
    return table[index], (table, index)


def _rows_backward(residuals, cotangent):
    table, index = residuals
    total = jnp.zeros_like(table, jnp.float32)
    total = total.at[index].add(cotangent.astype(jnp.float32))
    return total.astype(table.dtype), None


_rows.defvjp(_rows_forward, _rows_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _spread(vector, shape):
    """Returns a vector for every token. [D] -> [..., D]; its gradient as of `_rows`."""
    return jnp.broadcast_to(vector, shape)


def _spread_forward(vector, shape):
    return jnp.broadcast_to(vector, shape), None


def _spread_backward(shape, _, cotangent):
    total = cotangent.astype(jnp.float32).sum(range(len(shape) - 1))
    return (total.astype(cotangent.dtype),)


_spread.defvjp(_spread_forward, _spread_backward)


def init_decoder(config, key):
    """Returns a `Decoder` drawn at random.

    Args:
        config: its `DecoderConfig`.
        key: a key of `jax.random`.
    """
    return Decoder(config, nnx.Rngs(key))
