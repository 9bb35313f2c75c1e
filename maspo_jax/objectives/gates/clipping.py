"""Hard clipping: gates of zero or one, with fixed, per-token or fitted bounds."""

import jax
import jax.numpy as jnp
from flax import struct

from maspo_jax.objectives.gates.settings import setting


@struct.dataclass
class Clip:
    """Hard clipping: PPO and GRPO; Clip-Higher with `high` above `low`.

    Zero where the ratio has left [1 - low, 1 + high] in the direction of the
    advantage, and, for negative advantages, above `dual` (dual clip; infinity for
    none); one elsewhere, the bounds included. PPO, arXiv 1707.06347; dual clip,
    arXiv 1912.09729; GRPO, arXiv 2402.03300; Clip-Higher (0.2 and 0.28, DAPO),
    arXiv 2503.14476.
    """

    low: float = setting(0.2, "[0, 1)")
    high: float = setting(0.2, "[0, inf]")
    dual: float = setting(3.0, "(1, inf]")

    def __call__(self, log_ratio, advantage, old_logprob):
        """Returns the gate, [...], for arrays of one shape, [...]."""
        del old_logprob
        ratio = jnp.exp(log_ratio)
        return between(ratio, advantage, 1 - self.low, 1 + self.high, self.dual)


@struct.dataclass
class Dac:
    """Dynamic Adaptive Clipping (DCPO): rare tokens get a wider trust region.

    Clipping with bounds that depend on q: 1/2 + sqrt(max(0, 1 - 4 low / q)) / 2 from
    below and min(1/2 + sqrt(1 + 4 high / q) / 2, largest) from above; for negative
    advantages also above `largest`. Defaults are the paper's; the released script
    sets low=0.2, high=0.28. arXiv 2509.02333.
    """

    low: float = setting(0.16, "[0, 1)")
    high: float = setting(0.2, "[0, inf)")
    largest: float = setting(10.0, "(1, inf]")

    def __call__(self, log_ratio, advantage, old_logprob):
        """Returns the gate, [...], for arrays of one shape, [...]."""
        lower, upper = self.bounds(old_logprob)
        return between(jnp.exp(log_ratio), advantage, lower, upper, self.largest)

    def bounds(self, old_logprob):
        """Returns the lower and upper bound of the ratio of each token, [...] each."""
        rarity = jnp.exp(-old_logprob)
        lower = 0.5 + 0.5 * jnp.sqrt(jnp.maximum(1 - 4 * self.low * rarity, 0))
        upper = 0.5 + 0.5 * jnp.sqrt(1 + 4 * self.high * rarity)
        return lower, jnp.minimum(upper, self.largest)

    def details(self, advantage, old_logprob):
        """Returns the bounds of each token, to be logged. See `gates.Detailed`."""
        del advantage
        lower, upper = self.bounds(old_logprob)
        return {"bound_lower": lower, "bound_upper": upper}


@struct.dataclass
class Fitted:
    """Clipping between two bounds of the ratio, as fitted to an optimization batch."""

    lower: jax.Array  # []
    upper: jax.Array  # []
    dual: float
    met: jax.Array  # [] bool, whether the target was; else both bounds are at a stop

    def __call__(self, log_ratio, advantage, old_logprob):
        """Returns the gate, [...], for arrays of one shape, [...]."""
        del old_logprob
        ratio = jnp.exp(log_ratio)
        return between(ratio, advantage, self.lower, self.upper, self.dual)

    def details(self, advantage, old_logprob):
        """Returns what was fitted, to be logged. See `gates.Detailed`."""
        del old_logprob
        lower, upper = (jnp.full_like(advantage, x) for x in (self.lower, self.upper))
        met = jnp.broadcast_to(self.met, advantage.shape)
        return {"bound_lower": lower, "bound_upper": upper, "target_met": met}


@struct.dataclass
class Bapo:
    """Clipping with bounds fitted to each optimization batch, as the code does.

    The bounds start at (low_start, high_start). While the contribution of positive
    advantages, sum max(0, A min(ratio, upper)), is below `target` times that of
    negative ones, sum max(0, -A max(ratio, lower)), first the lower bound rises to
    low_stop, then the upper one to high_stop. Bounds are ratios, not distances from
    one. Raising the lower bound can only add to the negative side, so it moves away
    from the target: that is how the released code works, whose configuration file
    gives the defaults here. BAPO, arXiv 2510.18927.
    """

    low_start: float = setting(0.6, "[0, 1]", at_most="low_stop")
    low_stop: float = setting(0.8, "[0, 1]")
    low_step: float = setting(0.05, "[1e-3, 1]")
    high_start: float = setting(1.2, "[1, inf)", at_most="high_stop")
    high_stop: float = setting(2.0, "[1, inf)")
    high_step: float = setting(0.05, "[1e-3, inf)")
    target: float = setting(1.0, "[0, inf)")
    dual: float = setting(3.0, "(1, inf]")

    def __call__(self, log_ratio, advantage, old_logprob):
        """Returns the gate, [...], of tokens that are a whole optimization batch."""
        tokens = (log_ratio, advantage, old_logprob)
        return self.fit(*tokens, total=lambda number: number)(*tokens)

    def fit(self, log_ratio, advantage, old_logprob, total):
        """Returns the `Fitted` of one optimization batch, of which these are a part.

        Args:
            log_ratio: [...].
            advantage: [...].
            old_logprob: [...].
            total: adds a scalar over all parts of the batch.
        """
        del old_logprob
        share = _shares(log_ratio, advantage, 1.0, total)

        def met(lower, upper):
            positive, negative = share(lower, upper)
            return (negative == 0) | (positive >= self.target * (negative + 1e-8))

        def widen(lower, upper):
            risen = jnp.minimum(lower + self.low_step, self.low_stop)
            higher = jnp.minimum(upper + self.high_step, self.high_stop)
            return risen, jnp.where(lower < self.low_stop, upper, higher)

        return _search(self, met, widen, log_ratio.dtype)


