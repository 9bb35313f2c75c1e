"""Eight simulated devices, strict shapes, and what many tests share.

The default device is a CPU everywhere, so that the tests mean the same on a laptop
and on a machine with accelerators. Compiled programs are kept on disk between runs.
"""

import contextlib
import dataclasses
import gzip
import io
import json
import pathlib

import jax
import numpy as np
import orbax.checkpoint as ocp
import pyarrow
import pyarrow.parquet
import pytest
from flax import nnx
from support import sweeps

from maspo_jax import distributed
from maspo_jax.cli import evaluate, train
from maspo_jax.data.sources.arithmetic import Chains
from maspo_jax.models.decoder import Decoder, DecoderConfig

ROOT = pathlib.Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"
EXPERIMENTS = ROOT / "tests" / "experiments"
REFERENCE_DATA = ROOT / "tests" / "reference_data"
TINY = str(EXPERIMENTS / "tiny.py")

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
# The machine code of tiny programs need not be good: making it is most of the time.
jax.config.update("jax_disable_most_optimizations", True)
jax.config.update("jax_compilation_cache_dir", str(ROOT / ".cache" / "jax"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def pytest_collection_modifyitems(items):
    """Marks what reads ../shared, and skips it where that is not there."""
    skip = pytest.mark.skip(reason="the data is not beside this checkout (../shared)")
    for item in items:
        if "shared" in getattr(item, "fixturenames", ()):
            item.add_marker("shared")
        if item.get_closest_marker("shared") and not SHARED.is_dir():
            item.add_marker(skip)


@pytest.fixture(scope="session")
def shared():
    """The folder of reference numbers and real problems that lies beside ours."""
    return SHARED


@pytest.fixture(scope="session")
def tiny_config():
    """A policy with every option of the decoder, and no two sizes alike."""
    return DecoderConfig(
        vocabulary=24,
        width=16,
        depth=3,
        query_heads=4,
        key_value_heads=2,
        head_width=6,
        feed_forward=40,
        qkv_bias=True,
        qk_norm=True,
    )


@pytest.fixture(scope="session")
def tiny_policy(tiny_config):
    """Its parameters: none is zero or one, so that none can be dropped unseen."""
    return noisy(jax.jit(lambda: Decoder(tiny_config, nnx.Rngs(0)))())


@pytest.fixture(scope="session")
def untied_policy(tiny_config):
    """The same with a head of its own, as the policies of the papers have."""
    config = dataclasses.replace(tiny_config, tied_head=False)
    return noisy(jax.jit(lambda: Decoder(config, nnx.Rngs(0)))())


@jax.jit
def noisy(policy, scale=0.3):
    """Returns a policy whose every parameter is moved at random."""
    leaves, structure = jax.tree.flatten(policy)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    moved = [
        leaf + scale * jax.random.normal(key, leaf.shape, leaf.dtype)
        for leaf, key in zip(leaves, keys, strict=True)
    ]
    return jax.tree.unflatten(structure, moved)


def mesh_of(data, fsdp, tensor=1):
    """Returns a mesh over the first `data * fsdp * tensor` devices."""
    kinds = (jax.sharding.AxisType.Auto,) * 3
    devices = jax.devices()[: data * fsdp * tensor]
    shape = data, fsdp, tensor
    return jax.make_mesh(shape, distributed.AXES, kinds, devices=devices)


def command(*words):
    """Trains in this process. Returns the status and what was printed."""
    return run(train, *words)


def run(module, *words):
    """Runs the command of a module. Returns its status and what it printed."""
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            status = module.main([str(word) for word in words])
        except SystemExit as exit:
            status = exit.code
    return status, output.getvalue() + errors.getvalue()


def measured(folder):
    """Returns all metrics of a run but those that measure time."""
    return [
        {
            name: value
            for name, value in json.loads(line).items()
            if not name.startswith("time/") and name != "tokens_per_second"
        }
        for line in (folder / "metrics.jsonl").read_text().splitlines()
    ]


def arrays(folder):
    """Returns the bytes of every array of the newest checkpoint, by name."""
    return {name: value.tobytes() for name, value in restored(folder).items()}


def restored(folder):
    """Returns every array of the newest checkpoint, by name."""
    stage = folder / "checkpoints" / "reinforcement"
    newest = max(int(step.name) for step in stage.iterdir())
    with ocp.StandardCheckpointer() as checkpointer:
        state = checkpointer.restore((stage / str(newest) / "state").absolute())
    return {name: np.asarray(value) for name, value in state.items()}


@pytest.fixture
def write(tmp_path):
    """Writes rows, dicts or lines of text, to a file of the kind its name says."""

    def write(*rows, name="some.jsonl"):
        path = tmp_path / name
        if name.endswith(".parquet"):
            table = pyarrow.Table.from_pylist(list(rows))
            pyarrow.parquet.write_table(table, path)
            return str(path)
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        data = "\n".join([*lines, ""])
        if name.endswith(".json"):
            data = f"[{', '.join(lines)}]"
        data = data.encode()
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return str(path)

    return write


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """The folder of a run with checkpoints after 2 and after 4 steps."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    status, output = command(EXPERIMENTS / "tiny_right.py", "--run", folder)
    assert status == 0, output
    return folder


@pytest.fixture(scope="session")
def chain_files(tmp_path_factory):
    """Two files of held-out chains, as words of the evaluation."""
    folder = tmp_path_factory.mktemp("problems")
    for name, numbers, count in (("short", 2, 9), ("twos", 2, 6)):
        source = Chains(numbers, split="test", seed=len(name))
        rows = [source[index] for index in range(count)]
        lines = [
            json.dumps({"id": p.id, "problem": p.question, "answer": p.answer})
            for p in rows
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    return [str(folder / "short.jsonl"), f"two={folder / 'twos.jsonl'}"]


@pytest.fixture(scope="session")
def evaluated(tiny_run, chain_files, tmp_path_factory):
    """The folder of an evaluation of both files, and what the command printed."""
    folder = tmp_path_factory.mktemp("evaluations") / "whole"
    words = ("--out", folder, "--batch", 32, "--samples", 8)
    status, output = run(evaluate, tiny_run, *chain_files, *words)
    assert status == 0, output
    return folder, output


@pytest.fixture(scope="session")
def tiny_sweep(tmp_path_factory):
    """The folder of a sweep of four trials with two seeds each, and its output."""
    room = tmp_path_factory.mktemp("sweeps")
    status, output = sweeps.swept(sweeps.write_sweep(room), room / "done")
    assert status == 0, output
    return room / "done", output
