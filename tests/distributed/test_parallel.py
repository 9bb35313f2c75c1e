"""How arrays are laid out, and what comes back."""

import dataclasses
import functools
import types

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import mesh_of
from flax import nnx

from maspo_jax import distributed
from maspo_jax.distributed import hosts
from maspo_jax.models import sharding
from maspo_jax.models.decoder import Decoder, DecoderConfig


def test_the_mesh_covers_all_devices():
    for fsdp in (1, 2, 4, 8):
        mesh = distributed.make_mesh(fsdp)
        assert dict(mesh.shape) == {"data": 8 // fsdp, "fsdp": fsdp, "tensor": 1}
        assert set(mesh.axis_types) == {jax.sharding.AxisType.Auto}


def test_a_process_holds_neighboring_rows_whatever_the_order_of_devices(monkeypatch):
    """On a pod, JAX may list the devices of different processes in turns."""

    @dataclasses.dataclass(frozen=True)
    class Device:
        process_index: int
        id: int

    devices = [Device(number % 2, number) for number in (3, 0, 2, 1)]
    monkeypatch.setattr(jax, "devices", lambda: devices)
    monkeypatch.setattr(jax, "device_count", lambda: len(devices))
    monkeypatch.setattr(jax.sharding, "Mesh", lambda grid, *_, **__: grid)
    grid = distributed.make_mesh(2)
    assert [device.process_index for device in grid.flat] == [0, 0, 1, 1]


def test_devices_along_tensor_are_neighbors():
    mesh = distributed.make_mesh(2, 2)
    assert dict(mesh.shape) == {"data": 2, "fsdp": 2, "tensor": 2}
    numbers = [[device.id for device in group] for group in mesh.devices.reshape(4, 2)]
    assert numbers == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_heads_are_shared_by_devices_of_one_process_or_refused():
    distributed.make_mesh(1, 8)
    devices = [types.SimpleNamespace(process_index=n // 2, id=n) for n in range(8)]
    message = r"tensor=4 does not divide the 2 devices of a process; .* \[1, 2\]"
    with pytest.raises(ValueError, match=message):
        distributed.make_mesh(1, 4, devices)
    with pytest.raises(ValueError, match=r"fsdp=8 .* / tensor=2; .* \[1, 2, 4\]"):
        distributed.make_mesh(8, 2, devices)


@pytest.mark.parametrize("fsdp", [0, 3, 16])
def test_a_mesh_that_does_not_fit_is_refused(fsdp):
    with pytest.raises(ValueError, match=rf"fsdp={fsdp} .*\[1, 2, 4, 8\]"):
        distributed.make_mesh(fsdp)


def test_matrices_are_split_and_the_rest_is_whole(tiny_policy):
    specs = sharding.param_specs(tiny_policy, mesh_of(1, 4))
    assert specs.embedding.get_value() == jax.P("fsdp")  # 24 x 16
    assert specs.norm.scale.get_value() == jax.P()
    assert specs.blocks.attention.query.kernel.get_value() == jax.P(None, "fsdp")
    assert specs.blocks.attention.query.bias.get_value() == jax.P()
    # No axis of a [16, 12] matrix but the first is a multiple of 8.
    wide = sharding.param_specs(tiny_policy, mesh_of(1, 8))
    assert wide.blocks.attention.key.kernel.get_value() == jax.P(None, "fsdp")
    single = sharding.param_specs(tiny_policy, mesh_of(8, 1))
    assert set(jax.tree.leaves(single)) == {jax.P()}


def test_a_matrix_that_cannot_be_split_stays_whole():
    """Nor is the axis that counts layers ever split."""
    sizes = {"width": 3, "query_heads": 1, "key_value_heads": 1, "head_width": 10}
    config = DecoderConfig(16, depth=8, feed_forward=5, tied_head=False, **sizes)
    policy = jax.eval_shape(lambda: Decoder(config, nnx.Rngs(0)))
    specs = sharding.param_specs(policy, mesh_of(2, 4))
    assert specs.blocks.feed_forward.gate.kernel.get_value() == jax.P()  # [8, 3, 5]
    assert specs.head.kernel.get_value() == jax.P(None, "fsdp")  # [3, 16]


@pytest.mark.parametrize("shape", [(2, 4), (8, 1), (1, 8), (2, 2, 2)])
def test_gathering_shards_gives_the_whole(tiny_policy, shape):
    mesh = mesh_of(*shape)
    specs = sharding.param_specs(tiny_policy, mesh)
    placed = jax.device_put(tiny_policy, distributed.named_shardings(specs, mesh))
    whole = jax.jit(
        jax.shard_map(
            lambda tree: jax.lax.pmean(
                distributed.pcast_varying(distributed.all_gather_params(tree, specs)),
                distributed.AXES,
            ),
            mesh=mesh,
            in_specs=(specs,),
            out_specs=distributed.REPLICATED,
        )
    )(placed)
    for got, expected in zip(
        jax.tree.leaves(whole), jax.tree.leaves(tiny_policy), strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_gathering_over_one_axis_leaves_the_shards_of_another(tiny_policy):
    mesh = mesh_of(1, 4, 2)
    specs = sharding.param_specs(tiny_policy, mesh)
    assert specs.embedding.get_value() == jax.P(("tensor", "fsdp"))
    assert specs.blocks.attention.query.kernel.get_value() == jax.P(
        None, "fsdp", "tensor"
    )
    placed = jax.device_put(tiny_policy, distributed.named_shardings(specs, mesh))
    left = distributed.gathered_specs(specs, ("fsdp",))
    assert left.embedding.get_value() == jax.P("tensor")
    assert set(jax.tree.leaves(distributed.gathered_specs(specs))) == {jax.P()}
    gather = functools.partial(distributed.all_gather_params, axes=("fsdp",))
    got = jax.jit(
        jax.shard_map(
            lambda tree: gather(tree, specs),
            mesh=mesh,
            in_specs=(specs,),
            out_specs=left,
            check_vma=False,  # of a gathered array, who holds what is not known
        )
    )(placed)
    chex.assert_trees_all_equal(got, tiny_policy)


@pytest.mark.parametrize("axes", [("fsdp",), ("tensor", "fsdp")])
def test_gradients_are_added_up_in_the_dtype_of_the_shards(axes):
    """Seven terms of 2**-8 beside a one: bfloat16 would drop each of them."""
    mesh, spec = mesh_of(1, 4, 2), jax.P(axes)
    share = jnp.where(jnp.arange(8) == 0, 1, 2.0**-8)

    def gradient(shard, share):
        gather = functools.partial(distributed.all_gather_params, dtype=jnp.bfloat16)
        whole, back = jax.vjp(lambda x: gather(x, spec), shard)
        assert whole.dtype == jnp.bfloat16
        (grads,) = back(jnp.broadcast_to(share.astype(whole.dtype), whole.shape))
        return distributed.psum_replicated(grads, spec)

    def of_device(shard, share):
        return gradient(distributed.pcast_varying(shard), share)

    program = jax.shard_map(
        of_device, mesh=mesh, in_specs=(spec, distributed.BATCH), out_specs=spec
    )
    grads = jax.jit(program)(jnp.zeros(16), share)
    np.testing.assert_array_equal(grads, np.full(16, 1 + 7 * 2.0**-8, np.float32))


@pytest.mark.parametrize("shape", [(4, 2), (2, 2, 2)])
def test_rows_come_back_in_order(shape):
    rows = {"a": np.arange(32).reshape(16, 2), "b": np.arange(16)}
    back = distributed.local_rows(distributed.shard_rows(rows, mesh_of(*shape)))
    np.testing.assert_array_equal(back["a"], rows["a"])
    np.testing.assert_array_equal(back["b"], rows["b"])


def test_a_process_on_its_own_owns_every_row():
    assert distributed.host_slice(12) == slice(0, 12)
    np.testing.assert_array_equal(
        distributed.all_gather_hosts(np.arange(3)), np.arange(3)
    )
    assert distributed.max_over_hosts(5) == 5
    distributed.assert_equal_across_hosts("x", "anything")
    distributed.initialize_distributed(None)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_processes_hold_neighboring_rows_in_their_order(monkeypatch, count):
    monkeypatch.setattr(jax, "process_count", lambda: count)
    rows = []
    for index in range(count):
        monkeypatch.setattr(jax, "process_index", lambda index=index: index)
        rows.append(np.arange(16)[distributed.host_slice(16)])
        assert len(rows[-1]) == 16 // count
    np.testing.assert_array_equal(np.concatenate(rows), np.arange(16))


@pytest.fixture
def other_process(monkeypatch):
    """Makes this process the first of two. Returns a list of what the other gives."""
    given = []

    def gather(rows, tiled):
        assert tiled
        theirs = given.pop(0)
        if rows.dtype == np.uint8 and rows.ndim == 2:  # texts, filled up to one width
            theirs = [np.frombuffer(text.encode(), np.uint8) for text in theirs]
            fill = lambda row: np.pad(
                row, (0, rows.shape[1] - len(row)), constant_values=255
            )
            theirs = np.stack([fill(row) for row in theirs])
        return np.concatenate([rows, theirs])

    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(jax, "process_index", lambda: 0)
    monkeypatch.setattr(hosts.multihost_utils, "process_allgather", gather)
    return given


def test_texts_of_processes_come_in_order_whatever_their_letters(other_process):
    other_process += [np.array([2]), ["ab"]]
    mine = ["länger: ½ → ∞", ""]
    assert distributed.all_gather_texts(mine) == [*mine, "ab"]
    other_process += [np.array([9]), ["neunBytes"]]
    assert distributed.all_gather_texts(["x"]) == ["x", "neunBytes"]


def test_an_error_of_another_process_ends_this_one(other_process):
    other_process += [np.array([True])]
    with pytest.raises(ValueError, match="another process of this pod refused"):
        with distributed.raise_on_all_hosts():
            pass
    other_process += [np.array([False])]
    with distributed.raise_on_all_hosts():
        pass
    other_process += [np.array([False])]
    with pytest.raises(KeyError), distributed.raise_on_all_hosts():
        raise KeyError("of this process")


@pytest.mark.parametrize(
    "pod", ["", "host:1", "host:1/0", "a/b/c", "host:x/0/2", "host:1/2/2"]
)
def test_a_pod_that_cannot_be_read_is_refused(pod):
    with pytest.raises(ValueError, match="HOST:PORT/INDEX/COUNT"):
        distributed.initialize_distributed(pod)
