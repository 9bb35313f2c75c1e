"""The learning rate, what decays, and in which dtype moments are kept."""

import dataclasses
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import mesh_of
from support.programs import update_of
from support.updates import example_batch

from maspo_jax import distributed
from maspo_jax.config import Optimization
from maspo_jax.learning import train_state as states
from maspo_jax.learning.optimizer import (
    learning_rate,
    make_optimizer,
    round_stochastically,
)
from maspo_jax.objectives import gates
from maspo_jax.objectives.terms import Method


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_the_rate_rises_to_its_peak_and_ends_where_it_should(schedule):
    settings = Optimization(0.1, warmup_updates=4, schedule=schedule)
    rate = learning_rate(settings, 20)
    rates = np.array([float(rate(update)) for update in range(21)])
    np.testing.assert_allclose(rates[:5], [0.02, 0.04, 0.06, 0.08, 0.1], rtol=1e-5)
    end = 0.1 if schedule == "constant" else 0.01
    np.testing.assert_allclose(rates[20], end, rtol=1e-5)
    assert (np.diff(rates[4:]) <= 1e-9).all()


def test_without_warmup_the_first_update_has_the_full_rate():
    assert float(learning_rate(Optimization(0.1), 10)(0)) == pytest.approx(0.1)


def test_matrices_decay_and_nothing_else(tiny_policy):
    optimizer = make_optimizer(Optimization(1e-2, weight_decay=1.0), 10)
    state = optimizer.init(tiny_policy)
    zeros = jax.tree.map(jnp.zeros_like, tiny_policy)
    steps, _ = optimizer.update(zeros, state, tiny_policy)
    moved = {
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, leaf in jax.tree_util.tree_leaves_with_path(steps)
        if jnp.any(leaf != 0)
    }
    assert moved and all("kernel" in name or "embedding" in name for name in moved)
    assert len(moved) == 1 + 7  # the embedding, and the matrices of a block


def test_it_is_adamw_behind_a_limit_on_the_norm_of_the_whole_gradient():
    """Step by step in NumPy; the first gradient is ten times too long."""
    settings = Optimization(
        1e-2, beta1=0.8, beta2=0.95, epsilon=1e-3, weight_decay=0.1, max_grad_norm=0.5
    )
    optimizer = make_optimizer(settings, 10)
    rng = np.random.default_rng(0)
    params = {
        path: rng.normal(0, 1, shape)
        for path, shape in (("embedding", (6, 4)), ("norm/scale", (4,)))
    }
    tree = lambda values: {
        "embedding": {"value": jnp.float32(values["embedding"])},
        "norm": {"scale": {"value": jnp.float32(values["norm/scale"])}},
    }
    state = optimizer.init(tree(params))
    moments = [{name: np.zeros_like(params[name]) for name in params} for _ in "mv"]
    update = jax.jit(optimizer.update)
    for count, size in enumerate((5.0, 0.2, 1.0), 1):
        grads = {name: rng.normal(0, 1, params[name].shape) for name in params}
        norm = np.sqrt(sum(np.sum(grads[name] ** 2) for name in grads))
        grads = {name: size * grads[name] / norm for name in grads}
        steps, state = update(tree(grads), state, tree(params))
        found = {
            "embedding": steps["embedding"]["value"],
            "norm/scale": steps["norm"]["scale"]["value"],
        }
        for name in params:
            limited = grads[name] * min(1, 0.5 / size)
            first, second = (moments[n][name] for n in (0, 1))
            moments[0][name] = first = 0.8 * first + 0.2 * limited
            moments[1][name] = second = 0.95 * second + 0.05 * limited**2
            step = (first / (1 - 0.8**count)) / (
                np.sqrt(second / (1 - 0.95**count)) + 1e-3
            )
            decay = 0.1 * params[name] if name == "embedding" else 0
            expected = -1e-2 * (step + decay)
            np.testing.assert_allclose(found[name], expected, rtol=1e-4, atol=1e-7)
            params[name] = params[name] + expected


