"""All gates and all token weights, found by looking: a new one joins every law."""

import dataclasses
import inspect

import jax.numpy as jnp
import numpy as np
import pytest

from maspo_jax.objectives import gates, token_weights
from maspo_jax.types import TrainBatch

GATES = [
    kind()
    for name, kind in vars(gates).items()
    if dataclasses.is_dataclass(kind) and not name.startswith("_")
]
WEIGHTS = [
    function
    for name, function in vars(token_weights).items()
    if inspect.isfunction(function)
    and function.__module__ == token_weights.__name__
    and not name.startswith("_")
] + [token_weights.SequenceSumOver(64)]
every_gate = pytest.mark.parametrize(
    "gate", GATES, ids=lambda gate: type(gate).__name__
)
every_weight = pytest.mark.parametrize(
    "weight",
    WEIGHTS,
    ids=lambda weight: getattr(weight, "__name__", type(weight).__name__),
)


def random_batch(seed=0, rows=8, length=12, weight=token_weights.token_mean):
    """Returns a batch of responses of unequal length, and a moved log-probability."""
    draw = np.random.default_rng(seed)
    old = -draw.exponential(1.5, (rows, length)).astype(np.float32)
    logprob = np.minimum(old + draw.normal(0, 0.5, old.shape), 0).astype(np.float32)
    advantage = np.repeat(draw.normal(0, 1, (rows, 1)), length, axis=1)
    mask = np.arange(length) < draw.integers(1, length + 1, (rows, 1))
    batch = TrainBatch(
        None, old, advantage.astype(np.float32), np.asarray(weight(mask), np.float32)
    )
    return batch, logprob


def weights(gate, ratio, advantage, q=0.3):
    """The gradient weight g = gate * ratio of single tokens, [n]."""
    ratio = jnp.asarray(ratio, jnp.float32).reshape(-1, 1)
    same = lambda value: jnp.full(ratio.shape, value, jnp.float32)
    return (gate(jnp.log(ratio), same(advantage), jnp.log(same(q))) * ratio)[:, 0]


def random_tokens(seed=0, shape=(6, 10)):
    draw = np.random.default_rng(seed)
    old = -draw.exponential(2, shape).astype(np.float32)
    log_ratio = draw.normal(0, 0.6, shape).astype(np.float32)
    return log_ratio, draw.normal(0, 1, shape).astype(np.float32), old
