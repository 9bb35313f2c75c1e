"""How arrays lie over devices: one mesh, rows over all of it, parameters over part.

The mesh has two axes. Every batch is split by rows over both. A matrix of the
policy, and of the optimizer state shaped like it, is split over `fsdp` and
repeated over `data`; an update gathers it where it is used, one layer at a time. The
sampler gathers the whole policy: decoding reads all of it at every token.

Functions whose docstring says "per device" run inside `jax.shard_map`; the others
run on the host or on global arrays.
"""

import contextlib
import hashlib

import jax
import numpy as np
from jax.experimental import multihost_utils

AXES = ("data", "fsdp")
JOIN_TIMEOUT = 60  # seconds
ROWS = jax.P(AXES)
WHOLE = jax.P()


def join(pod):
    """Makes this process one of several that compute together.

    Args:
        pod: None for a process on its own, "auto" on a TPU pod or another
            cluster that JAX recognizes, else "HOST:PORT/INDEX/COUNT": where
            process 0 listens, which process this is, and how many there are.
    """
    if pod is None:
        return
    if pod == "auto":
        try:
            jax.distributed.initialize()
        except ValueError as error:
            raise ValueError(
                f"pod='auto': JAX recognizes no cluster here ({error}); give "
                "'HOST:PORT/INDEX/COUNT' to each process"
            ) from error
        return
    try:
        address, index, count = pod.split("/")
        index, count = int(index), int(count)
        if not (0 <= index < count and address.rpartition(":")[2].isdecimal()):
            raise ValueError(pod)
    except ValueError as error:
        raise ValueError(
            f"pod={pod!r}: expected 'auto' or 'HOST:PORT/INDEX/COUNT', for "
            "example 'localhost:1234/0/2' for the first of two processes"
        ) from error
    print(
        f"process {index} of {count}: waiting for the others at {address}; JAX aborts "
        f"this one if they have not come within {JOIN_TIMEOUT} s",
        flush=True,
    )
    jax.distributed.initialize(
        address,
        count,
        index,
        initialization_timeout=JOIN_TIMEOUT,
        heartbeat_timeout_seconds=20,
    )


