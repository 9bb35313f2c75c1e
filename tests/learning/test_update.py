"""The layout of an update changes nothing but where it is computed."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import mesh_of
from support.updates import OPTIMIZER, example_batch

from maspo_jax import distributed
from maspo_jax.learning import train_state as states
from maspo_jax.learning.update import make_logprobs, make_update
from maspo_jax.models import sharding
from maspo_jax.objectives import gates
from maspo_jax.objectives.advantages import EntropyAdvantage
from maspo_jax.objectives.metrics import of_update
from maspo_jax.objectives.surrogate import fit, policy_loss, sft_loss, surrogate
from maspo_jax.objectives.terms import Method, shape_advantage
from maspo_jax.objectives.token_weights import token_mean
from maspo_jax.objectives.tokens import tokens_of
from maspo_jax.rollout.logprobs import response_logprobs
from maspo_jax.runs.metrics_log import Clock


@pytest.fixture(scope="module")
def batch(tiny_policy):
    return example_batch(tiny_policy)


@pytest.fixture(scope="module")
def run(tiny_policy):
    """Makes one update under a layout."""

    def run(
        batch,
        gate,
        data=1,
        fsdp=1,
        microbatches=1,
        loss=policy_loss,
        shaping=None,
        policy=tiny_policy,
    ):
        mesh = mesh_of(data, fsdp)
        skeleton = states.skeleton(policy.config, OPTIMIZER, mesh)
        specs = jax.tree.map(lambda leaf: leaf.sharding.spec, skeleton.policy)
        copy = jax.tree.map(jnp.array, policy)
        state = states.adopt(copy, OPTIMIZER, mesh)
        update = make_update(loss, OPTIMIZER, mesh, specs, microbatches=microbatches)
        rows = distributed.shard_rows(batch, mesh)
        state, metrics, trace = update(state, rows, Method(gate, shaping))
        assert state.policy.embedding.sharding.spec == (specs.embedding.get_value())
        state, trace = jax.device_get((state, trace))
        return state, of_update(metrics), trace

    return run


LAYOUTS = [(8, 1, 1), (4, 2, 1), (1, 8, 1), (2, 2, 2), (1, 1, 4), (4, 2, 2), (1, 2, 8)]


@pytest.mark.parametrize("loss", [policy_loss, sft_loss])
@pytest.mark.parametrize("data, fsdp, microbatches", LAYOUTS)
def test_layout_does_not_change_the_update(run, batch, data, fsdp, microbatches, loss):
    expected = run(batch, gates.Maspo(), loss=loss)
    got = run(batch, gates.Maspo(), data, fsdp, microbatches, loss)
    chex.assert_trees_all_close(
        jax.tree.leaves(got), jax.tree.leaves(expected), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("data, fsdp, microbatches", [(8, 1, 1), (1, 8, 1), (2, 2, 2)])
def test_layout_does_not_change_the_update_of_a_head_of_its_own(
    run, batch, untied_policy, data, fsdp, microbatches
):
    expected = run(batch, gates.Maspo(), policy=untied_policy)
    layout = data, fsdp, microbatches
    got = run(batch, gates.Maspo(), *layout, policy=untied_policy)
    assert np.abs(got[0].policy.head.kernel[...] - untied_policy.head.kernel[...]).any()
    chex.assert_trees_all_close(
        jax.tree.leaves(got), jax.tree.leaves(expected), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("kind", ["tiny_policy", "untied_policy"])
def test_an_update_is_the_optimizer_on_the_plain_gradient(run, batch, kind, request):
    """By other means: no scan, no shards, no microbatches."""
    policy = request.getfixturevalue(kind)

    def loss(policy):
        logprob, _ = response_logprobs(policy, batch.sequences, 1.0)
        return surrogate(logprob, batch, gates.Maspo())[0]

    grads = jax.jit(jax.grad(loss))(policy)
    steps, _ = OPTIMIZER.update(grads, OPTIMIZER.init(policy), policy)
    expected = optax.apply_updates(policy, steps)
    got = run(batch, gates.Maspo(), policy=policy)[0].policy
    chex.assert_trees_all_close(
        jax.tree.leaves(got), jax.tree.leaves(expected), atol=1e-5
    )


def test_a_mean_per_device_would_be_noticed(run, batch):
    """The rows are unequal enough for the layout test to mean something."""
    whole = run(batch, gates.Maspo())[1]["loss"]
    halves = []
    for half in (slice(0, 8), slice(8, 16)):
        part = jax.tree.map(lambda x, half=half: x[half], batch)
        part = part.replace(
            weight=np.asarray(token_mean(part.sequences.response_mask), np.float32)
        )
        halves.append(run(part, gates.Maspo())[1]["loss"])
    assert abs(np.mean(halves) - whole) > 1e-3


def test_off_policy_gates_differ(run, batch):
    norms = [
        run(batch, gate)[1]["grad_norm"]
        for gate in (gates.Clip(), gates.Maspo(), gates.Dgpo())
    ]
    assert len({round(float(norm), 5) for norm in norms}) == 3


def test_settings_of_a_gate_do_not_recompile(tiny_config, batch):
    mesh = mesh_of(2, 1)
    skeleton = states.skeleton(tiny_config, OPTIMIZER, mesh)
    specs = jax.tree.map(lambda leaf: leaf.sharding.spec, skeleton.policy)
    update = make_update(policy_loss, OPTIMIZER, mesh, specs)
    rows = distributed.shard_rows(batch, mesh)
    state = states.create(tiny_config, OPTIMIZER, mesh, jax.random.key(0))
    clock, losses, programs = Clock(None), [], []
    for alpha in (0.1, 0.3, 0.9):
        copy = jax.tree.map(jnp.array, state)
        _, metrics, _ = update(copy, rows, Method(gates.Maspo(alpha=alpha)))
        losses.append(float(metrics.loss))
        programs.append(clock.programs_compiled())
    assert programs[0] == programs[-1] > 0
    assert len(set(losses)) == 3


def test_the_gradient_is_limited_as_a_whole(run, batch, tiny_policy):
    metrics = run(batch, gates.Clip(), 4, 2)[1]
    assert metrics["grad_norm"] > 0.1
    np.testing.assert_allclose(metrics["update_norm"], 0.05, rtol=1e-5)
    size = np.sqrt(sum(np.sum(np.square(x)) for x in jax.tree.leaves(tiny_policy)))
    np.testing.assert_allclose(metrics["update_ratio"], 0.05 / size, rtol=1e-5)


@pytest.mark.parametrize("pieces", [1, 2])
def test_scores_in_pieces_and_on_devices_are_the_same(tiny_policy, batch, pieces):
    expected, _ = jax.jit(response_logprobs, static_argnums=2)(
        tiny_policy, batch.sequences, 0.7
    )
    mesh = mesh_of(4, 2)
    specs = sharding.param_specs(tiny_policy, mesh)
    policy = jax.device_put(tiny_policy, distributed.named_shardings(specs, mesh))
    score = make_logprobs(mesh, specs, 0.7, pieces)
    got = score(policy, distributed.shard_rows(batch.sequences, mesh))
    chex.assert_trees_all_close(np.asarray(got), np.asarray(expected), atol=1e-5)


def test_a_narrow_policy_keeps_its_dtype(tiny_config, batch):
    config = dataclasses.replace(tiny_config, dtype="bfloat16")
    mesh = mesh_of(4, 2)
    skeleton = states.skeleton(config, OPTIMIZER, mesh)
    specs = jax.tree.map(lambda leaf: leaf.sharding.spec, skeleton.policy)
    state = states.create(config, OPTIMIZER, mesh, jax.random.key(0))
    update = make_update(policy_loss, OPTIMIZER, mesh, specs, microbatches=2)
    state, metrics, _ = update(
        state, distributed.shard_rows(batch, mesh), Method(gates.Maspo())
    )
    assert state.policy.embedding.dtype == jnp.bfloat16
    assert np.isfinite(metrics.loss)


@pytest.mark.parametrize(
    "kind, data, fsdp, microbatches",
    [(gates.Bapo, 4, 2, 1), (gates.Bapo, 2, 2, 2), (gates.PaperBapo, 1, 1, 4)],
)
def test_bounds_are_fitted_to_the_whole_batch(
    run, batch, kind, data, fsdp, microbatches
):
    """No device and no microbatch may search for bounds of its own."""
    gate = kind(target=0.97 if kind is gates.Bapo else 0.56)
    expected = run(batch, gate)
    found = run(batch, gate, data, fsdp, microbatches)
    chex.assert_trees_all_close(found[0].policy, expected[0].policy, atol=1e-5)
    np.testing.assert_array_equal(found[2].gate, expected[2].gate)


@pytest.mark.parametrize("data, fsdp, microbatches", [(1, 1, 1), (2, 2, 2)])
def test_bounds_are_fitted_to_the_shaped_advantages(
    run, batch, tiny_policy, data, fsdp, microbatches
):
    gate, shaping = gates.PaperBapo(target=0.56), EntropyAdvantage(2.0, 1.1)
    logprob, entropy = jax.jit(response_logprobs, static_argnums=2)(
        tiny_policy, batch.sequences, 1.0
    )
    shaped = shape_advantage(entropy, batch, Method(gate, shaping))
    plain, expected = (
        fit(gate, tokens_of(logprob, None, rows), total=lambda number: number)
        for rows in (batch, shaped)
    )
    assert plain.upper > expected.upper + 0.1
    metrics = run(batch, gate, data, fsdp, microbatches, shaping=shaping)[1]
    np.testing.assert_allclose(metrics["bound_upper/mean"], expected.upper, rtol=1e-5)
    np.testing.assert_allclose(metrics["bound_lower/mean"], expected.lower, rtol=1e-5)
