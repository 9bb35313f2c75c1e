"""The one loss: a plain sum whose gradient every method follows."""

import chex
import jax
import jax.numpy as jnp

MAX_LOG_RATIO = 20.0  # beyond it a ratio has no meaning and its token no gradient


def log_ratios(logprob, batch):
    """Returns log pi / q of each token, clamped, and zero where nothing is trained.

    Replacing what stands on padding, instead of multiplying it by zero, lets
    padding hold anything, NaN included. [N, T].
    """
    difference = jnp.where(batch.weight != 0, logprob - batch.old_logprob, 0)
    return jnp.clip(difference, -MAX_LOG_RATIO, MAX_LOG_RATIO)


def gate_values(logprob, batch, gate):
    """Returns the gate of each token, a constant to the gradient. [N, T]."""
    trained = batch.weight != 0
    advantage = jnp.where(trained, batch.advantage, 0)
    old_logprob = jnp.where(trained, batch.old_logprob, 0)
    value = gate(log_ratios(logprob, batch), advantage, old_logprob)
    return jax.lax.stop_gradient(value)


def surrogate(logprob, batch, gate):
    """Returns the loss whose gradient every method of this package follows.

    Args:
        logprob: [N, T] log-probability of each response token under the policy.
        batch: the `TrainBatch` those tokens come from.
        gate: a gate from `objectives.gates`; treated as a constant.

    Returns:
        A scalar, additive over sequences: minus the weighted sum over tokens of
        gate * ratio * advantage.
    """
    chex.assert_equal_shape([logprob, batch.old_logprob, batch.advantage, batch.weight])
    ratio = jnp.exp(log_ratios(logprob, batch))
    advantage = jnp.where(batch.weight != 0, batch.advantage, 0)
    gain = gate_values(logprob, batch, gate) * ratio * advantage
    return -jnp.sum(batch.weight * gain)


def negative_log_likelihood(logprob, batch):
    """Returns the loss of supervised training: minus the weighted log-likelihood."""
    chex.assert_equal_shape([logprob, batch.weight])
    return -jnp.sum(batch.weight * jnp.where(batch.weight != 0, logprob, 0))
