"""From rewarded responses to the batches of the optimizer."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from maspo_jax import distributed
from maspo_jax.objectives import kl
from maspo_jax.objectives.advantages import (
    outcome_rewards,
    token_rewards,
    with_stats,
)
from maspo_jax.objectives.correction import Truncating
from maspo_jax.objectives.metrics import effective_share, rollout_correction
from maspo_jax.objectives.ratios import token_mean_of
from maspo_jax.objectives.shaping import overlong_penalty
from maspo_jax.rollout.grading import truncated
from maspo_jax.rollout.worker import rows_of
from maspo_jax.types import TrainBatch


def order(seed, step, prompts, minibatches, epochs):
    """Returns the prompts of each minibatch of a step, reshuffled every epoch.

    The responses to one prompt stay together: a minibatch holds whole groups.

    Args:
        seed: of the run.
        step: which rollout batch.
        prompts: P.
        minibatches: per epoch; divides P.
        epochs: passes over the rollout batch.

    Returns:
        [epochs * minibatches, P / minibatches] int32.
    """
    shuffles = [
        np.random.default_rng([seed, step, epoch]).permutation(prompts)
        for epoch in range(epochs)
    ]
    return np.stack(shuffles).astype(np.int32).reshape(epochs * minibatches, -1)


def make_assemble(objective, sampling, mesh):
    """Returns `assemble` of an objective, compiled: from rewards to a `TrainBatch`.

    Everything that is shaped from rewards is shaped here. The batch is weighed only
    once `take` has selected from it.

    Args:
        objective: a `config.Objective`.
        sampling: the `SamplingParams` that responses were drawn with.
        mesh: the mesh everything is split over by rows.
    """
    compare = with_stats(objective.advantage)

    def assemble(
        rollout, logprob, reward, correct, reference_logprob=None, history=None
    ):
        """Returns the batch, what is remembered of its prompts, and metrics.

        Args:
            rollout: the `Rollout`.
            logprob: [N, T] by the trainer, before the first update.
            reward: [P, G], or of each token, [N, T], which adds up over a response.
            correct: [N] bool, correct answers.
            reference_logprob: [N, T] of the reference policy, if it is needed.
            history: the `PromptStats` of the P prompts before, if they are needed.
        """
        mask = rollout.sequences.response_mask
        penalty = overlong(objective, jnp.sum(mask, axis=-1), sampling.length)
        added = penalty.reshape(-1, sampling.responses)
        if "token_reward" in objective.needs:
            reward, added = token_rewards(reward, mask), token_rewards(added, mask)
        else:
            reward = outcome_rewards(reward, mask, sampling.responses)
        reward = reward + added
        if objective.kl_in_reward is not None:
            reward = kl.in_reward(
                reward, logprob, reference_logprob, mask, objective.kl_in_reward
            )
        cut_off = truncated(rollout.sequences, sampling.eos_tokens)
        finished = mask & ~cut_off[:, None]
        overlong_filter, loss_mask = objective.overlong_filter, mask
        if overlong_filter is not None:
            loss_mask = finished
        if objective.rejection is not None:
            loss_mask = loss_mask & objective.rejection(
                logprob, rollout.sampler_logprob, mask
            )
        in_group = overlong_filter is None or overlong_filter.in_group
        advantage, history = compare(reward, mask if in_group else finished, history)
        correction = None
        if objective.correction is not None:
            correction = objective.correction(logprob, rollout.sampler_logprob, mask)
        batch = TrainBatch(
            rollout.sequences,
            logprob if objective.anchor == "trainer" else rollout.sampler_logprob,
            advantage,
            weight=None,
            loss_mask=loss_mask,
            correction=correction,
            reference_logprob=reference_logprob,
            correct=correct if "correct" in objective.needs else None,
            row=jnp.arange(len(mask), dtype=jnp.int32),
            policy_version=rollout.policy_version,
        )
        metrics = _describe(objective, rollout, logprob, batch)
        return batch, history, metrics | {"overlong_penalty": jnp.mean(penalty)}

    rows, whole = (
        jax.NamedSharding(mesh, spec)
        for spec in (distributed.BATCH, distributed.REPLICATED)
    )
    return jax.jit(assemble, out_shardings=(rows, rows, whole))


def overlong(objective, length, limit):
    """Returns what is added to the reward of responses, for their length, [N]."""
    penalty = objective.overlong_penalty
    if penalty is None:
        return jnp.zeros(length.shape, jnp.float32)
    return overlong_penalty(length, limit, penalty.buffer, penalty.factor)


def _describe(objective, rollout, logprob, batch):
    """Returns the metrics of a batch before its first update, all scalars."""
    mask, correction = rollout.sequences.response_mask, batch.correction
    tokens = logprob, rollout.sampler_logprob, mask
    metrics = {
        **rollout_correction(*tokens),
        "loss_mask/mean": token_mean_of(batch.loss_mask, mask),
    }
    if batch.reference_logprob is not None:
        distance = kl.k3(logprob, batch.reference_logprob)
        metrics["kl"] = token_mean_of(distance, mask)
    if correction is not None:
        metrics["rollout_corr/rollout_is_mean"] = token_mean_of(correction, mask)
        metrics["rollout_corr/rollout_is_eff_sample_size"] = effective_share(
            correction, mask
        )
    if isinstance(objective.correction, Truncating):
        clipped = objective.correction.truncated(*tokens)
        metrics["rollout_corr/rollout_is_truncated"] = token_mean_of(clipped, mask)
    return metrics


def make_take(weight, responses, mesh):
    """Returns `take(batch, prompts) -> TrainBatch`, compiled.

    It selects the responses to some prompts, an int32 array of indices into P, and
    weighs their tokens, so that the weights of the selection are normalized.

    Args:
        weight: a function from `objectives.token_weights`.
        responses: G.
        mesh: the mesh the batch is split over by rows.
    """

    @functools.partial(
        jax.jit, out_shardings=jax.NamedSharding(mesh, distributed.BATCH)
    )
    def take(batch, prompts):
        rows = rows_of(prompts, responses)
        batch = jax.tree.map(lambda x: x[rows], batch)
        return _weigh(batch, weight)

    return take


def _weigh(batch, weight):
    """Returns the batch with its weights."""
    value, correct = weight(batch.loss_mask), None
    if batch.correct is not None:
        correct = weight(batch.loss_mask & batch.correct[:, None])
    return batch.replace(weight=value, correct_weight=correct)


def demonstration_batch(sequences, weight):
    """Returns worked solutions as a `TrainBatch` of NumPy, for supervised updates."""
    zeros = np.zeros(sequences.response_mask.shape, np.float32)
    weights = np.asarray(weight(sequences.response_mask), np.float32)
    return TrainBatch(sequences, zeros, zeros, weights)
