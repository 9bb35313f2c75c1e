"""The learning rate, and what decays."""

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