def test_its_settings_are_leaves_that_a_vmap_sweeps(tiny_policy):
    """As two optimizers, each with its own settings."""
    settings = Optimization(1e-2, warmup_updates=2, schedule="cosine", weight_decay=0.1)
    others = Optimization(2e-3, warmup_updates=2, schedule="cosine", weight_decay=0.0)
    optimizer = make_optimizer(settings, 10)
    grads = jax.tree.map(jnp.sign, tiny_policy)
    state = optimizer.init(tiny_policy)
    names = ("learning_rate", "weight_decay", "max_grad_norm")
    assert state.hyperparams.keys() == set(names)
    swept = {
        name: jnp.array([getattr(each, name) for each in (settings, others)])
        for name in names
    }

    def two_updates(hyperparams):
        now = state._replace(hyperparams=hyperparams)
        for _ in range(2):
            steps, now = optimizer.update(grads, now, tiny_policy)
        return steps

    both = jax.jit(jax.vmap(two_updates))(swept)
    for index, each in enumerate((settings, others)):
        alone = make_optimizer(each, 10)
        now = alone.init(tiny_policy)
        for _ in range(2):
            steps, now = alone.update(grads, now, tiny_policy)
        mine = jax.tree.map(lambda leaf, index=index: leaf[index], both)
        chex.assert_trees_all_close(
            jax.tree.leaves(mine), jax.tree.leaves(steps), rtol=1e-5, atol=1e-8
        )


def is_adam(node):
    return isinstance(node, optax.ScaleByAdamState)


def test_moments_may_be_narrow_and_the_step_stays_near():
    """Of gradients that change all the time, against moments in float32."""
    settings = Optimization(1e-3, beta2=0.999)
    narrow = dataclasses.replace(settings, moments_dtype="bfloat16")
    start = {"embedding": {"value": jax.random.normal(jax.random.key(0), (64, 32))}}

    def moved(settings, updates=60):
        optimizer = make_optimizer(settings, updates)

        def update(count, carry):
            params, state = carry
            grads = jax.tree.map(lambda leaf: jnp.cos(7 * leaf + count), start)
            steps, state = optimizer.update(grads, state, params)
            return optax.apply_updates(params, steps), state

        begin = start, optimizer.init(start)
        params, state = jax.jit(lambda: jax.lax.fori_loop(0, updates, update, begin))()
        (adam,) = filter(is_adam, jax.tree.leaves(state, is_leaf=is_adam))
        value = params["embedding"]["value"]
        return value - start["embedding"]["value"], adam

    (wide, _), (other, adam) = moved(settings), moved(narrow)
    moments = jax.tree.leaves((adam.mu, adam.nu))
    assert {leaf.dtype for leaf in moments} == {jnp.dtype("bfloat16")}
    assert other.dtype == jnp.float32
    assert 0 < jnp.linalg.norm(wide - other) < 0.02 * jnp.linalg.norm(wide)


def test_a_narrow_second_moment_follows_slow_changes():
    """To the nearest it would stay where it is: 0.0002 is below half a digit of 1."""
    settings = Optimization(1e-3, beta2=0.999, moments_dtype="bfloat16")
    optimizer = make_optimizer(settings, 10)
    params = {"embedding": {"value": jnp.ones((64, 64))}}
    state = optimizer.init(params)
    is_first = jnp.arange(500) < 1

    def update(state, first):
        # A square of 1000 for once puts the moment at 1; then it moves to 1.21.
        size = jnp.where(first, jnp.sqrt(1000.0), 1.1)
        grads = jax.tree.map(lambda leaf: jnp.full_like(leaf, size), params)
        return optimizer.update(grads, state, params)[1], None

    # The limit on the norm of all 4,096 must not bite.
    state.hyperparams["max_grad_norm"] = jnp.float32(1e9)
    state, _ = jax.jit(lambda state: jax.lax.scan(update, state, is_first))(state)
    (adam,) = filter(is_adam, jax.tree.leaves(state, is_leaf=is_adam))
    found = np.float32(adam.nu["embedding"]["value"])
    expected = 1.21 + (1 - 1.21) * 0.999**499
    np.testing.assert_allclose(found.mean(), expected, rtol=2e-3)
    assert 0 < found.std() < 0.05 * expected


