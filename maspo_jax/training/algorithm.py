"""The verbs of one step: draw, grade, improve.

Prompts --draw--> Rollout --grade--> reward --improve--> TrainState, metrics
"""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np
import optax

from maspo_jax import config, parallel
from maspo_jax.objectives import diagnostics
from maspo_jax.objectives.terms import terms_of
from maspo_jax.rewards import Verifier
from maspo_jax.rewards.shaping import overlong_penalty
from maspo_jax.rollout.grading import grade
from maspo_jax.rollout.sampler import Decoding, sample
from maspo_jax.training import batches
from maspo_jax.training import state as states
from maspo_jax.training.keys import key_for
from maspo_jax.training.optimizer import make_optimizer
from maspo_jax.training.update import Trace, make_score, make_update, reinforce
from maspo_jax.types import TrainBatch, TrainState


@dataclasses.dataclass(frozen=True)
class Seen:
    """The last update of a step, for the record."""

    prompts: np.ndarray  # indices into P
    batch: TrainBatch
    trace: Trace


@dataclasses.dataclass(frozen=True)
class Algorithm:
    """An experiment, compiled for a mesh. `build` makes one."""

    experiment: config.Experiment
    mesh: jax.sharding.Mesh
    verifier: Verifier
    decoding: Decoding
    optimizer: optax.GradientTransformation
    skeleton: TrainState  # of `jax.ShapeDtypeStruct`
    score: Callable
    assemble: Callable
    take: Callable
    update: Callable

    def draw(self, policy, prompts, step):
        """Returns the `Rollout` of a step, from the prompts of this process."""
        key = jax.random.fold_in(key_for("sampling", self.experiment.seed), step)
        prompts = parallel.spread(prompts, self.mesh)
        rollout = sample(policy, prompts, key, self.decoding, self.mesh)
        return jax.block_until_ready(rollout)

    def grade(self, problems, rollout):
        """Returns the verdict on each response of this process to its problems."""
        tokenizer = self.experiment.tokenizer
        return grade(self.verifier, tokenizer, problems, rollout.sequences)

    def improve(self, state, rollout, reward, step):
        """Makes the updates of a step.

        Args:
            state: a `TrainState`; donated.
            rollout: drawn from its policy.
            reward: one number per response of this process, in order.
            step: which.

        Returns:
            The new state, a dict of numbers, and what the last update has `Seen`.
        """
        sampling, updates = self.experiment.sampling, self.experiment.updates
        objective = self.experiment.objective
        mask = rollout.sequences.mask
        logprob = self.score(state.policy, rollout.sequences)
        numbers = diagnostics.mismatch(logprob, rollout.logprob, mask)
        if not np.all(np.isfinite(reward)):
            raise ValueError(
                "a reward is not a number: correct the function that gave it"
            )
        if objective.overlong_buffer:
            length = parallel.local(mask).sum(-1)
            reward = reward + overlong_penalty(
                length,
                sampling.response_length,
                objective.overlong_buffer,
                objective.overlong_factor,
            ).astype(np.float32)
        reward = parallel.spread(reward.reshape(-1, sampling.responses), self.mesh)
        anchors = {"trainer": logprob, "sampler": rollout.logprob}
        whole = self.assemble(rollout, anchors[objective.anchor], reward)
        history = []
        for prompts in batches.order(
            self.experiment.seed,
            step,
            sampling.prompts,
            updates.minibatches,
            updates.epochs,
        ):
            batch = self.take(whole, prompts)
            state, metrics, trace = self.update(state, batch, terms_of(objective))
            history.append(metrics)
        history = jax.device_get(history)
        numbers = {name: float(value) for name, value in numbers.items()}
        for name in history[-1]:
            numbers[name] = float(np.mean([metrics[name] for metrics in history]))
        numbers["out_of_band_last"] = float(history[-1]["out_of_band"])
        return state, numbers, Seen(prompts, batch, trace)


def build(experiment, mesh, verifier):
    """Returns the `Algorithm` of an experiment. Compiles nothing yet."""
    sampling, updates = experiment.sampling, experiment.updates
    objective, tokenizer = experiment.objective, experiment.tokenizer
    total = experiment.steps * experiment.updates_per_step
    optimizer = make_optimizer(experiment.optimization, total)
    skeleton = states.skeleton(experiment.policy, optimizer, mesh)
    specs = jax.tree.map(lambda leaf: leaf.sharding.spec, skeleton.policy)
    temperature, parts = sampling.temperature, updates.microbatches
    return Algorithm(
        experiment,
        mesh,
        verifier,
        Decoding(
            sampling.responses,
            sampling.response_length,
            tokenizer.end,
            tokenizer.pad,
            temperature,
        ),
        optimizer,
        skeleton,
        make_score(mesh, specs, temperature, updates.minibatches * parts),
        batches.make_assemble(
            objective.advantage, objective.weight, mesh, objective.correction
        ),
        batches.make_take(objective.weight, sampling.responses, mesh),
        make_update(reinforce, optimizer, mesh, specs, temperature, parts),
    )
