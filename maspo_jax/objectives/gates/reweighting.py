"""Reweighting: the ratio in front of the gradient is replaced by another number.

In terms of the weight g = gate * ratio, these methods set g to a constant, to the
inverse ratio, or leave it alone.
"""

import jax.numpy as jnp
from flax import struct

from maspo_jax.objectives.gates.settings import setting


@struct.dataclass
class ImportanceSampling:
    """The plain importance-weighted policy gradient: g is the ratio."""

    def __call__(self, log_ratio, advantage, old_logprob):
        """Returns the gate, [...], for arrays of one shape, [...]."""
        del advantage, old_logprob
        return jnp.ones_like(log_ratio)


@struct.dataclass
class Reinforce:
    """The policy gradient without importance weights: g is one."""

    def __call__(self, log_ratio, advantage, old_logprob):
        """Returns the gate, [...], for arrays of one shape, [...]."""
        del advantage, old_logprob
        return jnp.exp(-log_ratio)


@struct.dataclass
class Cispo:
    """Clipped importance weights: g is the ratio clipped to [1 - low, 1 + high].

    For both signs of the advantage, so no token loses its gradient. MiniMax-M1,
    arXiv 2506.13585: the paper has no lower bound (low=1) and does not give its
    upper one; the default is what verl uses and the DGPO paper draws.
    """

    low: float = setting(0.2, "[0, 1]")
    high: float = setting(0.2, "[0, inf]")

    def __call__(self, log_ratio, advantage, old_logprob):
        """Returns the gate, [...], for arrays of one shape, [...]."""
        del advantage, old_logprob
        clipped = jnp.clip(log_ratio, jnp.log1p(-self.low), jnp.log1p(self.high))
        return jnp.exp(clipped - log_ratio).astype(log_ratio.dtype)


@struct.dataclass
class Gppo:
    """Gradient-Preserving clipping: beyond a bound, g is that bound.

    Left of 1 - low for negative advantages and right of 1 + high for positive ones;
    the ratio elsewhere. The hard dual clip is that of the released script; the
    paper has none (dual=inf). Klear-Reasoner, arXiv 2508.07629.
    """

    low: float = setting(0.2, "[0, 1)")
    high: float = setting(0.28, "[0, inf]")
    dual: float = setting(10.0, "(1, inf]")

    def __call__(self, log_ratio, advantage, old_logprob):
        """Returns the gate, [...], for arrays of one shape, [...]."""
        return CeGppo(1.0, 1.0, self.low, self.high, self.dual)(
            log_ratio, advantage, old_logprob
        )


@struct.dataclass
class CeGppo:
    """Coordinated gradients beyond the bounds: g is a share of the bound there.

    `left` (beta 1) times 1 - low below it for negative advantages, `right` (beta 2)
    times 1 + high above it for positive ones, the ratio elsewhere. The paper takes
    left=0.5 for 1.5B, 0.75 for 7B; the released code defaults to 0.25 and adds the
    dual clip. CE-GPPO, arXiv 2509.20712.
    """

    left: float = setting(0.75, "[0, inf)")
    right: float = setting(1.0, "[0, inf)")
    low: float = setting(0.2, "[0, 1)")
    high: float = setting(0.2, "[0, inf]")
    dual: float = setting(10.0, "(1, inf]")

    def __call__(self, log_ratio, advantage, old_logprob):
        """Returns the gate, [...], for arrays of one shape, [...]."""
        del old_logprob
        lower, upper = jnp.log1p(-self.low), jnp.log1p(self.high)
        below = (advantage < 0) & (log_ratio < lower)
        above = (advantage > 0) & (log_ratio > upper)
        beyond = (advantage < 0) & (log_ratio > jnp.log(self.dual))
        gate = jnp.where(below, self.left * jnp.exp(lower - log_ratio), 1)
        gate = jnp.where(above, self.right * jnp.exp(upper - log_ratio), gate)
        return jnp.where(beyond, 0, gate).astype(log_ratio.dtype)


@struct.dataclass
class Aspo:
    """Positive advantages weighted by the inverse ratio, and hard clipping.

    Clipped as PPO. Inside, g is the ratio for negative advantages and one over the
    ratio for the others, at most `cap` for both (the constant keeps its gradient).
    The released script gives high-entropy tokens low=high=0.4: settings may be
    arrays, [...]. ASPO, arXiv 2510.06062.
    """

    low: float = setting(0.2, "[0, 1)")
    high: float = setting(0.2, "[0, inf]")
    cap: float = setting(3.0, "(1, inf]")

    def __call__(self, log_ratio, advantage, old_logprob):
        """Returns the gate, [...], for arrays of one shape, [...]."""
        del old_logprob
        negative = advantage < 0
        log_weight = jnp.where(negative, log_ratio, -log_ratio)
        gate = jnp.exp(jnp.minimum(log_weight, jnp.log(self.cap)) - log_ratio)
        below = negative & (log_ratio < jnp.log1p(-self.low))
        above = ~negative & (log_ratio > jnp.log1p(self.high))
        return jnp.where(below | above, 0, gate).astype(log_ratio.dtype)
