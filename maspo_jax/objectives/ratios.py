"""Ratios of two policies at the sampled tokens, and how far they are from one."""

import jax.numpy as jnp

MAX_LOG_RATIO = 20.0  # beyond it a ratio has no meaning, and its token no gradient


def clamped(log_ratio):
    """Returns log-ratios within [-MAX_LOG_RATIO, MAX_LOG_RATIO], [...]."""
    return jnp.clip(log_ratio, -MAX_LOG_RATIO, MAX_LOG_RATIO)


def token_log_ratios(logprob, sampled, mask):
    """Returns the clamped log-ratio of trainer and sampler, zero on padding. [N, T]."""
    return clamped(jnp.where(mask, logprob - sampled, 0))


def token_mean_of(value, mask):
    """Returns the mean of [N, T] numbers over the tokens of a mask, []."""
    return jnp.sum(jnp.where(mask, value, 0)) / jnp.maximum(jnp.sum(mask), 1)


def effective_share(ratio, mask):
    """Returns the effective sample size of ratios as a share of the tokens, []."""
    ratio = jnp.where(mask, ratio, 0)
    squares = jnp.sum(mask) * jnp.sum(jnp.square(ratio))
    return jnp.square(jnp.sum(ratio)) / jnp.where(squares > 0, squares, 1)


def mismatch(logprob, sampled, mask):
    """Returns how far the trainer is from the sampler on the sampler's own tokens.

    With ratio = trainer / sampler of each token, of which the sampler drew.

    Args:
        logprob: [N, T] of the trainer, under the policy that sampled.
        sampled: [N, T] of the sampler.
        mask: [N, T] bool.

    Returns:
        A dict: mismatch_max, the largest difference of log-probabilities in nats;
        mismatch_k1, mismatch_k3 and mismatch_chi2, the means of -log ratio, of
        ratio - 1 - log ratio and of ratio^2 - 1; mismatch_perplexity_ratio, the mean
        over responses of the trainer's perplexity over the sampler's;
        mismatch_effective_share, the effective sample size of the ratios over the
        number of tokens.
    """
    log_ratio = token_log_ratios(logprob, sampled, mask)
    mean = lambda value: token_mean_of(value, mask)
    length = jnp.sum(mask, axis=-1)
    of_response = -jnp.sum(log_ratio, axis=-1) / jnp.maximum(length, 1)
    return {
        "mismatch_max": jnp.max(jnp.abs(jnp.where(mask, logprob - sampled, 0))),
        "mismatch_k1": mean(-log_ratio),
        "mismatch_k3": mean(jnp.expm1(log_ratio) - log_ratio),
        "mismatch_chi2": mean(jnp.expm1(2 * log_ratio)),
        "mismatch_perplexity_ratio": token_mean_of(jnp.exp(of_response), length > 0),
        "mismatch_effective_share": effective_share(jnp.exp(log_ratio), mask),
    }
