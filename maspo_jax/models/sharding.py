"""How the parameters of a decoder lie over the mesh."""

import jax

from maspo_jax.distributed.mesh import REPLICATED, named_shardings


def param_specs(tree, mesh):
    """Returns the `PartitionSpec` of every leaf of a policy or optimizer state.

    The first axis of a matrix that the `fsdp` axis divides is split over it. The
    leading axis of whatever lies under `blocks` counts layers and stays whole.
    """
    size = mesh.shape["fsdp"]

    def spec(path, leaf):
        stacked = "blocks" in jax.tree_util.keystr(path, simple=True, separator="/")
        shape = leaf.shape[stacked:]
        if size == 1 or len(shape) < 2:
            return REPLICATED
        divisible = [axis for axis, width in enumerate(shape) if width % size == 0]
        return (
            jax.P(*[None] * (divisible[0] + stacked), "fsdp")
            if divisible
            else REPLICATED
        )

    return jax.tree_util.tree_map_with_path(spec, tree)


def layer_specs(specs):
    """Returns the specs of one block, given those of the stacked blocks."""
    return jax.tree.map(lambda spec: jax.P(*spec[1:]), specs)


def stem_specs(specs):
    """Returns the specs of a policy with those of its blocks left out."""
    return jax.tree_util.tree_map_with_path(
        lambda path, spec: (
            REPLICATED if "blocks" in jax.tree_util.keystr(path) else spec
        ),
        specs,
    )


def abstract_params(shapes, mesh):
    """Returns shapes with the sharding of each leaf on a mesh, as a restore takes them.

    Args:
        shapes: a policy or a training state of `jax.ShapeDtypeStruct`.
        mesh: the mesh it will lie on.
    """
    shardings = named_shardings(param_specs(shapes, mesh), mesh)
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(
            leaf.shape, leaf.dtype, sharding=sharding
        ),
        shapes,
        shardings,
    )
