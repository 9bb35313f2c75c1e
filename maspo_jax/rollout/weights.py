"""The policy as the sampler holds it: in the dtype of matrix products, and where."""

import jax

from maspo_jax import distributed
from maspo_jax.models import sharding
from maspo_jax.models.precision import cast


def cast_for_sampling(policy):
    """Returns a copy of a policy in the dtype that its products are computed in.

    The update casts each layer where it gathers it; decoding reads all of them at
    every token, so they are cast once. The policy itself if it is in that dtype.

    Args:
        policy: a `Decoder`, laid out in any way; the copy is laid out as it is.
    """
    return cast(policy, policy.config.product_dtype)


def sampling_specs(policy, mesh, gather="once"):
    """Returns the `PartitionSpec` of every leaf of a policy while it is sampled from.

    Args:
        policy: a `Decoder`, or one of shapes.
        mesh: the mesh.
        gather: "once" for whole heads and units, repeated over `fsdp`; "layer" for the
            shards an update holds, of which each layer is gathered where it is used.
    """
    specs = sharding.param_specs(policy, mesh)
    return distributed.gathered_specs(specs, ("fsdp",)) if gather == "once" else specs


def copy_for_sampling(policy, mesh, gather="once"):
    """Returns a policy as the sampler takes it, cast and laid out; once per step.

    The sampler takes it in any layout, but would bring it into this one at every call.
    The policy itself if nothing is to be done.

    Args:
        policy: a `Decoder`, laid out as `models.sharding` says.
        mesh: the mesh it lies on.
        gather: as in `sampling_specs`.
    """
    specs = sampling_specs(policy, mesh, gather)
    placed = distributed.named_shardings(specs, mesh)
    there = jax.tree.map(
        lambda leaf, place: leaf.sharding.is_equivalent_to(place, leaf.ndim),
        policy,
        placed,
    )
    config = policy.config
    if config.product_dtype == config.dtype and all(jax.tree.leaves(there)):
        return policy
    return jax.jit(cast_for_sampling, out_shardings=placed)(policy)
