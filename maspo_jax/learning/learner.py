"""The learner: from a rewarded rollout batch to a better policy.

RewardedRollout --assemble--> TrainBatch --minibatches--> TrainBatch, weighed
TrainState, TrainBatch --update--> TrainState, metrics, TokenTrace

It knows nothing of how responses are drawn: it is given records, with the version of
the policy that drew each response.
"""

import dataclasses
import logging
import threading
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from maspo_jax import config, distributed
from maspo_jax.learning import batches
from maspo_jax.learning import train_state as states
from maspo_jax.learning.optimizer import hyperparameters, make_optimizer
from maspo_jax.learning.update import make_logprobs, make_update
from maspo_jax.objectives.advantages import PromptStats
from maspo_jax.objectives.surrogate import policy_loss
from maspo_jax.objectives.terms import method_of
from maspo_jax.runs.prompt_history import PromptHistory
from maspo_jax.types import Rollout, Sequences, TrainState

logger = logging.getLogger(__name__)


class AheadOfTime:
    """A function of `jax.jit` that may be compiled while something else runs."""

    def __init__(self, function, **settings):
        """Takes a function of `jax.jit` and some of its arguments."""
        self._function, self._settings = function, settings
        self._thread = None

    def compile(self, shapes):
        """Begins to compile it, once, in a thread of its own.

        Args:
            shapes: a function without arguments, called there, that returns the
                arguments as `jax.ShapeDtypeStruct`.

        Returns:
            The thread.
        """

        def work():
            try:
                self.lower(*shapes()).compile()
            except Exception as error:  # the call compiles, and meets what is wrong
                logger.warning("not compiled ahead of its first call: %s", error)

        # No daemon: the end of the process would find it inside the compiler.
        self._thread = threading.Thread(target=work, name="compile")
        self._thread.start()
        return self._thread

    def lower(self, *shapes):
        """Returns what `jax.jit` has lowered, for `jax.ShapeDtypeStruct`."""
        return self._function.lower(*shapes, **self._settings)

    def __call__(self, *arguments):
        """Calls it, once it is compiled."""
        if self._thread is not None:
            self._thread.join()
        return self._function(*arguments, **self._settings)


