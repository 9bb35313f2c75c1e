"""How arrays lie over devices: one mesh, rows over all of it, parameters over part.

The mesh has three axes. Every batch is split by rows over `data` and `fsdp`. A matrix
of the policy, and of the optimizer state shaped like it, is split over `fsdp` and
repeated over `data`; an update gathers it where it is used, one layer at a time. The
sampler gathers the whole policy: decoding reads all of it at every token. Devices
along `tensor` are neighbors, and share their rows.

Functions whose docstring says "per device" run inside `jax.shard_map`; the others
run on the host or on global arrays.
"""

import math

import jax
import numpy as np

AXES = ("data", "fsdp")  # that split rows
MESH_AXES = (*AXES, "tensor")
BATCH = jax.P(AXES)
REPLICATED = jax.P()


def make_mesh(fsdp=1, tensor=1):
    """Returns the mesh over all devices.

    Args:
        fsdp: devices, or groups of `tensor` devices, that share one policy.
        tensor: devices that share the rows of a batch.

    Raises:
        ValueError: the number of devices is not a multiple.
    """
    devices = jax.device_count()
    _check_divides("tensor", tensor, devices, f"the {devices} devices")
    groups = devices // tensor
    what = f"the {devices} devices" + (f" / tensor={tensor}" if tensor > 1 else "")
    _check_divides("fsdp", fsdp, groups, what)
    axis_types = (jax.sharding.AxisType.Auto,) * len(MESH_AXES)
    # In the order of processes, so that a process holds neighboring rows.
    ordered = sorted(jax.devices(), key=lambda d: (d.process_index, d.id))
    grid = np.array(ordered).reshape(groups // fsdp, fsdp, tensor)
    return jax.sharding.Mesh(grid, MESH_AXES, axis_types=axis_types)


def _check_divides(name, size, count, what):
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


def all_gather_params(tree, specs):
    """Returns whole parameters from shards, per device; transposed, it scatters."""

    def whole(leaf, spec):
        if "fsdp" not in spec:
            return leaf
        return jax.lax.all_gather(leaf, "fsdp", axis=spec.index("fsdp"), tiled=True)

    return jax.tree.map(whole, tree, specs)


def psum_replicated(grads, specs):
    """Returns gradients summed over the devices that hold the same parameters."""

    def add(grad, spec):
        copies = tuple(axis for axis in AXES if axis not in spec)
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
