"""The verbs of one step: draw, grade, improve.

Prompts --draw--> Rollout --grade--> reward --improve--> TrainState, metrics

`collecting` repeats the first two where a step needs more than one rollout.
"""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np
import optax

from maspo_jax import config, distributed
from maspo_jax.learning import batches
from maspo_jax.learning import train_state as states
from maspo_jax.learning.batches import Scored
from maspo_jax.learning.optimizer import make_optimizer
from maspo_jax.learning.update import (
    TokenTrace,
    make_logprobs,
    make_update,
    policy_loss,
)
from maspo_jax.objectives.terms import terms_of
from maspo_jax.rewards import Verifier
from maspo_jax.rewards.shaping import overlong_penalty
from maspo_jax.rollout.generate import SamplingParams, sample
from maspo_jax.rollout.grading import grade
from maspo_jax.runs.keys import key_for
from maspo_jax.types import Rollout, TrainBatch, TrainState

# How metrics of several updates that end so become one; of others it is the mean.
EXTREMES = {"max": np.max, "min": np.min}


@dataclasses.dataclass(frozen=True)
class RewardedRollout:
    """A rollout batch and what the verifier says of it."""

    problems: list  # P, of all processes
    rollout: Rollout
    reward: np.ndarray  # [rows of this process] float32
    verdicts: list  # of this process, on all that was drawn for the batch


@dataclasses.dataclass(frozen=True)
class StepRecord:
    """What the updates of a step measured, and the last one itself, for the record."""

    updates: list  # of dicts of numbers
    prompts: np.ndarray  # indices into P, of the last
    batch: TrainBatch
    trace: TokenTrace


@dataclasses.dataclass(frozen=True)
class Algorithm:
    """An experiment, compiled for a mesh. `build` makes one."""

    experiment: config.Experiment
    mesh: jax.sharding.Mesh
    verifier: Verifier
    decoding: SamplingParams
    optimizer: optax.GradientTransformation
    skeleton: TrainState  # of `jax.ShapeDtypeStruct`
    score: Callable
    merge: Callable
    assemble: Callable
    take: Callable
    update: Callable

    def draw(self, policy, prompts, step, attempt=0):
        """Returns a `Rollout` of a step, from the prompts of this process.

        Dynamic sampling draws more than one: `attempt` counts them.
        """
        purpose = "resampling" if attempt else "sampling"
        key = jax.random.fold_in(key_for(purpose, self.experiment.seed), step)
        key = jax.random.fold_in(key, attempt) if attempt else key
        prompts = distributed.shard_rows(prompts, self.mesh)
        rollout = sample(policy, prompts, key, self.decoding, self.mesh)
        return jax.block_until_ready(rollout)

    def grade(self, problems, rollout):
        """Returns the verdict on each response of this process to its problems."""
        tokenizer = self.experiment.tokenizer
        return grade(self.verifier, tokenizer, problems, rollout.sequences)

    def improve(self, state, graded, visits, reference, step):
        """Makes the updates of a step.

        Args:
            state: a `TrainState`; donated.
            graded: the `RewardedRollout` batch, drawn from its policy.
            visits: the `PromptHistory` so far; this one is added if the objective asks.
            reference: the reference policy, or None if the objective needs none.
            step: which.

        Returns:
            The new state, a dict of numbers, and what the updates have `StepRecord`.
        """
        sampling, updates = self.experiment.sampling, self.experiment.updates
        whole, numbers = self.prepare(state.policy, graded, visits, reference)
        method, history = terms_of(self.experiment.objective), []
        for prompts in batches.order(
            self.experiment.seed,
            step,
            sampling.prompts,
            updates.minibatches,
            updates.epochs,
        ):
            batch = self.take(whole, prompts)
            state, metrics, trace = self.update(state, batch, method)
            history.append(metrics)
        numbers, history = jax.tree.map(float, jax.device_get((numbers, history)))
        for name in history[-1]:
            combine = EXTREMES.get(name.rsplit("_", 1)[-1], np.mean)
            numbers[name] = float(combine([metrics[name] for metrics in history]))
        numbers["out_of_band_last"] = history[-1]["out_of_band"]
        return state, numbers, StepRecord(history, prompts, batch, trace)

    def prepare(self, policy, graded, visits, reference):
        """Returns the `TrainBatch` of a step, not weighed yet, and its metrics."""
        objective, rollout = self.experiment.objective, graded.rollout
        logprob = self.score(policy, rollout.sequences)
        beside, history = None, None
        if reference is not None:
            # One after the other: simulated devices may wait for each other forever
            # where two programs overlap that both talk between them.
            jax.block_until_ready(logprob)
            beside = self.score(reference, rollout.sequences)
        if objective.remembering:
            own = distributed.host_slice(len(graded.problems))
            history = distributed.shard_rows(
                visits.before(graded.problems[own]), self.mesh
            )
        spread = lambda rows: distributed.shard_rows(rows, self.mesh)
        groups = lambda rows: spread(rows.reshape(-1, self.decoding.responses))
        batch, history, numbers = self.assemble(
            Scored(
                rollout,
                logprob,
                groups(graded.reward),
                groups(self.overlong_penalty(rollout)),
                spread(graded.reward == 1),
                beside,
                history,
            )
        )
        if objective.remembering:
            visits.record(graded.problems, distributed.local_rows(history))
        return batch, numbers

    def overlong_penalty(self, rollout):
        """Returns what is added to each reward, [rows of this process] float32."""
        length = distributed.local_rows(rollout.sequences.response_mask).sum(-1)
        penalty = self.experiment.objective.overlong_penalty
        if penalty is None:
            return np.zeros(length.shape, np.float32)
        limit = self.decoding.length
        return overlong_penalty(length, limit, penalty.buffer, penalty.factor).astype(
            np.float32
        )


def build(experiment, mesh, verifier):
    """Returns the `Algorithm` of an experiment. Compiles nothing yet."""
    sampling, updates = experiment.sampling, experiment.updates
    objective, tokenizer = experiment.objective, experiment.tokenizer
    total = experiment.steps * experiment.updates_per_step
    optimizer = make_optimizer(experiment.optimization, total)
    skeleton = states.skeleton(experiment.decoder, optimizer, mesh)
    specs = jax.tree.map(lambda leaf: leaf.sharding.spec, skeleton.policy)
    temperature, parts = sampling.temperature, updates.microbatches
    return Algorithm(
        experiment,
        mesh,
        verifier,
        SamplingParams(
            sampling.responses,
            sampling.response_length,
            tokenizer.eos_tokens,
            tokenizer.pad_token_id,
            temperature,
        ),
        optimizer,
        skeleton,
        make_logprobs(mesh, specs, temperature, updates.minibatches * parts),
        batches.make_merge(sampling.responses, mesh),
        batches.make_assemble(objective, tokenizer.eos_tokens, mesh),
        batches.make_take(objective.weight, sampling.responses, mesh),
        make_update(policy_loss, optimizer, mesh, specs, temperature, parts),
    )
