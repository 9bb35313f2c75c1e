"""Advantages: how much better than its peers each response did.

Each function maps the reward of every response, [P, G], and the mask of the
response tokens, [N, T] bool, to the advantage of every token, [N, T] float32, zero
on padding. Rewards are constants to the gradient.
"""

import chex
import jax.numpy as jnp

EPSILON = 1e-6  # of the released implementations, added to the standard deviation


def group_normalized(reward, mask):
    """Distance from the group's mean in standard deviations, ddof 1 (GRPO).

    Zero for a group in which all rewards are equal, a group of one included: it
    says nothing about which response is better. arXiv 2402.03300, section 4.1.2.
    """
    centered = _centered(reward)
    peers = jnp.maximum(reward.shape[1] - 1, 1)
    variance = jnp.sum(jnp.square(centered), axis=1, keepdims=True) / peers
    return _per_token(centered / (jnp.sqrt(variance) + EPSILON), mask)


def group_centered(reward, mask):
    """Distance from the group's mean (Dr.GRPO). arXiv 2503.20783, equation 3."""
    return _per_token(_centered(reward), mask)


def leave_one_out(reward, mask):
    """Distance from the mean of the others in the group (RLOO).

    Zero for a group of one. arXiv 2402.14740, section 2.2.
    """
    group = reward.shape[1]
    return _per_token(_centered(reward) * group / jnp.maximum(group - 1, 1), mask)


def _centered(reward):
    """Subtracts the group's mean; exactly zero where all rewards are equal."""
    chex.assert_rank(reward, 2)
    mean = jnp.mean(reward, axis=1, keepdims=True)
    equal = jnp.max(reward, axis=1) == jnp.min(reward, axis=1)
    return jnp.where(equal[:, None], 0, reward - mean)


def _per_token(advantage, mask):
    """Gives every token the advantage of its response. [P, G] -> [N, T]."""
    chex.assert_shape(mask, (advantage.size, None))
    return jnp.where(mask, advantage.reshape(-1, 1), 0)
