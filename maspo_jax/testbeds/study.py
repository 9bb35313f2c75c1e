"""Studies: every method and every seed of a testbed in one compiled program."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from maspo_jax.testbeds.tree import push, run


@struct.dataclass
class OneOf:
    """One of several gates, by number, so that `jax.vmap` can go through them."""

    gates: tuple
    number: Any  # [] int32

    def __call__(self, log_ratio, advantage, old_logprob):
        """Returns the gate, [...], for arrays of one shape, [...]."""
        # `switch` wants functions it can hash, which a gate of arrays is not.
        branches = [lambda *tokens, gate=gate: gate(*tokens) for gate in self.gates]
        return jax.lax.switch(self.number, branches, log_ratio, advantage, old_logprob)


@functools.partial(jax.jit, static_argnames="tree")
def compare(gates, keys, regime, tree):
    """Trains with every gate, on the same draws.

    Args:
        gates: a tuple of gates.
        keys: one per seed.
        regime: the `tree.Regime`.
        tree: the `tree.Tree`.

    Returns:
        The `tree.Record`, of arrays [gates, seeds, steps].
    """
    seeds = lambda gate: jax.vmap(lambda key: run(key, gate, regime, tree))(keys)
    numbers = jnp.arange(len(gates))
    return jax.vmap(lambda number: seeds(OneOf(gates, number)))(numbers)


@functools.partial(jax.jit, static_argnames=("responses", "updates"))
def reuse(gates, keys, q, advantage, learning_rate, responses, updates):
    """Pushes one token by the same batch again and again, with every gate.

    Args:
        gates: a tuple of gates.
        keys: one per seed; each draws how many responses of the batch are this token.
        q: its probability.
        advantage: of the token; that of all others is zero.
        learning_rate: of plain gradient ascent on the token's logit.
        responses: in the batch.
        updates: how many.

    Returns:
        Its probability before and after each update, [gates, seeds, updates + 1].
    """
    drawn = lambda key: jax.random.binomial(key, responses, q) / responses
    share = jax.vmap(drawn)(keys)
    move = lambda gate: jax.vmap(
        lambda part: push(gate, q, advantage, learning_rate, updates, part)
    )(share)
    numbers = jnp.arange(len(gates))
    return jax.vmap(lambda number: move(OneOf(gates, number)))(numbers)
