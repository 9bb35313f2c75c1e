"""How arrays lie over devices: one mesh, rows over all of it, parameters over part.

The mesh has three axes, and every batch is split by rows over all of them. A matrix of
the policy, and of the optimizer state shaped like it, is split over `fsdp` and
`tensor` and repeated over `data`; an update gathers it where it is used, one layer at
a time. The sampler reads all of the policy at every token: it gathers it over `fsdp`,
once or where it is used, but never over `tensor`. Devices along `tensor` are neighbors
of one process. While they draw, each holds some heads of all their rows.

Functions whose docstring says "per device" run inside `jax.shard_map`; the others
run on the host or on global arrays.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

AXES = ("data", "fsdp", "tensor")  # of the mesh; rows are split over all of them
BATCH = jax.P(AXES)
REPLICATED = jax.P()


def make_mesh(fsdp=1, tensor=1, devices=None):
    """Returns the mesh over all devices.

    Args:
        fsdp: devices, or groups of `tensor` devices, that share one policy.
        tensor: devices of one process that share the rows they draw.
        devices: a list of those to take; None for all that JAX sees.

    Raises:
        ValueError: the number of devices is not a multiple.
    """
    devices = jax.devices() if devices is None else devices
    count = len(devices)
    own = count // len({device.process_index for device in devices})
    check_divides("tensor", tensor, own, f"the {own} devices of a process")
    groups = count // tensor
    what = f"the {count} devices" + (f" / tensor={tensor}" if tensor > 1 else "")
    check_divides("fsdp", fsdp, groups, what)
    axis_types = (jax.sharding.AxisType.Auto,) * len(AXES)
    # In the order of processes, so that a process holds neighboring rows.
    ordered = sorted(devices, key=lambda d: (d.process_index, d.id))
    grid = np.array(ordered).reshape(groups // fsdp, fsdp, tensor)
    return jax.sharding.Mesh(grid, AXES, axis_types=axis_types)


def check_divides(name, size, count, what):
    """Refuses a number of devices, by the name of its setting, that does not fit.

    Args:
        name: of the setting.
        size: its value.
        count: what it has to divide.
        what: how that is called.
    """
    if size < 1 or count % size:
        choices = [n for n in range(1, count + 1) if count % n == 0]
        raise ValueError(
            f"{name}={size} does not divide {what}; choose one of {choices}"
        )


def row_shards(mesh):
    """Returns into how many parts the rows of a batch are split over devices."""
    return math.prod(mesh.shape[axis] for axis in AXES)


def named_shardings(specs, mesh):
    """Returns the tree of `NamedSharding` for a tree of `PartitionSpec`."""
    return jax.tree.map(lambda spec: jax.NamedSharding(mesh, spec), specs)


def all_gather_params(tree, specs, axes=AXES, dtype=None):
    """Returns whole parameters from shards, per device; transposed, it scatters.

    Gradients are added up in the dtype of the shards.

    Args:
        tree: of shards.
        specs: the `PartitionSpec` of every leaf.
        axes: of the mesh that are gathered over; along others shards stay shards. Where
            an axis of an array is split over several, the last of them.
        dtype: of what is gathered: cast before, for less traffic and memory. None: that
            of the shards.
    """

    def whole(leaf, spec):
        split = [[name for name in _names(entry) if name in axes] for entry in spec]
        places = tuple((i, tuple(names)) for i, names in enumerate(split) if names)
        return _all_gather(leaf, dtype or leaf.dtype, places) if places else leaf

    return jax.tree.map(whole, tree, specs)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _all_gather(shard, dtype, places):
    return _all_gather_forward(shard, dtype, places)[0]


def _all_gather_forward(shard, dtype, places):
    whole = shard.astype(dtype)
    for axis, names in places:
        whole = jax.lax.all_gather(whole, names, axis=axis, tiled=True)
    return whole, jnp.zeros((), shard.dtype)


def _all_gather_backward(dtype, places, stored, cotangent):
    total = cotangent.astype(stored.dtype)
    for axis, names in reversed(places):
        total = jax.lax.psum_scatter(total, names, scatter_dimension=axis, tiled=True)
    return (total,)


_all_gather.defvjp(_all_gather_forward, _all_gather_backward)


def gathered_specs(specs, axes=AXES):
    """Returns the specs of what `all_gather_params` returns, given those of shards."""

    def rest(spec):
        kept = [[n for n in _names(entry) if n not in axes] for entry in spec]
        return make_spec(kept)

    return jax.tree.map(rest, specs)


def make_spec(names):
    """Returns a `PartitionSpec`, given the mesh axes that split each axis of an array.

    None is written for an axis that is whole, and nothing behind the last split one.
    """
    one = lambda each: each[0] if each else None
    entries = [tuple(each) if len(each) > 1 else one(each) for each in names]
    while entries and entries[-1] is None:
        entries.pop()
    return jax.P(*entries)


def _names(entry):
    """Returns the mesh axes of one entry of a `PartitionSpec`, a tuple."""
    if entry is None:
        return ()
    return entry if isinstance(entry, tuple) else (entry,)


def psum_replicated(grads, specs):
    """Returns gradients summed over the devices that hold the same parameters."""

    def add(grad, spec):
        split = {name for entry in spec for name in _names(entry)}
        copies = tuple(axis for axis in AXES if axis not in split)
        return jax.lax.psum(grad, copies) if copies else grad

    return jax.tree.map(add, grads, specs)


def pcast_varying(tree):
    """Marks a tree as differing between devices, per device.

    The gradient with respect to a parameter so marked is this device's share; that
    of an unmarked one arrives summed, at the price of a sum per use.
    """

    def cast(leaf):
        already = jax.typeof(leaf).manual_axis_type.varying
        missing = tuple(axis for axis in AXES if axis not in already)
        return jax.lax.pcast(leaf, missing, to="varying") if missing else leaf

    return jax.tree.map(cast, tree)


def shard_rows(tree, mesh):
    """Returns global arrays split by rows, from the rows this process holds."""
    sharding = jax.NamedSharding(mesh, BATCH)
    return jax.tree.map(
        lambda rows: jax.make_array_from_process_local_data(sharding, np.asarray(rows)),
        tree,
    )


def host_slice(count):
    """Returns the slice of `count` rows of a global batch this process holds."""
    size = count // jax.process_count()
    return slice(jax.process_index() * size, (jax.process_index() + 1) * size)


def local_rows(tree):
    """Returns as NumPy the rows of this process, from arrays split by rows."""

    def rows(array):
        shards = {s.index[0].start or 0: s.data for s in array.addressable_shards}
        return np.concatenate([np.asarray(shards[start]) for start in sorted(shards)])

    return jax.tree.map(rows, tree)
