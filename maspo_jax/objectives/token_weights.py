"""Token weights: the whole normalization of the loss, as data.

Each function maps the mask of the response tokens of one optimization batch,
[N, T] bool, to the weight of each token, [N, T] float32. The loss is a plain sum
over tokens, so a batch may be split in any way once its weights are known. A batch
without any token has weights of zero.
"""

import jax.numpy as jnp


def token_mean(mask):
    """Every token counts the same; sums to one (DAPO, arXiv 2503.14476)."""
    return mask / jnp.maximum(jnp.sum(mask), 1)


def sequence_mean(mask):
    """Every response counts the same; sums to one (GRPO, arXiv 2402.03300)."""
    length = jnp.sum(mask, axis=-1, keepdims=True)
    share = mask / jnp.maximum(length, 1)
    return share / jnp.maximum(jnp.sum(length > 0), 1)


def sequence_sum(mask):
    """Every token of the mean response counts once; sums to the mean length."""
    responses = jnp.sum(jnp.any(mask, axis=-1))
    return mask / jnp.maximum(responses, 1)
