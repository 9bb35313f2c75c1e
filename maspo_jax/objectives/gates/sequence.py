"""Gates of whole responses: the last axis is one response, padding is all zeros."""

import jax.numpy as jnp
from flax import struct

from maspo_jax.objectives.gates.settings import setting

MAX_LOG_SEQUENCE_RATIO = 10.0  # of the released code; beyond it, no gradient


@struct.dataclass
class Gspo:
    """Clipping of the ratio of responses, per token: g is that ratio or zero.

    The ratio of a response is the geometric mean of those of its tokens, clipped
    as in PPO, all tokens together; without dual clip. The sign of the advantage is
    each token's own. GSPO, arXiv 2507.18071; meant for
    `token_weights.sequence_mean`.
    """

    low: float = setting(3e-4, "[0, 1)")
    high: float = setting(4e-4, "[0, inf]")

    def __call__(self, log_ratio, advantage, old_logprob):
        """Returns the gate, [..., T], for arrays of shape [..., T]."""
        counts = counted(log_ratio, advantage, old_logprob)
        mean = mean_of(log_ratio, counts)
        above = (advantage > 0) & (mean > jnp.log1p(self.high))
        below = (advantage < 0) & (mean < jnp.log1p(-self.low))
        closed = above | below | (mean > MAX_LOG_SEQUENCE_RATIO)
        gate = jnp.where(closed, 0, jnp.exp(mean - log_ratio))
        return gate.astype(log_ratio.dtype)


@struct.dataclass
class Gmpo:
    """The geometric mean of clipped ratios: g is that mean, or zero where clipped.

    A token's log-ratio is clipped to [-low, high], above for positive advantages
    and below for negative ones, before the mean over its response. With
    `token_weights.sequence_mean` the loss is that of the paper for advantages that
    are the same for all tokens of a response; responses without a token do not
    count, while in the released code they do. GMPO, arXiv 2507.20673.
    """

    low: float = setting(0.4, "[0, inf]")
    high: float = setting(0.4, "[0, inf]")

    def __call__(self, log_ratio, advantage, old_logprob):
        """Returns the gate, [..., T], for arrays of shape [..., T]."""
        counts = counted(log_ratio, advantage, old_logprob)
        above = (advantage > 0) & (log_ratio > self.high)
        below = (advantage < 0) & (log_ratio < -self.low)
        clipped = jnp.where(above, self.high, log_ratio)
        clipped = jnp.where(below, -self.low, clipped)
        gate = jnp.exp(mean_of(clipped, counts) - log_ratio)
        return jnp.where(above | below, 0, gate).astype(log_ratio.dtype)


def counted(log_ratio, advantage, old_logprob):
    """Returns which tokens are not padding. [..., T] bool.

    A token that was certain, has not moved and has no advantage is taken for
    padding too; it matters only beside tokens of the same response that do have
    one.
    """
    return (log_ratio != 0) | (advantage != 0) | (old_logprob != 0)


def mean_of(values, counts):
    """Returns the mean over each response, at all of its places. [..., T]."""
    length = jnp.maximum(jnp.sum(counts, axis=-1, keepdims=True), 1)
    mean = jnp.sum(jnp.where(counts, values, 0), axis=-1, keepdims=True) / length
    return jnp.broadcast_to(mean, values.shape)
