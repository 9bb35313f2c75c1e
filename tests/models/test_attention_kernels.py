"""The kernels of accelerators compute what the equation says, also on a mesh.

That of TPUs is interpreted on the CPU, step by step. That of GPUs is replaced by what
JAX computes for the same arguments: its rows begin in the first column.
"""

import dataclasses
import functools
import json
import logging
import runpy

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT, mesh_of, noisy
from flax import nnx
from jax.ad_checkpoint import checkpoint_policies
from jax.experimental import topologies
from support.updates import OPTIMIZER, example_batch

from maspo_jax import distributed
from maspo_jax.learning import train_state as states
from maspo_jax.learning.update import make_update
from maspo_jax.models import attention
from maspo_jax.models.attention import choice, cudnn, reference, splash
from maspo_jax.models.decoder import Decoder
from maspo_jax.objectives import gates
from maspo_jax.objectives.surrogate import policy_loss
from maspo_jax.objectives.terms import Method

COLUMN = np.arange(200)[None]
# Which text of its row each token belongs to; longer than a block of 128.
ONE_TEXT = {
    "whole": np.ones((2, 200)),
    "left_padded": COLUMN >= np.array([[0], [130], [199]]),
    "padded_on_both_sides": (COLUMN > 6) & (COLUMN < [[9], [120], [200]]),
    "with_gaps": COLUMN % np.array([[2], [3]]) > 0,
    "nothing_but_padding": np.zeros((2, 200)),
}
PACKED = {
    "packed": np.array(
        [[1] * 110 + [2] * 50 + [3] * 40, [0] * 3 + [4] * 150 + [2] * 45 + [0] * 2]
    ),
}

# As they run here.
KERNELS = {
    "splash": functools.partial(splash, block=128, interpret=True),
    "cudnn": functools.partial(cudnn, implementation="xla"),
}
every_kernel = pytest.mark.parametrize("name", KERNELS)


def inputs(kind, dtype=jnp.float32, heads=6, groups=2, width=24):
    """Queries, keys, values, a cotangent and the layout."""
    if kind in ONE_TEXT:
        layout = attention.layout_of_mask(jnp.asarray(ONE_TEXT[kind], bool))
    else:
        layout = attention.layout_of_segments(jnp.asarray(PACKED[kind], jnp.int32))
    rows, steps = layout.segments.shape
    keys = jax.random.split(jax.random.key(3), 4)
    wide, shared = (rows, steps, heads, width), (rows, groups, steps, width)
    arrays = [
        jax.random.normal(key, shape).astype(dtype)
        for key, shape in zip(keys, (wide, shared, shared, wide), strict=True)
    ]
    return *arrays, layout


@functools.partial(jax.jit, static_argnums=0)
def value_and_gradients(attend, query, key, value, cotangent, layout):
    mixed, back = jax.vjp(lambda *of: attend(*of, layout), query, key, value)
    return mixed, *back(cotangent)


def errors(got, exact):
    """How far arrays are from exact ones, of the length of those."""
    pairs = zip(got, exact, strict=True)
    wide = [(np.asarray(one, np.float32), np.asarray(other)) for one, other in pairs]
    return np.array([np.linalg.norm(x - y) / np.linalg.norm(y) for x, y in wide])


@pytest.mark.parametrize(
    "name, kind",
    [("splash", kind) for kind in (*ONE_TEXT, *PACKED)]
    + [("cudnn", kind) for kind in ONE_TEXT],
)
def test_a_kernel_is_the_equation(name, kind):
    arrays = inputs(kind)
    got = value_and_gradients(KERNELS[name], *arrays)
    expected = value_and_gradients(reference, *arrays)
    chex.assert_trees_all_close(got, expected, rtol=1e-5, atol=1e-5)
    assert all(np.isfinite(leaf).all() for leaf in got)
    padding = np.asarray(arrays[-1].segments) == 0
    assert not np.asarray(got[0])[padding].any()


@pytest.mark.parametrize(
    "kind, lengths", [("left_padded", [200, 70, 1]), ("nothing_but_padding", [1, 1])]
)
def test_cudnn_is_given_lengths_and_no_mask(kind, lengths, monkeypatch):
    """None is zero, for the mean over nothing is not a number."""
    given = []

    def record(query, key, value, **settings):
        given.append(settings)
        return query

    monkeypatch.setattr(jax.nn, "dot_product_attention", record)
    query, key, value, _, layout = inputs(kind, jnp.bfloat16)
    cudnn(query, key, value, layout)
    (settings,) = given
    for name in ("query_seq_lengths", "key_value_seq_lengths"):
        assert settings.pop(name).tolist() == lengths
    assert settings == {"is_causal": True, "implementation": "cudnn"}


