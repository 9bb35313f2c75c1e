"""The learning rate, and what decays."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maspo_jax.config import Optimization
from maspo_jax.learning.optimizer import learning_rate, make_optimizer


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
