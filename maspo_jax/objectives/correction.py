"""Corrections for a sampler whose probabilities are not those of the trainer.

A correction maps the log-probability of each token by the trainer (before the first
update) and by the sampler, and the mask, [N, T] each, to a factor of the token's
weight, [N, T]: a truncated importance weight, zero on padding. With `normalized`
the factors are divided by their mean over the rollout batch. A rejection maps them
to the tokens that stay in the batch, [N, T] bool. Both are constants to the
gradient, and neither may be combined with ratios that are anchored to the sampler:
those correct for it already.

A correction that has more to log than its factors is `Detailed`; nothing has to be
declared for that, the method is enough.
"""

from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from flax import struct

from maspo_jax.objectives.gates.settings import setting
from maspo_jax.objectives.ratios import (
    clamped,
    effective_share,
    token_log_ratios,
    token_mean_of,
)


@runtime_checkable
class Detailed(Protocol):
    """A correction with more to log than its factors."""

    def details(self, logprob, sampled, mask) -> dict[str, jax.Array]:
        """Returns {name: [N, T]}, of which the means over tokens are logged."""


def describe(rule, factor, logprob, sampled, mask):
    """Returns the metrics of a correction, scalars by name.

    Args:
        rule: the correction.
        factor: [N, T], what it returned.
        logprob, sampled, mask: [N, T] each, what it was given.
    """
    found = rule.details(logprob, sampled, mask) if isinstance(rule, Detailed) else {}
    return {
        "rollout_corr/rollout_is_mean": token_mean_of(factor, mask),
        "rollout_corr/rollout_is_eff_sample_size": effective_share(factor, mask),
        **{
            f"rollout_corr/rollout_is_{name}": token_mean_of(value, mask)
            for name, value in found.items()
        },
    }


class _Truncating:
    """A correction that says which tokens it weighs by less than their ratio."""

    def details(self, logprob, sampled, mask):
        """Returns those tokens, {"truncated": [N, T] bool}."""
        return {"truncated": self.truncated(logprob, sampled, mask)}


@struct.dataclass
class TokenTruncated(_Truncating):
    """min(ratio, cap) of each token: truncated importance sampling (TIS)."""

    cap: float = setting(2.0, "(0, inf]")
    normalized: bool = struct.field(pytree_node=False, default=False)

    def __call__(self, logprob, sampled, mask):
        """Returns the factor of each token's weight, [N, T]."""
        ratio = jnp.exp(token_log_ratios(logprob, sampled, mask))
        factor = jnp.where(mask, jnp.minimum(ratio, self.cap), 0)
        return factor / _mean(factor, mask) if self.normalized else factor

    def truncated(self, logprob, sampled, mask):
        """Returns the tokens whose ratio is above the cap, [N, T] bool."""
        ratio = jnp.exp(token_log_ratios(logprob, sampled, mask))
        return mask & (ratio > self.cap)


@struct.dataclass
class SequenceTruncated(_Truncating):
    """min(ratio, cap) of each whole response, for all of its tokens.

    `normalized` divides by the mean over responses, however long they are.
    """

    cap: float = setting(2.0, "(0, inf]")
    normalized: bool = struct.field(pytree_node=False, default=False)

    def __call__(self, logprob, sampled, mask):
        """Returns the factor of each token's weight, [N, T]."""
        ratio = _response_ratios(logprob, sampled, mask)
        factor = jnp.where(mask, jnp.minimum(ratio, self.cap), 0)
        if not self.normalized:
            return factor
        some = jnp.any(mask, axis=-1, keepdims=True)
        return factor / _mean(jnp.max(factor, axis=-1, keepdims=True), some)

    def truncated(self, logprob, sampled, mask):
        """Returns the tokens of responses whose ratio is above the cap, [N, T] bool."""
        return mask & (_response_ratios(logprob, sampled, mask) > self.cap)


@struct.dataclass
class IcePop(_Truncating):
    """The ratio of each token within [low, high], zero for tokens outside of it."""

    low: float = setting(0.5, "[0, 1]")
    high: float = setting(5.0, "[1, inf]")

    def __call__(self, logprob, sampled, mask):
        """Returns the factor of each token's weight, [N, T]."""
        ratio = jnp.exp(token_log_ratios(logprob, sampled, mask))
        return jnp.where(mask & ~self._outside(ratio), ratio, 0)

    def truncated(self, logprob, sampled, mask):
        """Returns the tokens whose ratio is outside of the band, [N, T] bool."""
        ratio = jnp.exp(token_log_ratios(logprob, sampled, mask))
        return mask & self._outside(ratio)

    def _outside(self, ratio):
        return (ratio < self.low) | (ratio > self.high)


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
        ratio = jnp.exp(token_log_ratios(logprob, sampled, mask))
        return mask & (ratio >= self.low) & (ratio <= self.high)


@struct.dataclass
class RejectResponses:
    """Rejects responses whose geometric mean ratio lies outside of [low, high]."""

    low: float = setting(0.99, "[0, 1]")
    high: float = setting(1.01, "[1, inf]")

    def __call__(self, logprob, sampled, mask):
        """Returns the tokens that stay, [N, T] bool."""
        total = jnp.sum(
            token_log_ratios(logprob, sampled, mask), axis=-1, keepdims=True
        )
        length = jnp.maximum(jnp.sum(mask, axis=-1, keepdims=True), 1)
        ratio = jnp.exp(total / length)
        return mask & (ratio >= self.low) & (ratio <= self.high)


@struct.dataclass
class RejectTokensByK2:
    """Rejects tokens whose (log ratio)^2 / 2 is above a limit."""

    limit: float = setting(0.01, "[0, inf]")

    def __call__(self, logprob, sampled, mask):
        """Returns the tokens that stay, [N, T] bool."""
        log_ratio = token_log_ratios(logprob, sampled, mask)
        return mask & (0.5 * jnp.square(log_ratio) <= self.limit)


@struct.dataclass
class RejectTokensByK3:
    """Rejects tokens whose ratio - 1 - log ratio is above a limit."""

    limit: float = setting(0.01, "[0, inf]")

    def __call__(self, logprob, sampled, mask):
        """Returns the tokens that stay, [N, T] bool."""
        log_ratio = token_log_ratios(logprob, sampled, mask)
        return mask & (jnp.expm1(log_ratio) - log_ratio <= self.limit)


@struct.dataclass
class RejectResponsesByK3:
    """Rejects responses whose sum of ratio - 1 - log ratio is above a limit."""

    limit: float = setting(0.2, "[0, inf]")

    def __call__(self, logprob, sampled, mask):
        """Returns the tokens that stay, [N, T] bool."""
        log_ratio = token_log_ratios(logprob, sampled, mask)
        k3 = jnp.sum(jnp.expm1(log_ratio) - log_ratio, axis=-1, keepdims=True)
        return mask & (k3 <= self.limit)


def _response_ratios(logprob, sampled, mask):
    """Returns the ratio of each whole response, [N, 1]."""
    total = jnp.sum(token_log_ratios(logprob, sampled, mask), axis=-1, keepdims=True)
    return jnp.exp(clamped(total))


def _mean(factor, counts):
    """Returns the mean of factors where they count, one if there is nothing, []."""
    mean = token_mean_of(factor, counts)
    return jnp.where(mean > 0, mean, 1)
