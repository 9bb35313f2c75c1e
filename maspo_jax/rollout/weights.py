"""The policy as the sampler holds it: in the dtype of matrix products."""

import functools

import jax

from maspo_jax import distributed
from maspo_jax.models.precision import cast


def cast_for_sampling(policy):
    """Returns a copy of a policy in the dtype that its products are computed in.

    The update casts each layer where it gathers it; decoding reads all of them at
    every token, so they are cast once. The policy itself if it is in that dtype.

    Args:
        policy: a `Decoder`, laid out in any way; the copy is laid out as it is.
    """
    return cast(policy, policy.config.product_dtype)


def copy_for_sampling(policy, mesh):
    """Returns a policy as the sampler reads it: whole, in the dtype of products.

    Made once a step, it is neither cast nor gathered again for each wave. The policy
    itself if it lies so already.

    Args:
        policy: a `Decoder`, laid out in any way.
        mesh: the mesh; every device holds the copy.
    """
    whole = jax.NamedSharding(mesh, distributed.REPLICATED)
    placed = all(
        leaf.sharding.is_equivalent_to(whole, leaf.ndim)
        for leaf in jax.tree.leaves(policy)
    )
    return cast_for_sampling(policy) if placed else _copy_whole(policy, mesh)


@functools.partial(jax.jit, static_argnames="mesh")
def _copy_whole(policy, mesh):
    whole = jax.NamedSharding(mesh, distributed.REPLICATED)
    return jax.lax.with_sharding_constraint(cast_for_sampling(policy), whole)
