"""Advantages: how much better than its peers each response did.

Each function maps the reward of every response, [P, G], and the mask of the
response tokens, [N, T] bool, to the advantage of every token, [N, T] float32, zero
on padding. Rewards are constants to the gradient. None learns from a group of one,
except `raw` and `whitened`, which compare with no group.
"""

import chex
import jax
import jax.numpy as jnp
from flax import struct

EPSILON = 1e-6  # of the released implementations, added to the standard deviation


def raw(reward, mask):
    """The reward itself, without a baseline (REINFORCE)."""
    chex.assert_rank(reward, 2)
    return _per_token(reward, mask)


def group_normalized(reward, mask, ddof=1, epsilon=EPSILON):
    """Distance from the group's mean in standard deviations (GRPO).

    Zero for a group in which all rewards are equal, a group of one included: it
    says nothing about which response is better. The variance divides by G - ddof;
    released implementations take 1, some papers write 0. arXiv 2402.03300.
    """
    centered = _centered(reward)
    return _per_token(centered / (_deviation(centered, ddof) + epsilon), mask)


def group_centered(reward, mask):
    """Distance from the group's mean (Dr.GRPO). arXiv 2503.20783."""
    return _per_token(_centered(reward), mask)


def leave_one_out(reward, mask):
    """Distance from the mean of the others in the group (RLOO). arXiv 2402.14740."""
    group = reward.shape[1]
    return _per_token(_centered(reward) * group / jnp.maximum(group - 1, 1), mask)


def length_centered(reward, mask):
    """Distance from the group's mean, weighted by response length (OPO)."""
    chex.assert_shape(mask, (reward.size, None))
    length = jnp.sum(mask, axis=-1).reshape(reward.shape)
    total = jnp.maximum(jnp.sum(length, axis=1, keepdims=True), 1)
    baseline = jnp.sum(length * reward, axis=1, keepdims=True) / total
    return _per_token(_unless_equal(reward, reward - baseline), mask)


def rare_success(reward, mask):
    """Distance from the group's mean, times responses per nonzero reward (GPG)."""
    share = reward.size / jnp.maximum(jnp.count_nonzero(reward), 1)
    return _per_token(_centered(reward) * share, mask)


def whitened(reward, mask):
    """The reward, whitened over all tokens of the batch (REINFORCE++).

    arXiv 2501.03262, with a discount of one.
    """
    chex.assert_rank(reward, 2)
    return whiten(_per_token(reward, mask), mask)


def group_whitened(reward, mask):
    """Distance from the group's mean, whitened over the batch (REINFORCE++-baseline).

    arXiv 2501.03262.
    """
    return whiten(_per_token(_centered(reward), mask), mask)


def whiten(advantage, mask):
    """Shifts and scales advantages to mean zero, variance one over tokens. [N, T]."""
    tokens = jnp.sum(mask)
    mean = jnp.sum(jnp.where(mask, advantage, 0)) / jnp.maximum(tokens, 1)
    centered = jnp.where(mask, advantage - mean, 0)
    variance = jnp.sum(jnp.square(centered)) / jnp.maximum(tokens - 1, 1)
    return centered * jax.lax.rsqrt(variance + 1e-8)


@struct.dataclass
class History:
    """What earlier visits to each prompt of a batch were rewarded; zeros for none."""

    visits: jax.Array  # [P]
    mean: jax.Array  # [P]
    deviation: jax.Array  # [P]


def smoothed(reward, mask, history):
    """Advantages smoothed over the visits to a prompt (SAS of DCPO).

    With i the number of visits, this one included: of the mixtures
    (i-1)/i A_new + 1/i A_total and 1/i A_new + (i-1)/i A_total, the smaller in
    size, where A_new standardizes by this step's group and A_total by all visits.
    As in the released code, an unbiased deviation enters the population formula of
    the merged one. arXiv 2509.02333.

    Args:
        reward: [P, G].
        mask: [N, T] bool.
        history: the `History` of these prompts before this visit.

    Returns:
        The advantage of every token, [N, T], and the `History` with this visit.
    """
    chex.assert_rank(reward, 2)
    visits = history.visits + 1
    new_mean = jnp.mean(reward, axis=1)
    new_deviation = _deviation(_centered(reward), ddof=1)[:, 0]
    old = history.visits / visits  # zero on the first visit
    mean = old * history.mean + new_mean / visits
    moved = old * jnp.square(new_mean - history.mean)
    squares = jnp.square(history.deviation) * history.visits + jnp.square(new_deviation)
    deviation = jnp.sqrt((squares + moved) / visits)

    def standardized(mean, deviation):
        safe = jnp.where(deviation > 0, deviation, 1)
        return jnp.where(
            (deviation > 0)[:, None], (reward - mean[:, None]) / safe[:, None], 0
        )

    new, total = standardized(new_mean, new_deviation), standardized(mean, deviation)
    old = old[:, None]
    by_new, by_total = old * new + (1 - old) * total, (1 - old) * new + old * total
    smaller = jnp.where(jnp.abs(by_new) < jnp.abs(by_total), by_new, by_total)
    return _per_token(smaller, mask), History(visits, mean, deviation)


def entropy_shaped(advantage, entropy, alpha=0.4, kappa=2.0):
    """Adds min(alpha * entropy, |advantage| / kappa): the Entropy Advantage.

    Success is amplified and failure softened where the policy is uncertain; with
    kappa above one no sign changes. alpha is the paper's for GRPO. arXiv
    2506.14758.

    Args:
        advantage: [N, T].
        entropy: [N, T] of the current policy, in nats; a constant to the gradient.
        alpha: zero for none.
        kappa: above one.
    """
    uncertain = alpha * jax.lax.stop_gradient(entropy)
    return advantage + jnp.minimum(uncertain, jnp.abs(advantage) / kappa)


def _centered(reward):
    """Subtracts the group's mean; exactly zero where all rewards are equal."""
    chex.assert_rank(reward, 2)
    return _unless_equal(reward, reward - jnp.mean(reward, axis=1, keepdims=True))


def _unless_equal(reward, advantage):
    """Zero in groups of equal rewards, where rounding would be all there is."""
    equal = jnp.max(reward, axis=1) == jnp.min(reward, axis=1)
    return jnp.where(equal[:, None], 0, advantage)


def _deviation(centered, ddof):
    """Returns the standard deviation of each group. [P, 1]."""
    peers = jnp.maximum(centered.shape[1] - ddof, 1)
    return jnp.sqrt(jnp.sum(jnp.square(centered), axis=1, keepdims=True) / peers)


def _per_token(advantage, mask):
    """Gives every token the advantage of its response. [P, G] -> [N, T]."""
    chex.assert_shape(mask, (advantage.size, None))
    return jnp.where(mask, advantage.reshape(-1, 1), 0)
