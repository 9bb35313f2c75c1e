"""Distances from a reference policy, estimated at the sampled tokens.

Each estimator maps the log-probability of each token under the policy and under the
reference, [...] both, to a number, [...]. With x = log pi_ref - log pi their means
under pi estimate KL(pi, pi_ref), but for `absolute`. Their gradients differ: as a
loss, only `k2` and those that borrow its gradient have that of the KL on-policy.

A `Penalty` is a price on one of them, in the reward or in the loss.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct

from maspo_jax.objectives.gates.settings import setting
from maspo_jax.objectives.ratios import clamped

MAX_K3 = 10.0  # of the released code; larger values have no gradient


def k1(logprob, reference):
    """-x: unbiased, but as a loss its expected gradient is zero."""
    return logprob - reference


def absolute(logprob, reference):
    """|x|."""
    return jnp.abs(logprob - reference)


def k2(logprob, reference):
    """x^2 / 2: biased, with the gradient of the KL on-policy."""
    return 0.5 * jnp.square(logprob - reference)


def k3(logprob, reference):
    """e^x - x - 1: unbiased, never negative, of low variance."""
    x = clamped(reference - logprob)
    return jnp.clip(jnp.expm1(x) - x, -MAX_K3, MAX_K3)


def k1_plus(logprob, reference):
    """The value of `k1`, the gradient of `k2`."""
    return _straight_through(k1(logprob, reference), k2(logprob, reference))


def k3_plus(logprob, reference):
    """The value of `k3`, the gradient of `k2`."""
    return _straight_through(k3(logprob, reference), k2(logprob, reference))


@struct.dataclass
class Penalty:
    """A price on the distance from the reference, per nat.

    In the reward, and in the loss, where it is a term as `objectives.terms` has them.
    The released configurations that use one take `k3` at 0.001 in the loss; in the
    reward it is usually `k1`. Both papers use none.
    """

    needs = ("reference_logprob",)

    coefficient: float = setting(interval="[0, inf)")
    estimator: Callable = struct.field(pytree_node=False)

    def __call__(self, tokens):
        """Returns the loss of each token, [N, T], for their `Tokens`."""
        return self.price(tokens.logprob, tokens.reference_logprob)

    def price(self, logprob, reference):
        """Returns the price of each token, [...]."""
        return self.coefficient * self.estimator(logprob, reference)


def in_reward(reward, logprob, reference, mask, penalty):
    """Returns rewards less the penalty: of each token, or summed over a response.

    Args:
        reward: [P, G], of whole responses, or [N, T], of tokens.
        logprob: [N, T] of the sampled tokens before the first update.
        reference: [N, T] of the same tokens.
        mask: [N, T] bool.
        penalty: the `Penalty`.
    """
    price = jnp.where(mask, penalty.price(logprob, reference), 0)
    if reward.shape == mask.shape:
        return reward - price
    return reward - jnp.sum(price, axis=-1).reshape(reward.shape)


def _straight_through(value, gradient):
    return gradient + jax.lax.stop_gradient(value - gradient)
