"""How the next token is drawn from its scores."""

import math

import chex
import jax
import jax.numpy as jnp


def inverse_cdf(weight, uniform):
    """Returns the index at which the running sum of weights passes a quantile.

    Args:
        weight: [B, M], non-negative, some of each row positive.
        uniform: [B] in [0, 1).

    Returns:
        [B] int32, distributed as `weight` if `uniform` is uniform.
    """
    # A parallel cumsum may fall, or rise where there is no weight, by rounding: only
    # tokens with weight count, and the largest of their sums is the whole.
    total = jnp.where(weight > 0, jnp.cumsum(weight, axis=-1), 0)
    whole = jnp.max(total, axis=-1)
    quantile = (uniform * whole)[:, None]
    return jnp.argmax((total > quantile) & (weight > 0), axis=-1).astype(jnp.int32)


def categorical(weight, keys):
    """Draws one token per row, each from a key of its own.

    A block of the vocabulary is drawn first, then a token within it: two uniform
    numbers per row instead of one per token, and enough bits for rare tokens.

    Args:
        weight: [B, V], non-negative, some of each row positive.
        keys: [B] keys.

    Returns:
        [B] int32.
    """
    rows, vocabulary = weight.shape
    size = math.isqrt(vocabulary - 1) + 1
    blocks = -(-vocabulary // size)
    padded = jnp.pad(weight, ((0, 0), (0, blocks * size - vocabulary)))
    padded = padded.reshape(rows, blocks, size)
    uniform = jax.vmap(lambda key: jax.random.uniform(key, (2,)))(keys)
    block = inverse_cdf(jnp.sum(padded, axis=-1), uniform[:, 0])
    within = jnp.take_along_axis(padded, block[:, None, None], axis=1)[:, 0]
    return block * size + inverse_cdf(within, uniform[:, 1])


def nucleus(logits, top_p):
    """Masks all but the likeliest tokens whose mass reaches `top_p`. [B, V].

    Kept is a token if those that are likelier have less mass together; so are tokens
    that are as likely as one that is kept. The least probability of those is found by
    bisection, not by a sort: at most 31 sums, for as many bits order the numbers.
    """
    probability = jax.nn.softmax(logits, axis=-1)
    bits = jax.lax.bitcast_convert_type(probability, jnp.int32)  # in the same order

    def narrow(bounds):
        dropped, kept = bounds
        middle = dropped + (kept - dropped) // 2
        likelier = jnp.where(bits > middle, probability, 0)
        reached = jnp.sum(likelier, axis=-1, keepdims=True) >= top_p
        return jnp.where(reached, middle, dropped), jnp.where(reached, kept, middle)

    bounds = (
        jnp.min(bits, axis=-1, keepdims=True) - 1,
        jnp.max(bits, axis=-1, keepdims=True),
    )
    more = lambda bounds: jnp.any(bounds[1] - bounds[0] > 1)
    _, least = jax.lax.while_loop(more, narrow, bounds)
    return jnp.where(bits >= least, logits, -jnp.inf)


def sample_token(logits, keys, temperature=1.0, top_p=1.0):
    """Draws the next token of each row.

    Args:
        logits: [B, V] float32.
        keys: [B] keys; row b's draw depends on `keys[b]` and `logits[b]` alone.
        temperature: divides the logits; 0 takes the likeliest token.
        top_p: the mass of the likeliest tokens drawn from; 1 for all.

    Returns:
        Tokens, [B] int32, and their log-probability, [B] float32, under the
        distribution drawn from (the untempered one if the temperature is 0).
    """
    chex.assert_rank(logits, 2)
    if temperature == 0:
        token = jnp.argmax(logits, axis=-1).astype(jnp.int32)
    else:
        logits = logits / temperature
        if top_p < 1:
            logits = nucleus(logits, top_p)
        weight = jnp.exp(logits - jnp.max(logits, axis=-1, keepdims=True))
        token = categorical(weight, keys)
    chosen = jnp.take_along_axis(logits, token[:, None], axis=-1)[:, 0]
    return token, chosen - jax.nn.logsumexp(logits, axis=-1)
