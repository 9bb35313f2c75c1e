"""How the parameters of a decoder lie over the mesh: two tables.

    parameter path --LOGICAL_AXES--> names of its axes --MESH_AXES_OF--> mesh axes

No other module knows how the parameters of a decoder are called or stacked.
"""

import math

import jax

from maspo_jax.distributed.mesh import REPLICATED, make_spec, named_shardings

# Path of a parameter -> what its axes count. Layers are stacked along the first.
LOGICAL_AXES = {
    "embedding": ("vocabulary", "width"),
    "blocks/attention_norm/scale": ("layers", "width"),
    "blocks/attention/query/kernel": ("layers", "width", "heads"),
    "blocks/attention/query/bias": ("layers", "heads"),
    "blocks/attention/key/kernel": ("layers", "width", "key_value_heads"),
    "blocks/attention/key/bias": ("layers", "key_value_heads"),
    "blocks/attention/value/kernel": ("layers", "width", "key_value_heads"),
    "blocks/attention/value/bias": ("layers", "key_value_heads"),
    "blocks/attention/output/kernel": ("layers", "heads", "width"),
    "blocks/attention/query_norm/scale": ("layers", "head_width"),
    "blocks/attention/key_norm/scale": ("layers", "head_width"),
    "blocks/feed_forward_norm/scale": ("layers", "width"),
    "blocks/feed_forward/gate/kernel": ("layers", "width", "feed_forward"),
    "blocks/feed_forward/up/kernel": ("layers", "width", "feed_forward"),
    "blocks/feed_forward/down/kernel": ("layers", "feed_forward", "width"),
    "norm/scale": ("width",),
    "head/kernel": ("width", "vocabulary"),
}
# What an axis counts -> the axes of the mesh that may split it. `tensor` splits what
# devices compute by themselves, so that the sampler need not gather over it: whole
# heads, units of the feed-forward network, tokens of the vocabulary. `fsdp` splits a
# matrix once, along the first of its axes that divides.
MESH_AXES_OF = {
    "layers": (),
    "vocabulary": ("tensor", "fsdp"),
    "width": ("fsdp",),
    "heads": ("tensor", "fsdp"),
    "key_value_heads": ("tensor", "fsdp"),
    "head_width": ("fsdp",),
    "feed_forward": ("tensor", "fsdp"),
}


def param_specs(tree, mesh):
    """Returns the `PartitionSpec` of every leaf of a policy or optimizer state.

    Along `fsdp`, scales, biases and the counters of an optimizer stay whole. So does
    what an axis of the mesh does not divide.

    Raises:
        ValueError: a leaf is not in `LOGICAL_AXES`.
    """

    def spec(path, leaf):
        names = logical_axes(path, leaf)
        split = [() for _ in names]
        for axis in ("tensor", "fsdp") if is_matrix(path, leaf) else ("tensor",):
            for place, (name, width) in enumerate(zip(names, leaf.shape, strict=True)):
                over = (*split[place], axis)
                parts = math.prod(mesh.shape[each] for each in over)
                fits = axis in MESH_AXES_OF[name] and width % parts == 0
                if mesh.shape[axis] > 1 and fits:
                    split[place] = over
                    break
        return make_spec(split)

    return jax.tree_util.tree_map_with_path(spec, tree)


def tensor_choices(config):
    """Returns the numbers of devices that can share the heads of a decoder.

    Args:
        config: the `DecoderConfig`.
    """
    heads, units = config.key_value_heads, config.feed_forward
    return [n for n in range(1, heads + 1) if heads % n == units % n == 0]


def check_tensor(config, tensor):
    """Refuses a number of devices that cannot share the heads of a decoder.

    Args:
        config: the `DecoderConfig`.
        tensor: devices along that axis of the mesh.
    """
    heads, units = config.key_value_heads, config.feed_forward
    choices = tensor_choices(config)
    if tensor not in choices:
        raise ValueError(
            f"tensor={tensor} does not divide key_value_heads={heads} and "
            f"feed_forward={units} of the policy; choose one of {choices}"
        )


def logical_axes(path, leaf):
    """Returns what each axis of a leaf counts, a tuple of names.

    Args:
        path: of the leaf, as JAX has it, in a policy or in a tree that holds one.
        leaf: an array, or its shape and dtype.
    """
    if leaf.ndim == 0:
        return ()
    # The last entry is the value of a variable of Flax.
    words = jax.tree_util.keystr(path[:-1], simple=True, separator="/").split("/")
    for start in range(len(words)):
        axes = LOGICAL_AXES.get("/".join(words[start:]))
        if axes is not None and len(axes) == leaf.ndim:
            return axes
    raise ValueError(
        f"parameter {'/'.join(words)} of shape {leaf.shape}: no row of "
        "models.sharding.LOGICAL_AXES says what its axes count; add one"
    )


def is_matrix(path, leaf):
    """Returns whether a leaf is a matrix, of one layer or of each of them.

    The arguments are those of `logical_axes`.
    """
    return len([axis for axis in logical_axes(path, leaf) if axis != "layers"]) > 1


def decay_mask(policy):
    """Returns which parameters decay: matrices do, scales and biases do not."""
    return jax.tree_util.tree_map_with_path(is_matrix, policy)


def layer_specs(specs):
    """Returns the specs of the parameters of one layer, given those of a policy."""
    return jax.tree.map(lambda spec: jax.P(*spec[1:]), specs.blocks)


def stem_specs(specs):
    """Returns the specs of a policy, with those of its layers as if they were whole."""

    def change(path, spec):
        stacked = jax.tree_util.keystr(path[:1], simple=True) == "blocks"
        return REPLICATED if stacked else spec

    return jax.tree_util.tree_map_with_path(change, specs)


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
