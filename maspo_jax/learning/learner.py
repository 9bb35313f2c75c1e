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
import numpy as np
import optax

from maspo_jax import config, distributed
from maspo_jax.learning import batches
from maspo_jax.learning import train_state as states
from maspo_jax.learning.optimizer import hyperparameters, make_optimizer
from maspo_jax.learning.update import (
    make_logprobs,
    make_reordered_logprobs,
    make_update,
)
from maspo_jax.objectives.advantages import PromptStats
from maspo_jax.objectives.surrogate import policy_loss
from maspo_jax.objectives.terms import method_of
from maspo_jax.runs.prompt_history import PromptHistory
from maspo_jax.types import Packing, Rollout, Sequences, TrainState, rows_of

logger = logging.getLogger(__name__)


class AheadOfTime:
    """A function of `jax.jit` that may be compiled while something else runs."""

    def __init__(self, function, **settings):
        """Takes a function of `jax.jit` and some of its arguments."""
        self.function, self._settings = function, settings
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
        return self.function.lower(*shapes, **self._settings)

    def __call__(self, *arguments):
        """Calls it, once it is compiled."""
        if self._thread is not None:
            self._thread.join()
        return self.function(*arguments, **self._settings)


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
    # From `make_logprobs`; with a reader from `make_reordered_logprobs`.
    logprobs: Callable
    assembled: Callable  # from `batches.make_assemble`
    take: Callable  # from `batches.make_take`; with a reader from `make_take_rows`
    update: AheadOfTime
    reader: Callable | None = None  # from `batches.make_reader`
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
        sequences, reference_logprob, packed = rollout.rollout.sequences, None, {}
        if self.reader is None:
            score = lambda policy: self.logprobs(policy, sequences)
        else:
            lengths = batches.lengths_of(sequences)
            how = self.reader(lengths)
            score = lambda policy: self.logprobs(policy, sequences, *how)
            packed = self._padding(lengths, how[1])
        # Or else the first update computes them.
        logprob = score(policy) if self.experiment.scores_first else None
        if self.reference is not None:
            # One after the other: simulated devices may wait for each other forever
            # where two programs overlap that both talk between them.
            jax.block_until_ready(logprob)
            reference_logprob = score(self.reference)
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
        return batch, metrics | packed

    def compile_ahead(self):
        """Begins to compile the update, while the first responses are drawn.

        Returns:
            The thread; None where the lengths of the responses decide the program.
        """
        if self.experiment.updates.row_length:
            return None
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
        if self.reader is None:
            for selected in order:
                yield self.take(batch, selected)
            return
        lengths = batches.lengths_of(batch.sequences)
        for selected in order:
            rows = rows_of(selected, self.experiment.sampling.responses)
            within, reading = self.reader(lengths[rows])
            yield self.take(batch, rows[within], reading)

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
        """Returns a minibatch of `jax.ShapeDtypeStruct`, as `minibatches` yields it.

        Where it is packed, that of the longest responses.
        """
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
            floats(N, T) if self.experiment.scores_first else None,
            floats(P, G),
            bools(N),
            None if self.reference is None else floats(N, T),
            PromptStats(floats(P), floats(P), floats(P))
            if "prompt_stats" in needs
            else None,
        )
        prompts = P // self.experiment.updates.minibatches
        if self.reader is None:
            batch = jax.eval_shape(self.take, batch, ints(prompts))
        else:
            how = self._longest(prompts * G)
            batch = jax.eval_shape(self.take, batch, *how)
        rows = jax.NamedSharding(self.mesh, distributed.BATCH)
        return jax.tree.map(lambda leaf: leaf.update(sharding=rows), batch)

    def scored_shapes(self, sequences):
        """Returns what `logprobs` takes beside a policy, for shapes of `Sequences`."""
        if self.reader is None:
            return (sequences,)
        return sequences, *self._longest(len(sequences.response_mask))

    def _longest(self, count):
        """Returns how responses of the full length are read."""
        sampling = self.experiment.sampling
        return self.reader(np.full(count, sampling.row_length - 1))

    def _padding(self, lengths, reading):
        """Returns the metrics of packed rows: what is left of them, as a share."""
        if not isinstance(reading, Packing):
            return {}
        rows = distributed.row_shards(self.mesh) * reading.microbatches * reading.rows
        return {"padding": 1 - lengths.sum() / (rows * reading.length)}

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
    logprobs = make_logprobs(mesh, specs, temperature, pieces)
    take = batches.make_take(objective.weight, responses, mesh)
    reader = batches.make_reader(updates, sampling, distributed.row_shards(mesh))
    if reader:
        logprobs = make_reordered_logprobs(logprobs, mesh)
        take = batches.make_take_rows(objective.weight, mesh)
    update = make_update(policy_loss, optimizer, mesh, specs, temperature, microbatches)
    return Learner(
        experiment,
        mesh,
        optimizer,
        skeleton,
        logprobs=logprobs,
        assembled=batches.make_assemble(
            objective, responses, sampling.response_length, eos_tokens, mesh
        ),
        take=take,
        update=AheadOfTime(update, method=method_of(objective)),
        reader=reader,
    )
