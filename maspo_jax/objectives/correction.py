"""Corrections for a sampler whose probabilities are not those of the trainer.

A correction maps the log-probability of each token by the trainer (before the first
update) and by the sampler, and the mask, [N, T] each, to a factor of the token's
weight, [N, T]: a truncated importance weight, zero on padding. A rejection maps
them to the tokens that stay in the batch, [N, T] bool. Both are constants to the
gradient, and neither may be combined with ratios that are anchored to the sampler:
those correct for it already.
"""

import jax.numpy as jnp
from flax import struct

from maspo_jax.objectives.gates.settings import setting

MAX_LOG_RATIO = 20.0


@struct.dataclass
class TokenTruncated:
    """min(ratio, cap) of each token: truncated importance sampling (TIS)."""

    cap: float = setting(2.0, "(0, inf]")

    def __call__(self, logprob, sampled, mask):
        """Returns the factor of each token's weight, [N, T]."""
        ratio = jnp.exp(log_ratios(logprob, sampled, mask))
        return jnp.where(mask, jnp.minimum(ratio, self.cap), 0)


@struct.dataclass
class SequenceTruncated:
    """min(ratio, cap) of each whole response, for all of its tokens."""

    cap: float = setting(2.0, "(0, inf]")

    def __call__(self, logprob, sampled, mask):
        """Returns the factor of each token's weight, [N, T]."""
        total = jnp.sum(log_ratios(logprob, sampled, mask), axis=-1, keepdims=True)
        ratio = jnp.exp(jnp.clip(total, -MAX_LOG_RATIO, MAX_LOG_RATIO))
        return jnp.where(mask, jnp.minimum(ratio, self.cap), 0)


@struct.dataclass
class IcePop:
    """The ratio of each token within [low, high], zero for tokens outside of it."""

    low: float = setting(0.5, "[0, 1]")
    high: float = setting(5.0, "[1, inf]")

    def __call__(self, logprob, sampled, mask):
        """Returns the factor of each token's weight, [N, T]."""
        ratio = jnp.exp(log_ratios(logprob, sampled, mask))
        inside = mask & (ratio >= self.low) & (ratio <= self.high)
        return jnp.where(inside, ratio, 0)


@struct.dataclass
class RejectTokens:
    """Rejects tokens whose ratio lies outside of [low, high].

    The ratio itself; some released code tests its inverse, which is the same for
    bands symmetric in the logarithm.
    """

    low: float = setting(0.5, "[0, 1]")
    high: float = setting(2.0, "[1, inf]")

    def __call__(self, logprob, sampled, mask):
        """Returns the tokens that stay, [N, T] bool."""
        ratio = jnp.exp(log_ratios(logprob, sampled, mask))
        return mask & (ratio >= self.low) & (ratio <= self.high)


@struct.dataclass
class RejectResponses:
    """Rejects responses whose geometric mean ratio lies outside of [low, high]."""

    low: float = setting(0.99, "[0, 1]")
    high: float = setting(1.01, "[1, inf]")

    def __call__(self, logprob, sampled, mask):
        """Returns the tokens that stay, [N, T] bool."""
        total = jnp.sum(log_ratios(logprob, sampled, mask), axis=-1, keepdims=True)
        length = jnp.maximum(jnp.sum(mask, axis=-1, keepdims=True), 1)
        ratio = jnp.exp(total / length)
        return mask & (ratio >= self.low) & (ratio <= self.high)


@struct.dataclass
class RejectTokensByK3:
    """Rejects tokens whose ratio - 1 - log ratio is above a limit."""

    limit: float = setting(0.01, "[0, inf]")

    def __call__(self, logprob, sampled, mask):
        """Returns the tokens that stay, [N, T] bool."""
        log_ratio = log_ratios(logprob, sampled, mask)
        return mask & (jnp.expm1(log_ratio) - log_ratio <= self.limit)


@struct.dataclass
class RejectResponsesByK3:
    """Rejects responses whose sum of ratio - 1 - log ratio is above a limit."""

    limit: float = setting(0.2, "[0, inf]")

    def __call__(self, logprob, sampled, mask):
        """Returns the tokens that stay, [N, T] bool."""
        log_ratio = log_ratios(logprob, sampled, mask)
        k3 = jnp.sum(jnp.expm1(log_ratio) - log_ratio, axis=-1, keepdims=True)
        return mask & (k3 <= self.limit)


def batch_normalized(factor, mask):
    """Divides factors by their mean over the tokens of the batch. [N, T]."""
    mean = jnp.sum(jnp.where(mask, factor, 0)) / jnp.maximum(jnp.sum(mask), 1)
    return factor / jnp.where(mean > 0, mean, 1)


def response_normalized(factor, mask):
    """Divides factors by their mean over responses, each of one factor. [N, T]."""
    each = jnp.max(jnp.where(mask, factor, 0), axis=-1)
    mean = jnp.sum(each) / jnp.maximum(jnp.sum(jnp.any(mask, axis=-1)), 1)
    return factor / jnp.where(mean > 0, mean, 1)


def effective_share(factor, mask):
    """Returns the effective sample size of factors as a share of the tokens, []."""
    factor = jnp.where(mask, factor, 0)
    squares = jnp.sum(mask) * jnp.sum(jnp.square(factor))
    return jnp.square(jnp.sum(factor)) / jnp.where(squares > 0, squares, 1)


def log_ratios(logprob, sampled, mask):
    """Returns the clamped log-ratio of trainer and sampler, zero on padding. [N, T]."""
    difference = jnp.where(mask, logprob - sampled, 0)
    return jnp.clip(difference, -MAX_LOG_RATIO, MAX_LOG_RATIO)
