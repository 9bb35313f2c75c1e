"""From rewarded responses to the batches of the optimizer."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from maspo_jax import distributed
from maspo_jax.learning import packing
from maspo_jax.objectives import correction, kl
from maspo_jax.objectives.advantages import (
    outcome_rewards,
    token_rewards,
    with_stats,
)
from maspo_jax.objectives.metrics import compare_logprobs
from maspo_jax.objectives.ratios import token_mean_of
from maspo_jax.types import (
    LengthBuckets,
    Packing,
    TrainBatch,
    columns_read,
    rows_of,
    truncated,
)


def minibatch_order(seed, step, prompts, minibatches, epochs):
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


def microbatches_of(settings, rows, row_length):
    """Returns into how many parts a device splits its rows of an update.

    Args:
        settings: `Updates` or `Sft`: how many parts, or how many tokens one may have.
        rows: of the device.
        row_length: tokens of a row, padding included.

    Raises:
        ValueError: not one row has so few tokens.
    """
    tokens = settings.microbatch_tokens
    if tokens is None:
        return settings.microbatches
    for parts in range(1, rows + 1):
        if rows % parts == 0 and rows // parts * row_length <= tokens:
            return parts
    raise ValueError(
        f"microbatch_tokens={tokens}: not one row fits, of {row_length} tokens; take "
        f"at least {row_length}"
    )


def make_reader(updates, sampling, devices):
    """Returns how the sequences of a batch are to be read, given their lengths.

    Args:
        updates: the `Updates`.
        sampling: the `Sampling`.
        devices: the rows of a batch are split over.

    Returns:
        None where they are read as they stand, or else a function of the columns that
        each of N sequences takes, [N] of all processes, N those of a minibatch or of
        the rollout batch. It returns the order in which to read them, [N] int32, and
        their `Packing` or `LengthBuckets`.
    """
    if updates.row_length:
        rows = sampling.prompts // updates.minibatches * sampling.responses // devices
        of_microbatch = rows // microbatches_of(updates, rows, sampling.row_length)
        length = updates.row_length
        tokens = updates.microbatch_tokens or of_microbatch * sampling.row_length
        most = max(tokens // length, 1)

        def pack(lengths):
            plan = packing.plan(lengths, length, devices, most)
            shape = plan.microbatches, plan.rows, length
            return plan.order, Packing(plan.start, *shape)

        return pack
    if updates.length_buckets > 1:
        buckets, longest = updates.length_buckets, sampling.row_length - 1
        # Of short rows some are the same.
        widths = sorted({-(-longest * n // buckets) for n in range(1, buckets + 1)})

        def sort(lengths):
            order = packing.sort_by_length(lengths, devices)
            return order, LengthBuckets(tuple(widths))

        return sort
    return None


def lengths_of(sequences):
    """Returns the columns that each sequence takes, [N] int32, of all processes."""
    own = distributed.local_rows(jax.jit(columns_read)(sequences))
    return distributed.all_gather_hosts(own)


def make_assemble(objective, responses, limit, eos_tokens, mesh):
    """Returns `assemble` of an objective, compiled: from rewards to a `TrainBatch`.

    The batch is weighed only once `take` has selected from it.

    Args:
        objective: a `config.Objective`.
        responses: G.
        limit: T, the longest response, in tokens.
        eos_tokens: the tokens that end a response.
        mesh: the mesh everything is split over by rows.
    """
    compare = with_stats(objective.advantage)

    def assemble(
        rollout, logprob, reward, correct, reference_logprob=None, history=None
    ):
        """Returns the batch, what is remembered of its prompts, and metrics.

        Args:
            rollout: the `Rollout`.
            logprob: [N, T] by the trainer, before the first update; None: that update
                is the first to compute them.
            reward: [P, G], or of each token, [N, T], which adds up over a response.
            correct: [N] bool, correct answers.
            reference_logprob: [N, T] of the reference policy, if it is needed.
            history: the `PromptStats` of the P prompts before, if they are needed.
        """
        mask = rollout.sequences.response_mask
        tokens = logprob, rollout.sampler_logprob, mask
        penalty = overlong_penalties(objective, mask, limit)
        reward = shape_reward(
            objective,
            reward,
            penalty.reshape(-1, responses),
            logprob,
            reference_logprob,
            mask,
        )
        cut_off = truncated(rollout.sequences, eos_tokens)
        loss_mask, compared = masks(objective, tokens, cut_off)
        advantage, history = compare(reward, compared, history)
        rule = objective.correction
        batch = TrainBatch(
            rollout.sequences,
            logprob if objective.anchor == "trainer" else rollout.sampler_logprob,
            advantage,
            weight=None,
            loss_mask=loss_mask,
            correction=None if rule is None else rule(*tokens),
            reference_logprob=reference_logprob,
            correct=correct if "correct" in objective.needs else None,
            row=jnp.arange(len(mask), dtype=jnp.int32),
            policy_version=rollout.policy_version,
            sampler_logprob=rollout.sampler_logprob if logprob is None else None,
        )
        metrics = {
            "overlong_penalty": jnp.mean(penalty),
            "loss_mask/mean": token_mean_of(loss_mask, mask),
        }
        if logprob is not None:
            metrics |= compare_logprobs(*tokens, reference_logprob)
        if batch.correction is not None:
            metrics |= correction.describe(rule, batch.correction, *tokens)
        return batch, history, metrics

    rows, whole = (
        jax.NamedSharding(mesh, spec)
        for spec in (distributed.BATCH, distributed.REPLICATED)
    )
    return jax.jit(assemble, out_shardings=(rows, rows, whole))


def overlong_penalties(objective, mask, limit):
    """Returns what is added to the reward of responses for their length, [N]."""
    length = jnp.sum(mask, axis=-1)
    if objective.overlong_penalty is None:
        return jnp.zeros(length.shape, jnp.float32)
    return objective.overlong_penalty(length, limit)


def shape_reward(objective, reward, penalty, logprob, reference_logprob, mask):
    """Returns the rewards that the advantage compares, with all that is added to them.

    Args:
        objective: a `config.Objective`.
        reward: of the verifier, [P, G], or of each token, [N, T].
        penalty: [P, G], added to the reward of responses.
        logprob: [N, T] by the trainer, before the first update.
        reference_logprob: [N, T] of the reference policy, if there is a price on it.
        mask: [N, T] bool.

    Returns:
        Rewards of tokens, [N, T], if the advantage needs them, else [P, G].
    """
    if "token_reward" in objective.needs:
        reward = token_rewards(reward, mask) + token_rewards(penalty, mask)
    else:
        reward = outcome_rewards(reward, mask, penalty.shape[1]) + penalty
    price = objective.kl_in_reward
    if price is None:
        return reward
    return kl.in_reward(reward, logprob, reference_logprob, mask, price)


def masks(objective, tokens, cut_off):
    """Returns which tokens are trained, and which the advantage compares. [N, T] bool.

    Args:
        objective: a `config.Objective`.
        tokens: their log-probability by the trainer and by the sampler, and the mask of
            responses, [N, T] each.
        cut_off: [N] bool, responses that were cut off at the limit.
    """
    loss_mask = compared = tokens[-1]
    if objective.overlong_filter is not None:
        loss_mask, compared = objective.overlong_filter(loss_mask, cut_off)
    if objective.rejection is not None:
        loss_mask = loss_mask & objective.rejection(*tokens)
    return loss_mask, compared


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


def make_take_rows(weight, mesh):
    """Returns `take(batch, rows, reading) -> TrainBatch`, compiled.

    As `make_take` does, but for an order of rows, [n] int32, and how they are read:
    one program for all of these.

    Args:
        weight: a function from `objectives.token_weights`.
        mesh: the mesh the batch is split over by rows.
    """

    @functools.partial(
        jax.jit, out_shardings=jax.NamedSharding(mesh, distributed.BATCH)
    )
    def select(batch, rows, arrays):
        return _weigh(jax.tree.map(lambda x: x[rows], batch), weight), arrays

    def take(batch, rows, reading):
        arrays, structure = jax.tree.flatten(reading)
        batch, arrays = select(batch, rows, arrays)
        reading = jax.tree.unflatten(structure, arrays)
        return batch.replace(sequences=batch.sequences.replace(reading=reading))

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