@dataclasses.dataclass(frozen=True)
class Learner:
    """The updates of an experiment on a mesh. `build` makes one.

    `update(state, minibatch) -> state, metrics, TokenTrace` is one optimizer update,
    compiled; the state is donated.
    """

    experiment: config.Experiment
    mesh: jax.sharding.Mesh
    optimizer: optax.GradientTransformation
    skeleton: TrainState  # of `jax.ShapeDtypeStruct`
    logprobs: Callable  # of a policy and sequences, [N, T]
    assembled: Callable  # from `batches.make_assemble`
    take: Callable  # from `batches.make_take`
    update: AheadOfTime
    reference: Any = None  # the reference policy, if the objective needs one
    prompt_history: PromptHistory = dataclasses.field(default_factory=PromptHistory)

    def assemble(self, policy, rollout):
        """Returns the `TrainBatch` of a step, not weighed yet, and its metrics.

        Args:
            policy: before the first update of the step.
            rollout: the `RewardedRollout`; its prompts are added to the history if the
                objective remembers them.

        Returns:
            The batch of all N rows, and a dict of scalars on the devices.
        """
        sequences, reference_logprob = rollout.rollout.sequences, None
        logprob = self.logprobs(policy, sequences)
        if self.reference is not None:
            # One after the other: simulated devices may wait for each other forever
            # where two programs overlap that both talk between them.
            jax.block_until_ready(logprob)
            reference_logprob = self.logprobs(self.reference, sequences)
        batch, history, metrics = self.assembled(
            rollout.rollout,
            logprob,
            self._shard(rollout.reward),
            self._shard(rollout.correct),
            reference_logprob,
            self._history_before(rollout.problems),
        )
        if history is not None:
            self.prompt_history.record(
                rollout.problems, distributed.local_rows(history)
            )
        return batch, metrics

    def compile_ahead(self):
        """Begins to compile the update, while the first responses are drawn.

        Returns:
            The thread.
        """
        return self.update.compile(lambda: (self.skeleton, self.minibatch_shapes()))

    def minibatches(self, batch, step):
        """Yields the `TrainBatch`es of a step, weighed: every prompt once per epoch.

        Args:
            batch: what `assemble` returned.
            step: which; it decides the order.
        """
        seed, updates = self.experiment.seed, self.experiment.updates
        prompts = self.experiment.sampling.prompts
        order = batches.minibatch_order(
            seed, step, prompts, updates.minibatches, updates.epochs
        )
        for selected in order:
            yield self.take(batch, selected)

    def restore(self, checkpoints):
        """Returns the newest `RunState` of some `Checkpoints`, placed on the mesh."""
        return checkpoints.restore(
            self.skeleton, hyperparameters(self.experiment.optimization)
        )

    def _shard(self, rows):
        """Places rows that every process holds in full."""
        return distributed.shard_rows(
            rows[distributed.host_slice(len(rows))], self.mesh
        )

    def minibatch_shapes(self):
        """Returns a minibatch of `jax.ShapeDtypeStruct`, as `minibatches` yields it."""
        sampling, needs = self.experiment.sampling, self.experiment.objective.needs
        P, G, L, T = (
            sampling.prompts,
            sampling.responses,
            sampling.prompt_length,
            sampling.response_length,
        )
        ints = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.int32)
        bools = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.bool)
        floats = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.float32)
        N = P * G
        sequences = Sequences(ints(N, L), bools(N, L), ints(N, T), bools(N, T))
        batch, _, _ = jax.eval_shape(
            self.assembled,
            Rollout(sequences, floats(N, T), ints(N)),
            floats(N, T),
            floats(P, G),
            bools(N),
            None if self.reference is None else floats(N, T),
            PromptStats(floats(P), floats(P), floats(P))
            if "prompt_stats" in needs
            else None,
        )
        batch = jax.eval_shape(
            self.take, batch, ints(P // self.experiment.updates.minibatches)
        )
        rows = jax.NamedSharding(self.mesh, distributed.BATCH)
        return jax.tree.map(lambda leaf: leaf.update(sharding=rows), batch)

    def _history_before(self, problems):
        if "prompt_stats" not in self.experiment.objective.needs:
            return None
        own = problems[distributed.host_slice(len(problems))]
        return distributed.shard_rows(self.prompt_history.before(own), self.mesh)


def build(experiment, mesh):
    """Returns the `Learner` of an experiment. Compiles nothing yet."""
    updates, objective = experiment.updates, experiment.objective
    sampling, eos_tokens = experiment.sampling, experiment.tokenizer.eos_tokens
    total = experiment.steps * experiment.updates_per_step
    optimizer = make_optimizer(experiment.optimization, total)
    skeleton = states.skeleton(experiment.decoder, optimizer, mesh)
    specs = jax.tree.map(lambda leaf: leaf.sharding.spec, skeleton.policy)
    temperature, responses = sampling.temperature, sampling.responses
    rows = sampling.prompts // updates.minibatches * responses
    microbatches = batches.microbatches_of(
        updates, rows // distributed.row_shards(mesh), sampling.row_length
    )
    pieces = updates.minibatches * microbatches
    update = make_update(policy_loss, optimizer, mesh, specs, temperature, microbatches)
    return Learner(
        experiment,
        mesh,
        optimizer,
        skeleton,
        logprobs=make_logprobs(mesh, specs, temperature, pieces),
        assembled=batches.make_assemble(
            objective, responses, sampling.response_length, eos_tokens, mesh
        ),
        take=batches.make_take(objective.weight, responses, mesh),
        update=AheadOfTime(update, method=method_of(objective)),
    )