def make_mesh(fsdp=1):
    """Returns the mesh over all devices, `fsdp` of them sharing one policy."""
    devices = jax.device_count()
    if fsdp < 1 or devices % fsdp:
        raise ValueError(
            f"fsdp={fsdp} does not divide the {devices} devices; "
            f"choose one of {[n for n in range(1, devices + 1) if devices % n == 0]}"
        )
    axis_types = (jax.sharding.AxisType.Auto,) * len(AXES)
    # In the order of processes, so that a process holds neighboring rows.
    ordered = sorted(jax.devices(), key=lambda d: (d.process_index, d.id))
    grid = np.array(ordered).reshape(devices // fsdp, fsdp)
    return jax.sharding.Mesh(grid, AXES, axis_types=axis_types)


def specs(tree, mesh):
    """Returns the `PartitionSpec` of every leaf of a policy or optimizer state.

    The first axis of a matrix that the `fsdp` axis divides is split over it. The
    leading axis of whatever lies under `blocks` counts layers and stays whole.
    """
    size = mesh.shape["fsdp"]

    def spec(path, leaf):
        stacked = "blocks" in jax.tree_util.keystr(path, simple=True, separator="/")
        shape = leaf.shape[stacked:]
        if size == 1 or len(shape) < 2:
            return WHOLE
        divisible = [axis for axis, width in enumerate(shape) if width % size == 0]
        return jax.P(*[None] * (divisible[0] + stacked), "fsdp") if divisible else WHOLE

    return jax.tree_util.tree_map_with_path(spec, tree)


def shardings(specs, mesh):
    """Returns the tree of `NamedSharding` for a tree of `PartitionSpec`."""
    return jax.tree.map(lambda spec: jax.NamedSharding(mesh, spec), specs)


def layer(specs):
    """Returns the specs of one block, given those of the stacked blocks."""
    return jax.tree.map(lambda spec: jax.P(*spec[1:]), specs)


def stem(specs):
    """Returns the specs of a policy with those of its blocks left out."""
    return jax.tree_util.tree_map_with_path(
        lambda path, spec: WHOLE if "blocks" in jax.tree_util.keystr(path) else spec,
        specs,
    )


def gather(tree, specs):
    """Returns whole parameters from shards, per device; transposed, it scatters."""

    def whole(leaf, spec):
        if "fsdp" not in spec:
            return leaf
        return jax.lax.all_gather(leaf, "fsdp", axis=spec.index("fsdp"), tiled=True)

    return jax.tree.map(whole, tree, specs)


def add_copies(grads, specs):
    """Returns gradients summed over the devices that hold the same parameters."""

    def add(grad, spec):
        copies = tuple(axis for axis in AXES if axis not in spec)
        return jax.lax.psum(grad, copies) if copies else grad

    return jax.tree.map(add, grads, specs)


def vary(tree):
    """Marks a tree as differing between devices, per device.

    The gradient with respect to a parameter so marked is this device's share; that
    of an unmarked one arrives summed, at the price of a sum per use.
    """

    def cast(leaf):
        already = jax.typeof(leaf).manual_axis_type.varying
        missing = tuple(axis for axis in AXES if axis not in already)
        return jax.lax.pcast(leaf, missing, to="varying") if missing else leaf

    return jax.tree.map(cast, tree)


def spread(tree, mesh):
    """Returns global arrays split by rows, from the rows this process holds."""
    sharding = jax.NamedSharding(mesh, ROWS)
    return jax.tree.map(
        lambda rows: jax.make_array_from_process_local_data(sharding, np.asarray(rows)),
        tree,
    )


def own_rows(count):
    """Returns the slice of `count` rows of a global batch this process holds."""
    size = count // jax.process_count()
    return slice(jax.process_index() * size, (jax.process_index() + 1) * size)


def local(tree):
    """Returns as NumPy the rows of this process, from arrays split by rows."""

    def rows(array):
        shards = {s.index[0].start or 0: s.data for s in array.addressable_shards}
        return np.concatenate([np.asarray(shards[start]) for start in sorted(shards)])

    return jax.tree.map(rows, tree)


def everyone(rows):
    """Returns the rows of all processes, from those of each, as NumPy."""
    if jax.process_count() == 1:
        return np.asarray(rows)
    return multihost_utils.process_allgather(np.asarray(rows), tiled=True)


@contextlib.contextmanager
def all_or_none():
    """Ends the block in every process of a pod if it ends by an error in one.

    Raises:
        ValueError: in the processes that had no error of their own.
    """
    failed = True
    try:
        yield
        failed = False
    finally:
        failed = largest(failed)
    if failed:
        raise ValueError("another process of this pod refused; see what it says")


def everyones_texts(texts):
    """Returns the texts of all processes, in their order, from those of each."""
    if jax.process_count() == 1:
        return list(texts)
    rows = [np.frombuffer(text.encode(), np.uint8) for text in texts]
    width = int(largest(max(map(len, rows), default=0)))
    # A byte that UTF-8 never uses fills what is shorter.
    padded = [np.pad(row, (0, width - len(row)), constant_values=255) for row in rows]
    everyones = everyone(np.stack(padded))
    return [row[row != 255].tobytes().decode() for row in everyones]


def largest(number):
    """Returns the largest of one number per process."""
    return np.max(everyone(np.array([number])))


def same_everywhere(text, what):
    """Raises unless every process passes the same `text`."""
    digest = np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8)
    if not (everyone(digest[None]) == digest[None]).all():
        raise ValueError(
            f"the processes of this pod disagree about {what}: start all of them "
            "with the same command and the same files"
        )
