"""Devices along `tensor` share the policy, and change nothing that is learned."""

import shutil

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import TINY, command, measured, mesh_of, run
from support import processes
from support.processes import LIMIT, free_port
from support.updates import OPTIMIZER, example_batch

from maspo_jax import distributed
from maspo_jax.cli import evaluate
from maspo_jax.learning import train_state as states
from maspo_jax.learning.update import make_logprobs, make_update
from maspo_jax.objectives import gates
from maspo_jax.objectives.metrics import of_update
from maspo_jax.objectives.surrogate import policy_loss
from maspo_jax.objectives.terms import Method
from maspo_jax.rollout import responder, weights, worker
from maspo_jax.runs import run_folder


def placed(policy, layout):
    """Returns a copy of the state of training on a mesh, the mesh and the specs."""
    mesh = mesh_of(*layout)
    state = states.adopt(jax.tree.map(jnp.array, policy), OPTIMIZER, mesh)
    specs = jax.tree.map(lambda leaf: leaf.sharding.spec, state.policy)
    return state, mesh, specs


@pytest.mark.parametrize(
    "kind, layout, microbatches",
    [
        ("tiny_policy", (2, 2, 2), 2),
        ("untied_policy", (2, 2, 2), 1),
        ("untied_policy", (1, 4, 2), 1),
    ],
)
def test_an_update_does_not_depend_on_it(kind, layout, microbatches, request):
    policy = request.getfixturevalue(kind)
    batch = example_batch(policy)

    def update(layout, microbatches):
        state, mesh, specs = placed(policy, layout)
        step = make_update(
            policy_loss, OPTIMIZER, mesh, specs, microbatches=microbatches
        )
        rows = distributed.shard_rows(batch, mesh)
        state, metrics, trace = step(state, rows, Method(gates.Maspo()))
        return *jax.device_get((state, trace)), of_update(metrics)

    got, expected = update(layout, microbatches), update((1, 1, 1), 1)
    chex.assert_trees_all_close(
        jax.tree.leaves(got), jax.tree.leaves(expected), rtol=1e-4, atol=1e-5
    )


def test_every_device_holds_a_share_of_the_state(untied_policy):
    """One part in fsdp * tensor of every matrix and of its moments, biases over one."""
    state, _, _ = placed(untied_policy, (2, 2, 2))
    for path, leaf in jax.tree.leaves_with_path(state):
        part = leaf.size // np.prod(leaf.sharding.shard_shape(leaf.shape))
        name = jax.tree_util.keystr(path[:-1], simple=True, separator="/")
        expected = 1
        if name.endswith(("kernel", "embedding")):
            expected = 4
        elif name.endswith("bias"):
            expected = 2
        assert part == expected, name


def test_log_probabilities_do_not_depend_on_it(untied_policy):
    sequences = example_batch(untied_policy).sequences
    scores = []
    for layout in ((1, 1, 1), (2, 2, 2)):
        state, mesh, specs = placed(untied_policy, layout)
        score = make_logprobs(mesh, specs)
        rows = distributed.shard_rows(sequences, mesh)
        scores.append(np.asarray(score(state.policy, rows)))
    np.testing.assert_allclose(*scores, atol=1e-5)


# Two heads to share, and updates so small that rounding does not part runs.
WORDS = (
    *("--policy.query-heads", 4, "--policy.key-value-heads", 2, "--steps", 2),
    *("--sampling.prompts", 16),  # of which half are drawn at a time below
    *("--sft.optimization.learning-rate", 3e-3, "--sft.optimization.epsilon"),
    *(1e-3, "--optimization.learning-rate", 1e-4, "--optimization.epsilon", 1e-3),
)
SHARED = (
    *("--fsdp", 2, "--tensor", 2, "--sampling.gather", "layer"),
    *("--sampling.wave", 8),
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run in which every device holds the whole policy."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    status, output = command(TINY, "--run", folder, *WORDS, "--checkpoint-every", 1)
    assert status == 0, output
    for line in run_folder.read_metrics(folder, "reinforcement"):
        assert 0 < line["reward"] < 1 and line["grad_norm"] > 0
    return folder


@pytest.fixture
def drawn(monkeypatch):
    """Records, of what training and evaluation draw, by whom and from which policy.

    When it is gathered, the sizes of the mesh, and whether it was laid out before.
    """
    drawn = set()

    def record(module, name, places):
        draw = getattr(module, name)

        def recorded(policy, *rest):
            decoding, mesh = (rest[place] for place in places)
            specs = weights.sampling_specs(policy, mesh, decoding.gather)
            pairs = zip(*map(jax.tree.leaves, (policy, specs)), strict=True)
            placed = all(leaf.sharding.spec == spec for leaf, spec in pairs)
            drawn.add((name, decoding.gather, tuple(mesh.shape.values()), placed))
            return draw(policy, *rest)

        monkeypatch.setattr(module, name, recorded)

    record(worker, "sample", (2, 3))
    record(responder, "draw", (4, 5))
    return drawn


@pytest.mark.parametrize("begun", [False, True])
def test_a_run_does_not_depend_on_it(whole, tmp_path, begun, drawn):
    """From its start, supervised training included, or from a checkpoint without."""
    folder = tmp_path / "shared"
    if begun:
        shutil.copytree(whole, folder)
        shutil.rmtree(folder / "checkpoints" / "reinforcement" / "2")
    status, output = command(TINY, "--run", folder, *WORDS, *SHARED)
    assert status == 0, output
    assert drawn == {(name, "layer", (2, 2, 2), True) for name in ("sample", "draw")}
    same_but_for_rounding(folder, whole)


@pytest.mark.slow
def test_two_processes_whose_devices_share_it_equal_one(whole, tmp_path):
    folder, address = tmp_path / "run", f"localhost:{free_port()}"
    words = TINY, "--run", folder, *WORDS, *SHARED
    pod = [
        processes.launch("train", *words, "--pod", f"{address}/{index}/2", devices=4)
        for index in range(2)
    ]
    outputs = [process.communicate(timeout=LIMIT)[0] for process in pod]
    assert [process.returncode for process in pod] == [0, 0], "\n".join(outputs)
    same_but_for_rounding(folder, whole)


def same_but_for_rounding(folder, whole):
    for got, expected in zip(measured(folder), measured(whole), strict=True):
        assert (got.pop("stage"), got.pop("step")) == (
            expected.pop("stage"),
            expected.pop("step"),
        )
        assert got == pytest.approx(expected, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("gather", ["once", "layer"])
def test_an_evaluation_does_not_depend_on_it(
    whole, chain_files, tmp_path, gather, drawn
):
    words = whole, chain_files[0], "--batch", 32, "--samples", 8
    shared = ("--fsdp", 2, "--tensor", 2, "--gather", gather)
    for name, layout in (("whole", ()), ("shared", shared)):
        status, output = run(evaluate, *words, *layout, "--out", tmp_path / name)
        assert status == 0, output
    assert drawn == {
        ("draw", "once", (8, 1, 1), True),
        ("draw", gather, (2, 2, 2), True),
    }
    lines = [
        (tmp_path / name / "short.jsonl").read_bytes() for name in ("whole", "shared")
    ]
    assert lines[0] == lines[1]