@pytest.mark.parametrize("heads, groups", [(3, 3), (7, 1)])
@every_kernel
def test_heads_share_keys_in_order(name, heads, groups):
    arrays = inputs("left_padded", heads=heads, groups=groups, width=8)
    got = value_and_gradients(KERNELS[name], *arrays)
    expected = value_and_gradients(reference, *arrays)
    chex.assert_trees_all_close(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("width", [64, 160])
@every_kernel
def test_a_kernel_in_bfloat16_is_as_near_to_float32_as_the_reference(name, width):
    """Gradients of splash by a fifth less where a query is scaled by no power of 2."""
    exact = value_and_gradients(reference, *inputs("left_padded", width=width))
    arrays = inputs("left_padded", jnp.bfloat16, width=width)
    got = value_and_gradients(KERNELS[name], *arrays)
    assert {leaf.dtype for leaf in got} == {jnp.dtype("bfloat16")}
    plain = errors(value_and_gradients(reference, *arrays), exact)
    assert (errors(got, exact) <= [1.02 * plain[0], *1.2 * plain[1:]]).all()


def settings_for(name):
    """What a decoder must be for a kernel, and the platform that has it."""
    dtype, platform = {"splash": ("float32", "tpu"), "cudnn": ("bfloat16", "gpu")}[name]
    return {"attention": name, "compute_dtype": dtype}, platform


@pytest.fixture
def pretend(monkeypatch):
    """Takes the devices for others, and runs the kernel of those as it runs here."""

    def pretend(platform):
        monkeypatch.setattr(jax, "default_backend", lambda: platform)
        monkeypatch.setattr(choice, "target_platform", lambda: platform)

    for name, attend in KERNELS.items():
        monkeypatch.setitem(attention.IMPLEMENTATIONS, name, attend)
    choice.failure.cache_clear()
    yield pretend
    choice.failure.cache_clear()


def updated(policy, data=1, fsdp=1, tensor=1, microbatches=1):
    """One update of a policy on a mesh."""
    mesh = mesh_of(data, fsdp, tensor)
    skeleton = states.skeleton(policy.config, OPTIMIZER, mesh)
    specs = jax.tree.map(lambda leaf: leaf.sharding.spec, skeleton.policy)
    state = states.adopt(jax.tree.map(jnp.array, policy), OPTIMIZER, mesh)
    update = make_update(policy_loss, OPTIMIZER, mesh, specs, 1.0, microbatches)
    rows = distributed.shard_rows(example_batch(policy), mesh)
    state, metrics, _ = update(state, rows, Method(gates.Maspo()))
    return jax.device_get((state.policy, metrics.grad_norm))


@pytest.fixture
def policy_with(tiny_config):
    """Makes a tiny policy, always of the same parameters."""

    def policy_with(**settings):
        # cuDNN wants heads of a multiple of 8.
        config = dataclasses.replace(tiny_config, head_width=8, **settings)
        return noisy(jax.jit(lambda: Decoder(config, nnx.Rngs(0)))())

    return policy_with


@every_kernel
def test_eight_devices_equal_one(name, policy_with, pretend):
    """And equal the reference, where varying axes are checked, as in an update."""
    settings, platform = settings_for(name)
    pretend(platform)
    plain = updated(policy_with(**settings | {"attention": "reference"}))
    policy = policy_with(**settings)
    near = 1e-5 if settings["compute_dtype"] == "float32" else 2e-3
    got = updated(policy, 2, 2, 2, microbatches=2)
    chex.assert_trees_all_close(
        *map(jax.tree.leaves, (got, plain)), rtol=10 * near, atol=near
    )


@every_kernel
def test_a_decoder_reads_with_the_kernel_of_its_setting(name, policy_with, pretend):
    settings, platform = settings_for(name)
    pretend(platform)
    tokens = jax.random.randint(jax.random.key(2), (4, 9), 0, 24)
    mask = np.arange(9)[None] >= np.array([[0], [3], [1], [8]])
    layout = attention.layout_of_mask(jnp.asarray(mask))
    got = policy_with(**settings)(tokens, layout)[0]
    plain = policy_with(**settings | {"attention": "reference"})
    expected = plain(tokens, layout)[0]
    near = 1e-5 if got.dtype == jnp.float32 else 0.1
    chex.assert_trees_all_close(got[mask], expected[mask], rtol=near, atol=near)


LONG_ROW = attention.layout_of_mask(np.ones((1, 2048), bool))
PACKED_ROW = attention.layout_of_segments(jnp.ones((1, 2048), jnp.int32))


@pytest.mark.parametrize(
    "platform, layout, dtype, width, expected",
    [
        ("cpu", LONG_ROW, "bfloat16", 128, "chunked"),
        ("tpu", LONG_ROW, "bfloat16", 128, "splash"),
        ("tpu", PACKED_ROW, "float32", 64, "splash"),
        ("gpu", LONG_ROW, "bfloat16", 128, "cudnn"),
        ("gpu", LONG_ROW, "float32", 128, "chunked"),
        ("gpu", LONG_ROW, "bfloat16", 100, "chunked"),
        ("gpu", PACKED_ROW, "bfloat16", 128, "chunked"),
    ],
)
def test_long_rows_get_the_kernel_of_the_platform(
    platform, layout, dtype, width, expected, pretend, monkeypatch
):
    pretend(platform)
    monkeypatch.setattr(choice, "_try", lambda *of: None)
    chosen = attention.choose_attention("auto", layout, dtype, width)
    assert chosen is attention.IMPLEMENTATIONS[expected]
    short = attention.layout_of_mask(np.ones((1, 64), bool))
    assert attention.choose_attention("auto", short, dtype, width) is reference


def raising(*arrays, **settings):
    raise RuntimeError("no such instruction\nand much else")


def far_off(query, key, value, layout):
    return 1.5 * reference(query, key, value, layout)


@pytest.mark.parametrize(
    "kernel, reason",
    [
        (raising, "RuntimeError: no such instruction"),
        (far_off, "its results are off by 50.0%"),
    ],
)
def test_a_kernel_that_does_not_work_is_not_chosen(
    kernel, reason, pretend, monkeypatch, caplog
):
    """It is tried once, also while a program for a mesh is traced, and that is said."""
    pretend("tpu")
    monkeypatch.setitem(attention.IMPLEMENTATIONS, "splash", kernel)
    chosen = []

    @functools.partial(
        jax.shard_map,
        mesh=mesh_of(4, 2),
        in_specs=distributed.BATCH,
        out_specs=distributed.BATCH,
    )
    def traced(segments):
        layout = attention.layout_of_mask(segments > 0)
        for _ in range(2):
            chosen.append(attention.choose_attention("auto", layout, "float32", 8))
        return segments

    with caplog.at_level(logging.WARNING):
        jax.jit(traced)(jnp.ones((8, 2048), jnp.int32))
    assert set(chosen) == {attention.chunked}
    (record,) = caplog.records
    assert record.getMessage() == f"attention: splash cannot be used: {reason}"


@every_kernel
def test_a_kernel_that_works_passes_its_probe(name, pretend, caplog):
    settings, platform = settings_for(name)
    pretend(platform)
    assert choice.failure(name, platform, settings["compute_dtype"], 16) is None
    assert not caplog.records


@pytest.mark.parametrize(
    "platform, expected", [("tpu", "splash"), ("gpu", "chunked"), ("cpu", "chunked")]
)
def test_devices_that_are_not_here_decide(platform, expected):
    """The program is for the devices of its mesh, not for those of this machine."""
    choice.failure.cache_clear()
    device = jax.sharding.AbstractDevice("some", 1, platform)
    mesh = jax.sharding.AbstractMesh((2,), ("data",), abstract_device=device)
    with jax.sharding.use_abstract_mesh(mesh):
        assert attention.target_platform() == platform
        chosen = attention.choose_attention("auto", LONG_ROW, "bfloat16", 128)
    assert chosen is attention.IMPLEMENTATIONS[expected]
    assert attention.target_platform() == "cpu"


@pytest.mark.parametrize(
    "name, platform, dtype, width, packed, reason",
    [
        ("splash", "cpu", "float32", 64, False, "needs a TPU"),
        ("splash", "gpu", "float32", 64, False, "needs a TPU"),
        ("cudnn", "tpu", "bfloat16", 64, False, "needs a GPU"),
        ("cudnn", "gpu", "float32", 64, False, "in bfloat16 only"),
        ("cudnn", "gpu", "bfloat16", 100, False, "head_width=100"),
        ("cudnn", "gpu", "bfloat16", 512, False, "head_width=512"),
        ("cudnn", "gpu", "bfloat16", 64, True, "one text only"),
    ],
)
def test_what_the_backend_lacks_is_refused(
    name, platform, dtype, width, packed, reason, pretend
):
    pretend(platform)
    layout = PACKED_ROW if packed else LONG_ROW
    for refuse in (
        lambda: attention.choose_attention(name, layout, dtype, width),
        lambda: attention.check_attention(name, dtype, width, packed),
    ):
        with pytest.raises(ValueError, match=f"attention='{name}' .*{reason}.*choose"):
            refuse()


def kernels_of(jaxpr):
    """The names of all kernels that a program calls."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "pallas_call":
            yield equation.params["name"]
        for value in jax.tree.leaves(tuple(equation.params.values())):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns") and equation.primitive.name != "pallas_call":
                yield from kernels_of(inner)


@pytest.mark.parametrize("names, calls", [((), 2), (("attention",), 1)])
@pytest.mark.parametrize("manual", [False, True])
def test_what_is_saved_of_attention_is_not_computed_again(names, calls, manual):
    """Under a policy of `jax.checkpoint` that goes by names."""
    query, key, value, _, layout = inputs("whole", groups=1, heads=2)
    policy = checkpoint_policies.save_only_these_names(*names)

    def total(query, segments):
        of = attention.RowLayout(segments, segments)
        # Keys that all devices share, as no row of a policy does.
        memory = key[: len(query)], value[: len(query)]
        attend = lambda q: jnp.sum(KERNELS["splash"](q, *memory, of) ** 2)
        return jax.checkpoint(attend, policy=policy)(query)

    program = jax.grad(total)
    if manual:
        program = jax.shard_map(
            program,
            mesh=mesh_of(2, 1),
            in_specs=distributed.BATCH,
            out_specs=distributed.BATCH,
        )
    found = list(kernels_of(jax.make_jaxpr(program)(query, layout.segments).jaxpr))
    assert sum("fwd" in name for name in found) == calls
    assert sum("dkv" in name for name in found) == 1


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_kernel_of_tpus_can_be_lowered_for_them(dtype):
    """From here, in both directions; its products of float32 are those of float32."""
    *arrays, layout = inputs("left_padded", dtype, width=64)
    program = jax.jit(functools.partial(value_and_gradients, splash))
    traced = program.trace(*arrays, layout)
    text = traced.lower(lowering_platforms=("tpu",)).as_text()
    assert text.count("tpu_custom_call") >= 3
    exact = str(traced.jaxpr).count("HIGHEST")
    assert exact if dtype == jnp.float32 else not exact


@pytest.mark.slow
@pytest.mark.parametrize("dtype, width", [("bfloat16", 128), ("float32", 64)])
def test_the_compiler_of_tpus_takes_the_kernel(dtype, width, monkeypatch):
    """For chips that are not here, where varying axes are checked; memory is linear."""
    pytest.importorskip("libtpu")
    about = {"SKIP_MDS_QUERY": 1, "WORKER_HOSTNAMES": "localhost"}
    for name, value in about.items():  # or it asks a server that is not there
        monkeypatch.setenv(f"TPU_{name}", str(value))
    monkeypatch.setenv("TPU_ACCELERATOR_TYPE", "v5litepod-4")
    chips = topologies.get_topology_desc(platform="tpu", topology_name="v5p:2x2x1")
    kinds = (jax.sharding.AxisType.Auto,)
    mesh = jax.sharding.Mesh(np.array(chips.devices), ("data",), axis_types=kinds)
    rows, steps = jax.P("data"), 4095

    def both(*arrays):
        attend = attention.choose_attention("splash", arrays[-1], dtype, width)
        return value_and_gradients(attend, *arrays)

    def shape(*sizes, of=dtype):
        split = jax.NamedSharding(mesh, rows)
        return jax.ShapeDtypeStruct((4, *sizes), of, sharding=split)

    wide, shared = shape(steps, 12, width), shape(2, steps, width)
    whole = shape(steps, of=jnp.int32)
    layout = attention.RowLayout(whole, whole, packed=False)
    program = jax.jit(jax.shard_map(both, mesh=mesh, in_specs=rows, out_specs=rows))
    compiled = program.lower(wide, shared, shared, wide, layout).compile()
    assert compiled.as_text().count("tpu_custom_call") == 3
    scores = 12 * steps**2 * 4  # of one row
    assert compiled.memory_analysis().temp_size_in_bytes < scores / 4


def test_the_benchmark_notices_what_is_wrong(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(ROOT / "experiments" / "benchmarks")
    script = runpy.run_path(str(ROOT / "experiments" / "benchmarks" / "attention.py"))
    words = "--lengths 40 --rows 2 --heads 4 2 --width 8 --repeats 1".split()
    file = tmp_path / "attention.json"
    assert script["main"]([*words, "--json", str(file)]) == 0
    rows = json.loads(file.read_text())["rows"]
    checks = {(row["implementation"], row["dtype"]): row["check"] for row in rows}
    assert checks["chunked", "bfloat16"] == checks["chunked", "float32"] == "ok"
    assert checks["splash", "float32"].startswith("attention='splash' needs a TPU")
    monkeypatch.setitem(attention.IMPLEMENTATIONS, "chunked", far_off)
    assert script["main"](words) == 1
    assert "FAILS: value is 0.5 away" in capsys.readouterr().out
