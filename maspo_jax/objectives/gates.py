"""Gates: how much of each token's policy gradient a method lets through.

Every method ascends

    sum_t  weight_t * gate_t * ratio_t * advantage_t * grad log pi_t

with ratio = pi / q, q the policy the ratio is anchored to. A gate is a function

    gate(log_ratio, advantage, old_logprob) -> [...]

of arrays of one shape, [...]: the clamped log-ratio, the advantage and log q of
each token. It is a constant to the gradient. A gate of one is the plain
importance-weighted policy gradient. Settings are pytree leaves: changing one does
not recompile, and `jax.vmap` over a gate is a sweep.
"""

from typing import Protocol

import jax
import jax.numpy as jnp
from flax import struct


class Gate(Protocol):
    """What the surrogate asks of a method."""

    def __call__(self, log_ratio, advantage, old_logprob) -> jax.Array:
        """Returns the gate, [...], for arrays of one shape, [...]."""


@struct.dataclass
class Clip:
    """Hard clipping: PPO and GRPO; Clip-Higher with `high` above `low`.

    Zero where the ratio has left [1 - low, 1 + high] in the direction of the
    advantage, and, for negative advantages, above `dual` (dual clip; infinity for
    none); one elsewhere, the bounds included. PPO, arXiv 1707.06347, equation 7;
    dual clip, arXiv 1912.09729, equation 5; Clip-Higher, arXiv 2503.14476.
    """

    low: float = 0.2
    high: float = 0.2
    dual: float = 3.0

    def __call__(self, log_ratio, advantage, old_logprob):
        """Returns the gate, [...], for arrays of one shape, [...]."""
        del old_logprob
        ratio = jnp.exp(log_ratio)
        above = (advantage > 0) & (ratio > 1 + self.high)
        below = (advantage < 0) & (ratio < 1 - self.low)
        beyond = (advantage < 0) & (ratio > self.dual)
        return jnp.where(above | below | beyond, 0.0, 1.0).astype(log_ratio.dtype)


@struct.dataclass
class Maspo:
    """A Gaussian in the ratio, wide for rare tokens and for strong signals.

    exp(-(ratio - 1)^2 / (2 sigma^2)) where the ratio has moved in the direction
    of the advantage, one elsewhere. The width is the mass term
    sigma_base * q^-alpha, within [sigma_base, sigma_high], times the risk term,
    within [risk_low, risk_high]: 1 + beta_positive A for A > 0 and
    1 / (1 - beta_negative A) for A < 0. The limits are those of the released code;
    the formula of the paper has none. MASPO, arXiv 2602.17550.
    """

    alpha: float = 0.3
    sigma_base: float = 1.0
    sigma_high: float = 10.0
    beta_positive: float = 0.03
    beta_negative: float = 0.03
    risk_low: float = 0.1
    risk_high: float = 10.0

    def __call__(self, log_ratio, advantage, old_logprob):
        """Returns the gate, [...], for arrays of one shape, [...]."""
        distance = jnp.expm1(log_ratio)
        inward = distance * advantage <= 0
        sigma = self.sigma(advantage, old_logprob)
        gate = jnp.exp(-0.5 * jnp.square(jnp.where(inward, 0, distance) / sigma))
        return gate.astype(log_ratio.dtype)

    def sigma(self, advantage, old_logprob):
        """Returns the width of the Gaussian, [...]."""
        mass = self.sigma_base * jnp.exp(-self.alpha * old_logprob)
        mass = jnp.clip(mass, self.sigma_base, self.sigma_high)
        gain = 1 + self.beta_positive * jnp.maximum(advantage, 0)
        loss = 1 / (1 - self.beta_negative * jnp.minimum(advantage, 0))
        return mass * jnp.clip(gain * loss, self.risk_low, self.risk_high)


@struct.dataclass
class Dgpo:
    """Polynomial decay left of the trust region, radical decay right of it.

    With d the log-ratio, L = 1 - low and U = 1 + high: exp(n (d - log L)) below L
    for negative advantages, exp((log U - d) / m) above U for positive ones, one
    elsewhere. Continuous at both bounds. DGPO, arXiv 2603.14389.
    """

    n: float = 1.0
    m: float = 2.0
    low: float = 0.2
    high: float = 0.2

    def __call__(self, log_ratio, advantage, old_logprob):
        """Returns the gate, [...], for arrays of one shape, [...]."""
        del old_logprob
        below = jnp.minimum(log_ratio - jnp.log1p(-self.low), 0)
        above = jnp.maximum(log_ratio - jnp.log1p(self.high), 0)
        decay = jnp.where(advantage < 0, self.n * below, -above / self.m)
        return jnp.exp(decay).astype(log_ratio.dtype)
