"""Distances from a reference policy, estimated at the sampled tokens.

Each estimator maps the log-probability of each token under the policy and under the
reference, [...] both, to a number, [...]. With x = log pi_ref - log pi their means
under pi estimate KL(pi, pi_ref), but for `absolute`. Their gradients differ: as a
loss, only `k2` and those that borrow its gradient have that of the KL on-policy.
"""

import jax
import jax.numpy as jnp

MAX_K3 = 10.0  # of the released code; larger values have no gradient
MAX_LOG_RATIO = 20.0


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
    x = jnp.clip(reference - logprob, -MAX_LOG_RATIO, MAX_LOG_RATIO)
    return jnp.clip(jnp.expm1(x) - x, -MAX_K3, MAX_K3)


def k1_plus(logprob, reference):
    """The value of `k1`, the gradient of `k2`."""
    return _straight_through(k1(logprob, reference), k2(logprob, reference))


def k3_plus(logprob, reference):
    """The value of `k3`, the gradient of `k2`."""
    return _straight_through(k3(logprob, reference), k2(logprob, reference))


def in_reward(reward, logprob, reference, mask, coefficient):
    """Returns rewards less the log-ratio to the reference, summed per response.

    Args:
        reward: [P, G].
        logprob: [N, T] of the sampled tokens before the first update.
        reference: [N, T] of the same tokens.
        mask: [N, T] bool.
        coefficient: in units of reward per nat.
    """
    distance = jnp.sum(jnp.where(mask, k1(logprob, reference), 0), axis=-1)
    return reward - coefficient * distance.reshape(reward.shape)


def _straight_through(value, gradient):
    return gradient + jax.lax.stop_gradient(value - gradient)
