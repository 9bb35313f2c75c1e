"""From scored responses to the batches of the optimizer."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from maspo_jax import distributed
from maspo_jax.objectives import kl
from maspo_jax.objectives.advantages import with_stats
from maspo_jax.objectives.correction import Truncating
from maspo_jax.objectives.metrics import effective_share, rollout_correction
from maspo_jax.objectives.ratios import token_mean_of
from maspo_jax.types import Rollout, TrainBatch


@struct.dataclass
class Scored:
    """A rollout batch, and all that is known of it before the first update."""

    rollout: Rollout
    logprob: jax.Array  # [N, T] by the trainer
    reward: jax.Array  # [P, G]
    penalty: jax.Array  # [P, G], added to it: that of overlong responses, or zero
    correct: jax.Array  # [N] bool, correct answers
    reference_logprob: jax.Array | None = None  # [N, T], if the objective needs it
    history: Any = None  # an `advantages.PromptStats` of [P], likewise


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


def make_assemble(objective, ends, mesh):
    """Returns `assemble(scored) -> TrainBatch, PromptStats, metrics`, compiled.

    The batch is weighed only once `take` has selected from it.

    Args:
        objective: a `config.Objective`.
        ends: the tokens that end a response.
        mesh: the mesh everything is split over by rows.
    """
    compare = with_stats(objective.advantage)

    def assemble(scored):
        rollout, logprob = scored.rollout, scored.logprob
        mask, reward = rollout.sequences.response_mask, scored.reward + scored.penalty
        finished = mask & ~cut_off(rollout.sequences, ends)[:, None]
        overlong, kept = objective.overlong_filter, mask
        if overlong is not None:
            kept = finished
        if objective.rejection is not None:
            kept = kept & objective.rejection(logprob, rollout.sampler_logprob, mask)
        if objective.kl_in_reward is not None:
            reward = kl.in_reward(
                reward, logprob, scored.reference_logprob, mask, objective.kl_in_reward
            )
        compared = mask if overlong is None or overlong.in_group else finished
        advantage, history = compare(reward, compared, scored.history)
        factor = None
        if objective.correction is not None:
            factor = objective.correction(logprob, rollout.sampler_logprob, mask)
        batch = TrainBatch(
            rollout.sequences,
            logprob if objective.anchor == "trainer" else rollout.sampler_logprob,
            advantage,
            weight=None,
            loss_mask=kept,
            correction=factor,
            reference_logprob=scored.reference_logprob,
            correct=scored.correct if "correct" in objective.needs else None,
        )
        return batch, history, _describe(scored, kept, factor, objective.correction)

    rows, whole = (
        jax.NamedSharding(mesh, spec)
        for spec in (distributed.BATCH, distributed.REPLICATED)
    )
    return jax.jit(assemble, out_shardings=(rows, rows, whole))


def _describe(scored, kept, factor, correction):
    """Returns the metrics of a batch before its first update, all scalars."""
    mask = scored.rollout.sequences.response_mask
    tokens = scored.logprob, scored.rollout.sampler_logprob, mask
    numbers = {
        **rollout_correction(*tokens),
        "kept": token_mean_of(kept, mask),
        "overlong_penalty": jnp.mean(scored.penalty),
    }
    if scored.reference_logprob is not None:
        distance = kl.k3(scored.logprob, scored.reference_logprob)
        numbers["reference_k3"] = token_mean_of(distance, mask)
    if factor is not None:
        numbers["correction"] = token_mean_of(factor, mask)
        numbers["correction_effective_share"] = effective_share(factor, mask)
    if isinstance(correction, Truncating):
        truncated = correction.truncated(*tokens)
        numbers["correction_truncated"] = token_mean_of(truncated, mask)
    return numbers


def cut_off(sequences, ends):
    """Returns which responses reached the limit without an end token. [N] bool."""
    return sequences.response_mask[:, -1] & ~jnp.isin(
        sequences.response[:, -1], jnp.array(ends)
    )


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


def make_merge(responses, mesh):
    """Returns `merge(held, fresh, groups) -> Rollout`, compiled.

    It picks P groups, an int32 array of indices, from those of two rollouts: the
    first P are held, the next P fresh.

    Args:
        responses: G.
        mesh: the mesh all of them are split over by rows.
    """

    @functools.partial(
        jax.jit, out_shardings=jax.NamedSharding(mesh, distributed.BATCH)
    )
    def merge(held, fresh, groups):
        rows = rows_of(groups, responses)
        pick = lambda old, new: jnp.concatenate([old, new])[rows]
        return jax.tree.map(pick, held, fresh)

    return merge


def rows_of(prompts, responses):
    """Returns the rows of the responses to some prompts. [n] -> [n * G]."""
    return (prompts[:, None] * responses + np.arange(responses)[None]).reshape(-1)


def demonstration_batch(sequences, weight):
    """Returns worked solutions as a `TrainBatch` of NumPy, for supervised updates."""
    zeros = np.zeros(sequences.response_mask.shape, np.float32)
    weights = np.asarray(weight(sequences.response_mask), np.float32)
    return TrainBatch(sequences, zeros, zeros, weights)
