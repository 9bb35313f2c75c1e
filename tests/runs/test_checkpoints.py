"""Checkpoints, those of earlier versions included."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import mesh_of

from maspo_jax.config import Optimization
from maspo_jax.learning import train_state as states
from maspo_jax.learning.optimizer import (
    hyperparameters,
    learning_rate,
    make_optimizer,
)
from maspo_jax.models.sharding import decay_mask
from maspo_jax.runs.checkpoints import Checkpoints
from maspo_jax.runs.state import RunState

SETTINGS = Optimization(3e-3, warmup_updates=2, weight_decay=0.1, max_grad_norm=0.5)
HOST = {
    "problems": {"next_index": 4},
    "visits": {"0\n?": [1.0, 0.5, 0.2]},
    "policy_version": 8,
}


def earlier_optimizer(settings):
    """The optimizer as it was before its settings were part of its state."""
    return optax.chain(
        optax.clip_by_global_norm(settings.max_grad_norm),
        optax.adamw(
            learning_rate(settings, 10),
            b1=settings.beta1,
            b2=settings.beta2,
            eps=settings.epsilon,
            weight_decay=settings.weight_decay,
            mask=decay_mask,
        ),
    )


def updated(config, optimizer, mesh, updates=3):
    """Returns a `TrainState` after some updates, and the size of the last one."""
    state = states.create(config, optimizer, mesh, jax.random.key(0))

    @functools.partial(jax.jit, donate_argnums=0)
    def update(state):
        grads = jax.tree.map(lambda leaf: jnp.cos(9 * leaf), state.policy)
        steps, opt_state = optimizer.update(grads, state.opt_state, state.policy)
        policy = optax.apply_updates(state.policy, steps)
        return state.replace(policy=policy, opt_state=opt_state)

    for _ in range(updates):
        state = update(state)
    return state, update


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def test_a_state_comes_back_bit_equal_on_another_layout(tiny_config, tmp_path, caplog):
    optimizer = make_optimizer(SETTINGS, 10)
    state, _ = updated(tiny_config, optimizer, mesh_of(1, 1))
    with Checkpoints(tmp_path) as saved:
        saved.save(3, RunState.of(state, HOST))
    skeleton = states.skeleton(tiny_config, optimizer, mesh_of(2, 2))
    with Checkpoints(tmp_path) as saved:
        found = saved.restore(skeleton)
    assert found.host() == HOST and found.policy_version == 8
    for got, expected in zip(leaves(found.train), leaves(state), strict=True):
        assert got.tobytes() == expected.tobytes()
    # A warning of Orbax would look as if the checkpoint were damaged.
    assert not [record.getMessage() for record in caplog.records]


def test_a_state_from_before_hyperparameters_goes_on(tiny_config, tmp_path):
    """As if it had been made by today's optimizer, whose next update is the same."""
    mesh = mesh_of(2, 2)
    earlier, update = updated(tiny_config, earlier_optimizer(SETTINGS), mesh)
    with Checkpoints(tmp_path) as saved:
        saved.save(3, RunState(earlier))
    optimizer = make_optimizer(SETTINGS, 10)
    today, updates_today = updated(tiny_config, optimizer, mesh)
    skeleton = states.skeleton(tiny_config, optimizer, mesh)
    with Checkpoints(tmp_path) as saved:
        found = saved.restore(skeleton, hyperparameters(SETTINGS)).train
    assert found.opt_state.count == 3
    assert found.opt_state.hyperparams["weight_decay"] == np.float32(0.1)
    for got, expected in zip(leaves(found), leaves(today), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)
    for got, expected in zip(
        leaves(updates_today(found).policy), leaves(update(earlier).policy), strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "host, data, version",
    [
        ({"problems": {"next_index": 4}, "visits": {}}, {"next_index": 4}, None),
        (
            {"phase": 1, "taken": 3, "stream": None},
            {"phase": 1, "taken": 3, "stream": None},
            None,
        ),
        ({}, None, None),
        (HOST, {"next_index": 4}, 8),
    ],
    ids=["reinforcement", "sft", "reference", "today"],
)
def test_what_stood_beside_the_arrays_is_understood(host, data, version):
    state = RunState.of(None, host)
    assert (state.data, state.policy_version) == (data, version)
    assert state.prompt_history == host.get("visits", {})
    assert RunState.of(None, state.host()) == state


def test_another_policy_is_refused_by_the_name_that_is_missing(tiny_config, tmp_path):
    optimizer = make_optimizer(SETTINGS, 10)
    plain = dataclasses.replace(tiny_config, qkv_bias=False)
    state, _ = updated(plain, optimizer, mesh_of(1, 1), updates=0)
    with Checkpoints(tmp_path) as saved:
        saved.save(0, RunState(state))
    skeleton = states.skeleton(tiny_config, optimizer, mesh_of(1, 1))
    with Checkpoints(tmp_path) as saved:
        with pytest.raises(ValueError, match="holds no policy/.*bias.*--run"):
            saved.restore(skeleton)