def test_rounding_at_random_is_right_on_the_mean():
    x = jnp.float32([1 + 1 / 512, -3 - 1 / 512, 1.5, -2.0, 0.0, 1e-30])
    many = jnp.broadcast_to(x[:, None], (6, 4096))
    found = np.float64(round_stochastically(many, jax.random.key(0)))
    np.testing.assert_allclose(found.mean(axis=1), x, rtol=1e-3)
    assert (found[2:5] == np.float64(x)[2:5, None]).all()
    for row, low, high in ((0, 1, 1 + 1 / 128), (1, -3 - 1 / 64, -3)):
        assert set(found[row]) == {low, high}


def test_no_two_moments_are_rounded_alike():
    """Of two parameters and both moments, which would all be a tenth."""
    settings = Optimization(
        1e-3, beta1=0.9, beta2=0.9, max_grad_norm=1e9, moments_dtype="bfloat16"
    )
    optimizer = make_optimizer(settings, 10)
    ones = {name: {"value": jnp.ones((16, 8))} for name in ("embedding", "head/kernel")}
    _, state = optimizer.update(ones, optimizer.init(ones), ones)
    (adam,) = filter(is_adam, jax.tree.leaves(state, is_leaf=is_adam))
    found = [np.float32(leaf) for leaf in jax.tree.leaves((adam.mu, adam.nu))]
    for one, other in itertools.combinations(found, 2):
        assert set(np.unique(one)) == set(np.unique(other)) and len(np.unique(one)) == 2
        assert 0.2 < np.mean(one == other) < 0.8


def test_devices_round_alike(tiny_policy):
    settings = Optimization(1e-3, moments_dtype="bfloat16")
    optimizer = make_optimizer(settings, 10)
    grads = jax.tree.map(jnp.sin, tiny_policy)

    def moments(mesh):
        state = states.adopt(jax.tree.map(jnp.array, tiny_policy), optimizer, mesh)
        places = jax.tree.map(lambda leaf: leaf.sharding, state.policy)
        here = jax.device_put(grads, places)
        step = lambda state: optimizer.update(here, state.opt_state, state.policy)[1]
        return jax.device_get(jax.jit(step)(state))

    chex.assert_trees_all_equal(moments(mesh_of(2, 4)), moments(mesh_of(1, 1)))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_thousand_updates_of_a_millionth_arrive_in_the_masters(tiny_policy, dtype):
    """With products in bfloat16; in parameters of bfloat16 they would vanish."""
    steady = optax.stateless(
        lambda grads, _: jax.tree.map(lambda leaf: jnp.full_like(leaf, 1e-6), grads)
    )
    mesh, batch = mesh_of(1, 1), example_batch(tiny_policy)
    config = dataclasses.replace(
        tiny_policy.config, dtype=dtype, compute_dtype="bfloat16"
    )
    begin = states.create(config, steady, mesh, jax.random.key(0))
    large = jax.tree.map(lambda leaf: leaf + jnp.asarray(0.5, leaf.dtype), begin.policy)
    start = jax.device_get(large)
    update, state = (
        update_of(config, mesh, optimizer=steady),
        begin.replace(policy=large),
    )
    rows, method = distributed.shard_rows(batch, mesh), Method(gates.Maspo())
    for _ in range(1000):
        state, _, _ = update(state, rows, method)
    for leaf, before in zip(
        *map(jax.tree.leaves, (jax.device_get(state.policy), start)), strict=True
    ):
        moved = np.float64(leaf) - np.float64(before)
        expected = 1e-3 if dtype == "float32" else 0
        np.testing.assert_allclose(moved[np.abs(before) > 0.1], expected, atol=1e-4)