@struct.dataclass
class PaperBapo:
    """Clipping with bounds fitted to each optimization batch, as the paper says.

    As `Bapo`, but the share of positive advantages in both contributions, each
    token weighted by q, must reach `target`, and the upper bound rises before the
    lower one. Ranges and steps are the paper's; the ablation's target is 0.4. The
    paper mentions no dual clip. BAPO, arXiv 2510.18927.
    """

    low_start: float = setting(0.6, "[0, 1]", at_most="low_stop")
    low_stop: float = setting(0.9, "[0, 1]")
    low_step: float = setting(0.02, "[1e-3, 1]")
    high_start: float = setting(1.2, "[1, inf)", at_most="high_stop")
    high_stop: float = setting(3.0, "[1, inf)")
    high_step: float = setting(0.05, "[1e-3, inf)")
    target: float = setting(0.5, "[0, 1]")
    dual: float = setting(jnp.inf, "(1, inf]")

    def __call__(self, log_ratio, advantage, old_logprob):
        """Returns the gate, [...], of tokens that are a whole optimization batch."""
        tokens = (log_ratio, advantage, old_logprob)
        return self.fit(*tokens, total=lambda number: number)(*tokens)

    def fit(self, log_ratio, advantage, old_logprob, total):
        """Returns the `Fitted` of one optimization batch; see `Bapo.fit`."""
        share = _shares(log_ratio, advantage, jnp.exp(old_logprob), total)

        def met(lower, upper):
            positive, negative = share(lower, upper)
            return positive >= self.target * (positive + negative)

        def widen(lower, upper):
            risen = jnp.minimum(lower + self.low_step, self.low_stop)
            higher = jnp.minimum(upper + self.high_step, self.high_stop)
            return jnp.where(upper < self.high_stop, lower, risen), higher

        return _search(self, met, widen, log_ratio.dtype)


@struct.dataclass
class Dppo:
    """Clipping by the change of probability, not by the ratio (binary TV).

    Zero where pi has moved by more than `high` up (A > 0) or `low` down (A <= 0)
    from q; the ratio is truncated at `cap` elsewhere. arXiv 2602.04879.
    """

    low: float = setting(0.2, "[0, 1]")
    high: float = setting(0.2, "[0, 1]")
    cap: float = setting(20.0, "(1, inf]")

    def __call__(self, log_ratio, advantage, old_logprob):
        """Returns the gate, [...], for arrays of one shape, [...]."""
        moved = jnp.exp(old_logprob) * jnp.expm1(log_ratio)
        up = (advantage > 0) & (moved > self.high)
        down = (advantage <= 0) & (moved < -self.low)
        truncated = jnp.minimum(1, self.cap * jnp.exp(-log_ratio))
        return jnp.where(up | down, 0, truncated).astype(log_ratio.dtype)


def between(ratio, advantage, lower, upper, dual):
    """Returns one where the ratio is inside of what the advantage bounds, else zero.

    Strict comparisons: a ratio exactly on a bound is inside and keeps its gradient.
    """
    above = (advantage > 0) & (ratio > upper)
    below = (advantage < 0) & ((ratio < lower) | (ratio > dual))
    return jnp.where(above | below, 0.0, 1.0).astype(ratio.dtype)


def _shares(log_ratio, advantage, weight, total):
    """Returns the function from bounds to positive and negative contribution."""
    ratio = jnp.exp(log_ratio)

    def share(lower, upper):
        positive = jnp.maximum(advantage * jnp.minimum(ratio, upper), 0)
        negative = jnp.maximum(-advantage * jnp.maximum(ratio, lower), 0)
        return total(jnp.sum(weight * positive)), total(jnp.sum(weight * negative))

    return share


def _search(gate, met, widen, dtype):
    """Widens the bounds until `met` or both at their stops. Returns a `Fitted`."""

    def searching(state):
        lower, upper, done = state
        return ~done & ((lower < gate.low_stop) | (upper < gate.high_stop))

    def step(state):
        lower, upper, _ = state
        lower, upper = widen(lower, upper)
        return lower, upper, met(lower, upper)

    lower = jnp.asarray(gate.low_start, dtype)
    upper = jnp.asarray(gate.high_start, dtype)
    start = (lower, upper, met(lower, upper))
    lower, upper, done = jax.lax.while_loop(searching, step, start)
    return Fitted(lower, upper, gate.dual, done)
