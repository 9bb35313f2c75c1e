"""The programs of an experiment, lowered for devices that are not here.

They are made by the builders that training calls, from shapes alone.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from maspo_jax import distributed
from maspo_jax.learning import learner
from maspo_jax.rollout.generate import sample
from maspo_jax.rollout.responder import draw
from maspo_jax.rollout.weights import cast_for_sampling, sampling_specs
from maspo_jax.rollout.worker import sampling_params
from maspo_jax.types import Prompts, Sequences


@dataclasses.dataclass(frozen=True)
class Program:
    """A program of a stage.

    Attributes:
        lower: returns what `jax.jit` has lowered.
        beside: bytes that a device holds meanwhile and that are no argument of it.
    """

    lower: Callable
    beside: int


def programs_of(job, devices):
    """Returns {stage: `Program`} of a `Job`.

    Args:
        job: the `Job`.
        devices: to compile for, from `devices.compile_only`.
    """
    experiment, sampling = job.experiment, job.experiment.sampling
    mesh = distributed.make_mesh(experiment.fsdp, job.tensor, devices=devices)
    built = learner.build(experiment, mesh)
    shapes = _Shapes(mesh)
    policy, moments = map(bytes_of, (built.skeleton.policy, built.skeleton.opt_state))
    reference = policy * ("reference_logprob" in experiment.objective.needs)
    copied = shapes.copy_for_sampling(built.skeleton.policy, sampling.gather)
    # The sampler may be given the policy itself.
    same = jax.tree.leaves(copied) == jax.tree.leaves(built.skeleton.policy)
    masters = 0 if same else policy
    rows = sampling.prompts * sampling.responses
    decoding, plan = sampling_params(experiment, job.slots), job.validation
    greedy = dataclasses.replace(
        decoding,
        responses=plan.responses,
        temperature=experiment.validation.temperature,
        slots=None,
    )
    key = jax.eval_shape(lambda: jax.random.key(0))
    asked = shapes.prompts(plan.prompts, sampling.prompt_length)
    number = jax.ShapeDtypeStruct((plan.prompts,), jnp.uint32)
    found = {
        "sample": Program(
            lambda: sample.lower(
                copied,
                shapes.prompts(job.wave, sampling.prompt_length),
                key,
                decoding,
                mesh,
                shapes.rows(jnp.int32, job.wave),
            ),
            masters + moments + reference,
        ),
        "score": Program(
            lambda: built.logprobs.lower(
                built.skeleton.policy,
                *built.scored_shapes(shapes.sequences(rows, sampling)),
            ),
            moments + reference,
        ),
        "update": Program(
            lambda: built.update.lower(built.skeleton, built.minibatch_shapes()),
            reference,
        ),
        "validation": Program(
            lambda: draw.lower(copied, asked, key, number, number, greedy, mesh),
            masters + moments + reference,
        ),
    }
    return {stage: found[stage] for stage in job.stages}


def bytes_of(shapes):
    """Returns the bytes on one device of a tree of `jax.ShapeDtypeStruct`."""
    return sum(
        int(np.prod(leaf.sharding.shard_shape(leaf.shape))) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(shapes)
    )


@dataclasses.dataclass(frozen=True)
class _Shapes:
    """Makes `jax.ShapeDtypeStruct` on a mesh."""

    mesh: jax.sharding.Mesh

    def rows(self, dtype, *shape):
        sharding = jax.NamedSharding(self.mesh, distributed.BATCH)
        return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

    def prompts(self, count, length):
        ints, bools = self.rows(jnp.int32, count, length), jnp.bool
        return Prompts(ints, self.rows(bools, count, length))

    def sequences(self, count, sampling):
        prompts = self.prompts(count, sampling.prompt_length)
        responses = self.prompts(count, sampling.response_length)
        return Sequences(prompts.tokens, prompts.mask, responses.tokens, responses.mask)

    def copy_for_sampling(self, policy, gather):
        """What `rollout.weights.copy_for_sampling` makes of a policy."""
        specs = sampling_specs(policy, self.mesh, gather)
        places = distributed.named_shardings(specs, self.mesh)
        return jax.tree.map(
            lambda leaf, place: leaf.update(sharding=place),
            jax.eval_shape(cast_for_sampling, policy),
            places,
        )
