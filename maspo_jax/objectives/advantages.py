"""Advantages: how much better than its peers each response did.

Each function maps the reward of every response, [P, G], and the mask of the
response tokens, [N, T] bool, to the advantage of every token, [N, T] float32, zero
on padding. Rewards are constants to the gradient. A response without any token does
not count: it leaves the statistics of its group. None learns from a group of one,
except `raw` and `whitened`, which compare with no group, and `smoothed`, which
compares with earlier visits.

One of yours may give every token a number of its own. An attribute `needs`, a tuple,
says what else it is called with:

    "prompt_stats"   (reward, mask, stats) -> (advantage, stats): the `PromptStats` of
                     these prompts before and after this visit
    "token_reward"   the reward is that of every token, [N, T]; see `token_rewards`
"""

import chex
import jax
import jax.numpy as jnp
from flax import struct

from maspo_jax.objectives.gates.settings import setting

EPSILON = 1e-6  # of the released implementations, added to the standard deviation


def raw(reward, mask):
    """The reward itself, without a baseline (REINFORCE)."""
    chex.assert_rank(reward, 2)
    return _per_token(reward, mask)


def group_normalized(reward, mask, ddof=1, epsilon=EPSILON, singleton="zero"):
    """Distance from the group's mean in standard deviations (GRPO).

    Zero for a group in which all rewards are equal: it says nothing about which
    response is better. So is a group of one with `singleton="zero"`; with "raw" its
    advantage is its reward, as in verl. The variance divides by G - ddof;
    released implementations take 1, some papers write 0. arXiv 2402.03300.
    """
    counted = _counted(reward, mask)
    centered = _centered(reward, counted)
    advantage = centered / (_deviation(centered, counted, ddof) + epsilon)
    if singleton == "raw":
        advantage = jnp.where(counted & (_size(counted) == 1), reward, advantage)
    elif singleton != "zero":
        raise ValueError(f"singleton={singleton!r}: choose zero or raw")
    return _per_token(advantage, mask)


def group_centered(reward, mask):
    """Distance from the group's mean (Dr.GRPO). arXiv 2503.20783."""
    return _per_token(_centered(reward, _counted(reward, mask)), mask)


def leave_one_out(reward, mask):
    """Distance from the mean of the others in the group (RLOO). arXiv 2402.14740."""
    counted = _counted(reward, mask)
    group = _size(counted)
    others = jnp.maximum(group - 1, 1)
    return _per_token(_centered(reward, counted) * group / others, mask)


def length_centered(reward, mask):
    """Distance from the group's mean, weighted by response length (OPO)."""
    counted = _counted(reward, mask)
    length = jnp.sum(mask, axis=-1).reshape(reward.shape)
    total = jnp.maximum(jnp.sum(length, axis=1, keepdims=True), 1)
    baseline = jnp.sum(length * reward, axis=1, keepdims=True) / total
    return _per_token(_unless_equal(reward, reward - baseline, counted), mask)


def rare_success(reward, mask):
    """Distance from the group's mean, times responses per nonzero reward (GPG)."""
    counted = _counted(reward, mask)
    nonzero = jnp.count_nonzero(jnp.where(counted, reward, 0))
    share = jnp.count_nonzero(counted) / jnp.maximum(nonzero, 1)
    return _per_token(_centered(reward, counted) * share, mask)


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
    return whiten(group_centered(reward, mask), mask)


def whiten(advantage, mask):
    """Shifts and scales advantages to mean zero, variance one over tokens. [N, T]."""
    tokens = jnp.sum(mask)
    mean = jnp.sum(jnp.where(mask, advantage, 0)) / jnp.maximum(tokens, 1)
    centered = jnp.where(mask, advantage - mean, 0)
    variance = jnp.sum(jnp.square(centered)) / jnp.maximum(tokens - 1, 1)
    return centered * jax.lax.rsqrt(variance + 1e-8)


@struct.dataclass
class PromptStats:
    """What earlier visits to each prompt of a batch were rewarded; zeros for none."""

    visits: jax.Array  # [P]
    mean: jax.Array  # [P]
    deviation: jax.Array  # [P]


def with_stats(advantage):
    """Returns an advantage that is called as its `needs` say, in one way for all.

    Args:
        advantage: a function of this module, or one of yours.

    Returns:
        A function of the reward, [P, G], the mask, [N, T], and the `PromptStats`, or
        None where none are needed, that returns the advantage, [N, T], and the
        `PromptStats` with this visit. The reward may be per token, [N, T], where
        `advantage` needs "token_reward".
    """
    needs = getattr(advantage, "needs", ())

    def compare(reward, mask, stats):
        if "token_reward" in needs:
            reward = token_rewards(reward, mask)
        if "prompt_stats" in needs:
            return advantage(reward, mask, stats)
        return advantage(reward, mask), stats

    return compare


def token_rewards(reward, mask):
    """Returns rewards per token: those of responses stand on their last token.

    Args:
        reward: [P, G], or already [N, T].
        mask: [N, T] bool.
    """
    if reward.shape == mask.shape:
        return jnp.where(mask, reward, 0)
    length = mask.shape[-1]
    last = length - 1 - jnp.argmax(mask[:, ::-1], axis=-1, keepdims=True)
    return _per_token(reward, mask & (jnp.arange(length)[None] == last))


