"""Ratios of two policies at the sampled tokens."""

import jax.numpy as jnp

MAX_LOG_RATIO = 20.0  # beyond it a ratio has no meaning, and its token no gradient


def clamped(log_ratio):
    """Returns log-ratios within [-MAX_LOG_RATIO, MAX_LOG_RATIO], [...]."""
    return jnp.clip(log_ratio, -MAX_LOG_RATIO, MAX_LOG_RATIO)


def token_log_ratios(logprob, sampled, mask):
    """Returns the clamped log-ratio of trainer and sampler, zero on padding. [N, T]."""
    return clamped(jnp.where(mask, logprob - sampled, 0))


def effective_share(ratio, mask):
    """Returns the effective sample size of ratios as a share of the tokens, []."""
    ratio = jnp.where(mask, ratio, 0)
    squares = jnp.sum(mask) * jnp.sum(jnp.square(ratio))
    return jnp.square(jnp.sum(ratio)) / jnp.where(squares > 0, squares, 1)


def token_mean_of(value, mask):
    """Returns the mean of [N, T] numbers over the tokens of a mask, []."""
    return jnp.sum(jnp.where(mask, value, 0)) / jnp.maximum(jnp.sum(mask), 1)
