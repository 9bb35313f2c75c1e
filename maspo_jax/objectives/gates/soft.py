"""Soft clipping: gates that close smoothly as the policy moves away."""

import jax
import jax.numpy as jnp
from flax import struct

from maspo_jax.objectives.gates.settings import setting


@struct.dataclass
class Sapo:
    """A bell in the ratio, on both sides of one: Soft Adaptive Policy Optimization.

    sech^2(tau (ratio - 1) / 2), which makes the weight the derivative of
    (4 / tau) sigmoid(tau (ratio - 1)). tau is `tau_positive` for A > 0, else
    `tau_negative`. arXiv 2511.20347; meant for `token_weights.sequence_mean`.
    """

    tau_positive: float = setting(1.0, "[0, inf)")
    tau_negative: float = setting(1.05, "[0, inf)")

    def __call__(self, log_ratio, advantage, old_logprob):
        """Returns the gate, [...], for arrays of one shape, [...]."""
        del old_logprob
        tau = jnp.where(advantage > 0, self.tau_positive, self.tau_negative)
        z = tau * jnp.expm1(log_ratio)
        # p (1 - p) would lose every digit where p rounds to one; cosh overflows.
        gate = 4 * jax.nn.sigmoid(z) * jax.nn.sigmoid(-z)
        return gate.astype(log_ratio.dtype)


@struct.dataclass
class UnilateralSapo:
    """`Sapo` where the ratio has moved with the advantage, one elsewhere.

    The ablation of the MASPO paper that keeps SAPO from collapsing; arXiv
    2602.17550 (known here from a third-party description).
    """

    sapo: Sapo = Sapo()

    def __call__(self, log_ratio, advantage, old_logprob):
        """Returns the gate, [...], for arrays of one shape, [...]."""
        gate = self.sapo(log_ratio, advantage, old_logprob)
        return jnp.where(moved_with(log_ratio, advantage), gate, 1).astype(gate.dtype)


@struct.dataclass
class Maspo:
    """A Gaussian in the ratio, wide for rare tokens and for strong signals.

    exp(-(ratio - 1)^2 / (2 sigma^2)) where the ratio has moved in the direction
    of the advantage, one elsewhere. The width is the mass term
    sigma_base * q^-alpha, within [sigma_base, sigma_high], times the risk term,
    within [risk_low, risk_high]: 1 + beta_positive A for A > 0 and
    1 / (1 - beta_negative A) for A < 0. The limits are those of the released code;
    the formula of its README has none: sigma_high=inf, risk_low=0, risk_high=inf.
    The authors advise alpha 0.5 for 1.5B and 0.3 for 7B and more. `dual` closes the
    gate for negative advantages above that ratio; the released code has no such
    bound in this mode. MASPO, arXiv 2602.17550.
    """

    alpha: float = setting(0.3, "[0, inf)")
    sigma_base: float = setting(1.0, "(0, inf)", at_most="sigma_high")
    sigma_high: float = setting(10.0, "(0, inf]")
    beta_positive: float = setting(0.03, "[0, inf)")
    beta_negative: float = setting(0.03, "[0, inf)")
    risk_low: float = setting(0.1, "[0, inf)", at_most="risk_high")
    risk_high: float = setting(10.0, "(0, inf]")
    dual: float = setting(jnp.inf, "(1, inf]")

    def __call__(self, log_ratio, advantage, old_logprob):
        """Returns the gate, [...], for arrays of one shape, [...]."""
        gate = gaussian(log_ratio, self.sigma(advantage, old_logprob))
        gate = jnp.where(moved_with(log_ratio, advantage), gate, 1)
        beyond = beyond_dual(log_ratio, advantage, self.dual)
        return jnp.where(beyond, 0, gate).astype(log_ratio.dtype)

    def sigma(self, advantage, old_logprob):
        """Returns the width of the Gaussian, [...]."""
        mass = jnp.clip(self._mass(old_logprob), self.sigma_base, self.sigma_high)
        gain = 1 + self.beta_positive * jnp.maximum(advantage, 0)
        loss = 1 / (1 - self.beta_negative * jnp.minimum(advantage, 0))
        return mass * jnp.clip(gain * loss, self.risk_low, self.risk_high)

    def details(self, advantage, old_logprob):
        """Returns the width of each token, and whether `sigma_high` limits it."""
        return {
            "sigma": self.sigma(advantage, old_logprob),
            "sigma_capped": self._mass(old_logprob) >= self.sigma_high,
        }

    def _mass(self, old_logprob):
        # As a power of q it would divide by zero where q underflows.
        return self.sigma_base * jnp.exp(-self.alpha * old_logprob)


@struct.dataclass
class BilateralMaspo:
    """`Maspo` on both sides of one: the ablation of the MASPO paper.

    arXiv 2602.17550 (known here from a third-party description). The `dual` of
    `maspo` plays no part.
    """

    maspo: Maspo = Maspo()

    def __call__(self, log_ratio, advantage, old_logprob):
        """Returns the gate, [...], for arrays of one shape, [...]."""
        return gaussian(log_ratio, self.maspo.sigma(advantage, old_logprob))

    def details(self, advantage, old_logprob):
        """Returns what `Maspo.details` does."""
        return self.maspo.details(advantage, old_logprob)


@struct.dataclass
class Dgpo:
    """Polynomial decay left of the trust region, radical decay right of it.

    With d the log-ratio, L = 1 - low and U = 1 + high: exp(n (d - log L)) below L
    for negative advantages, exp((log U - d) / m) above U for positive ones, one
    elsewhere. Continuous at both bounds. The authors advise (n, m) = (1, 2), or
    (2, 2) for 1.5B, and smaller ones if training is unstable; any n >= 0 and m > 0
    is valid. `dual` closes the gate for negative advantages above that ratio; the
    released code has no such bound. DGPO, arXiv 2603.14389.
    """

    n: float = setting(1.0, "[0, inf)")
    m: float = setting(2.0, "(0, inf)")
    low: float = setting(0.2, "[0, 1)")
    high: float = setting(0.2, "[0, inf)")
    dual: float = setting(jnp.inf, "(1, inf]")

    def __call__(self, log_ratio, advantage, old_logprob):
        """Returns the gate, [...], for arrays of one shape, [...]."""
        del old_logprob
        # Each exponent is at most zero, so neither branch can overflow.
        below = jnp.minimum(log_ratio - jnp.log1p(-self.low), 0)
        above = jnp.maximum(log_ratio - jnp.log1p(self.high), 0)
        decay = jnp.where(advantage < 0, self.n * below, 0) - jnp.where(
            advantage > 0, above / self.m, 0
        )
        beyond = beyond_dual(log_ratio, advantage, self.dual)
        return jnp.where(beyond, 0, jnp.exp(decay)).astype(log_ratio.dtype)


def moved_with(log_ratio, advantage):
    """Returns whether the ratio has left one in the direction of the advantage."""
    rising = (advantage > 0) & (log_ratio > 0)
    falling = (advantage < 0) & (log_ratio < 0)
    return rising | falling


def beyond_dual(log_ratio, advantage, dual):
    """Returns whether a ratio is above the dual clip of negative advantages."""
    return (advantage < 0) & (log_ratio > jnp.log(dual))


def gaussian(log_ratio, sigma):
    """Returns exp(-(ratio - 1)^2 / (2 sigma^2)), in the precision of `log_ratio`."""
    gate = jnp.exp(-0.5 * jnp.square(jnp.expm1(log_ratio) / sigma))
    return gate.astype(log_ratio.dtype)
