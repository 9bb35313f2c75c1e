"""The one loss: a plain sum whose gradient every method follows."""

import chex
import jax
import jax.numpy as jnp
from flax import struct

from maspo_jax.objectives import gates
from maspo_jax.objectives.ratios import clamped


def log_ratios(logprob, batch):
    """Returns log pi / q of each token, clamped, and zero where nothing is trained.

    Replacing what stands on padding, instead of multiplying it by zero, lets
    padding hold anything, NaN included. [N, T], at least float32.
    """
    return clamped(trained(logprob, batch) - trained(batch.old_logprob, batch))


def gate_values(logprob, batch, gate):
    """Returns the gate of each token, a constant to the gradient. [N, T]."""
    value = gate(log_ratios(logprob, batch), *_anchors(batch))
    return jax.lax.stop_gradient(value)


def details(batch, gate):
    """Returns what a gate has to say of itself, {name: [N, T]}; most have nothing."""
    if not isinstance(gate, gates.Detailed):
        return {}
    return jax.lax.stop_gradient(gate.details(*_anchors(batch)))


def fit(gate, logprob, batch, total):
    """Returns the gate for one optimization batch: most gates as they are.

    Args:
        gate: a gate from `objectives.gates`.
        logprob: [N, T] log-probability of each response token under the policy.
        batch: the `TrainBatch` those tokens come from, or a part of it.
        total: adds a number over the parts of the batch that are elsewhere.
    """
    if not isinstance(gate, gates.BatchFitted):
        return gate
    tokens = (log_ratios(logprob, batch), *_anchors(batch))
    return gate.fit(*map(jax.lax.stop_gradient, tokens), total)


def surrogate(logprob, batch, gate):
    """Returns the loss whose gradient every method of this package follows.

    Args:
        logprob: [N, T] log-probability of each response token under the policy.
        batch: the `TrainBatch` those tokens come from.
        gate: a gate from `objectives.gates`; treated as a constant.

    Returns:
        A scalar, additive over sequences: minus the weighted sum over tokens of
        gate * ratio * advantage, times the factor that corrects the sampler.
    """
    chex.assert_equal_shape([logprob, batch.old_logprob, batch.advantage, batch.weight])
    ratio = jnp.exp(log_ratios(logprob, batch))
    advantage = trained(batch.advantage, batch)
    gain = gate_values(logprob, batch, gate) * ratio * advantage
    factor = 1 if batch.correction is None else trained(batch.correction, batch)
    return -jnp.sum(batch.weight * factor * gain)


def negative_log_likelihood(logprob, batch):
    """Returns the loss of supervised training: minus the weighted log-likelihood."""
    chex.assert_equal_shape([logprob, batch.weight])
    return -jnp.sum(batch.weight * trained(logprob, batch))


def _anchors(batch):
    """Returns the advantage and log q of each token, zero on padding. [N, T] each."""
    return trained(batch.advantage, batch), trained(batch.old_logprob, batch)


def trained(values, batch):
    """Returns values with zeros where nothing is trained. [N, T], at least float32."""
    values = jnp.where(batch.weight != 0, values, 0)
    return values.astype(jnp.promote_types(values.dtype, jnp.float32))


@struct.dataclass
class TokenTrace:
    """What an update saw of each token, before it changed the policy."""

    logprob: jax.Array  # [N, T]
    gate: jax.Array  # [N, T]


def policy_loss(logprob, entropy, batch, method, total):
    """The loss of reinforcement learning, with what to measure and a `TokenTrace`."""
    from maspo_jax.objectives import diagnostics, terms

    rows = terms.shape(entropy, batch, method)
    gate = fit(method.gate, logprob, rows, total)
    value = gate_values(logprob, rows, gate)
    of_gate = details(rows, gate)
    measured = diagnostics.diagnose(logprob, entropy, value, rows, of_gate)
    loss = terms.loss(logprob, entropy, batch, method.replace(gate=gate))
    return loss, (measured, TokenTrace(logprob, value))


def sft_loss(logprob, entropy, batch, method, total):
    """The loss of supervised training, with what to measure and a `TokenTrace`."""
    from maspo_jax.objectives import diagnostics

    del method, total
    value = jnp.ones_like(logprob)
    on_policy = batch.replace(old_logprob=logprob)
    measured = diagnostics.diagnose(logprob, entropy, value, on_policy)
    return negative_log_likelihood(logprob, batch), (
        measured,
        TokenTrace(logprob, value),
    )