def outcome_rewards(reward, mask, responses):
    """Returns rewards of whole responses, [P, G]: sums over their tokens.

    For advantages that compare responses, where rewards are per token.

    Args:
        reward: [N, T], or already [P, G].
        mask: [N, T] bool.
        responses: G.
    """
    if reward.shape == (len(mask) // responses, responses):
        return reward
    chex.assert_equal_shape([reward, mask])
    return jnp.sum(jnp.where(mask, reward, 0), axis=-1).reshape(-1, responses)


def smoothed(reward, mask, stats):
    """Advantages smoothed over the visits to a prompt (SAS of DCPO).

    With i the number of visits, this one included: of the mixtures
    (i-1)/i A_new + 1/i A_total and 1/i A_new + (i-1)/i A_total, the smaller in
    size, where A_new standardizes by this step's group and A_total by all visits.
    As in the released code, an unbiased deviation enters the population formula of
    the merged one. arXiv 2509.02333.

    Args:
        reward: [P, G].
        mask: [N, T] bool.
        stats: the `PromptStats` of these prompts before this visit.

    Returns:
        The advantage of every token, [N, T], and the `PromptStats` with this visit. A
        group of which no response counts has not been visited.
    """
    counted = _counted(reward, mask)
    visits = stats.visits + 1
    new_mean = _mean(reward, counted)[:, 0]
    new_deviation = _deviation(_centered(reward, counted), counted, ddof=1)[:, 0]
    old = stats.visits / visits  # zero on the first visit
    mean = old * stats.mean + new_mean / visits
    moved = old * jnp.square(new_mean - stats.mean)
    squares = jnp.square(stats.deviation) * stats.visits + jnp.square(new_deviation)
    deviation = jnp.sqrt((squares + moved) / visits)

    def standardized(mean, deviation):
        # Equal rewards leave what rounding leaves of their deviation.
        rounding = 1e-5 * (1 + jnp.abs(mean))
        deviation = jnp.where(deviation > rounding, deviation, 0)
        safe = jnp.where(deviation > 0, deviation, 1)
        return jnp.where(
            (deviation > 0)[:, None], (reward - mean[:, None]) / safe[:, None], 0
        )

    new, total = standardized(new_mean, new_deviation), standardized(mean, deviation)
    old = old[:, None]
    by_new, by_total = old * new + (1 - old) * total, (1 - old) * new + old * total
    smaller = jnp.where(jnp.abs(by_new) < jnp.abs(by_total), by_new, by_total)
    visited = jnp.any(counted, axis=1)
    after = jax.tree.map(
        lambda new, old: jnp.where(visited, new, old),
        PromptStats(visits, mean, deviation),
        stats,
    )
    return _per_token(smaller, mask), after


smoothed.needs = ("prompt_stats",)


@struct.dataclass
class EntropyAdvantage:
    """Adds min(alpha * entropy, |advantage| / kappa) to the advantage.

    Success is amplified and failure softened where the policy is uncertain; with
    kappa above one no sign changes. alpha is the paper's for GRPO, it takes 0.1 for
    PPO; the MASPO paper does not say which one it compares with. arXiv 2506.14758.
    """

    alpha: float = setting(0.4, "[0, inf)")
    kappa: float = setting(2.0, "(1, inf)")

    def __call__(self, advantage, entropy):
        """Returns the shaped advantage.

        Args:
            advantage: [...].
            entropy: [...] of the current policy, in nats; a constant to the gradient.
        """
        uncertain = self.alpha * jax.lax.stop_gradient(entropy)
        return advantage + jnp.minimum(uncertain, jnp.abs(advantage) / self.kappa)


def _counted(reward, mask):
    """Returns which responses have tokens. [P, G] bool."""
    chex.assert_rank(reward, 2)
    chex.assert_shape(mask, (reward.size, None))
    return jnp.any(mask, axis=-1).reshape(reward.shape)


def _size(counted):
    """Returns how many responses of each group count. [P, 1]."""
    return jnp.sum(counted, axis=1, keepdims=True)


def _mean(reward, counted):
    """Returns the mean reward of each group. [P, 1]."""
    total = jnp.sum(jnp.where(counted, reward, 0), axis=1, keepdims=True)
    return total / jnp.maximum(_size(counted), 1)


def _centered(reward, counted):
    """Subtracts the group's mean; exactly zero where all rewards are equal."""
    return _unless_equal(reward, reward - _mean(reward, counted), counted)


def _unless_equal(reward, advantage, counted):
    """Zero in groups of equal rewards, where rounding would be all there is."""
    largest = jnp.max(jnp.where(counted, reward, -jnp.inf), axis=1, keepdims=True)
    smallest = jnp.min(jnp.where(counted, reward, jnp.inf), axis=1, keepdims=True)
    return jnp.where(counted & (largest > smallest), advantage, 0)


def _deviation(centered, counted, ddof):
    """Returns the standard deviation of each group. [P, 1]."""
    peers = jnp.maximum(_size(counted) - ddof, 1)
    return jnp.sqrt(jnp.sum(jnp.square(centered), axis=1, keepdims=True) / peers)


def _per_token(advantage, mask):
    """Gives every token the advantage of its response. [P, G] -> [N, T]."""
    chex.assert_shape(mask, (advantage.size, None))
    return jnp.where(mask, advantage.reshape(-1, 1), 0)
