"""The loss: a plain sum over tokens whose gradient every method follows.

    policy_loss = surrogate (the gate) + loss terms        sft_loss = -log-likelihood

Both have one signature and return, beside the loss, what the metrics are made from
and a `TokenTrace`. All normalization is in the weights of the batch.
"""

import chex
import jax
import jax.numpy as jnp
from flax import struct

from maspo_jax.objectives import gates, metrics, terms
from maspo_jax.objectives.tokens import tokens_of, zero_untrained


@struct.dataclass
class TokenTrace:
    """What an update saw of each token, before it changed the policy."""

    logprob: jax.Array  # [N, T]
    gate: jax.Array | None = None  # [N, T]; None: of a supervised update


def policy_loss(logprob, entropy, batch, method, total):
    """Returns the loss of reinforcement learning.

    Args:
        logprob: [N, T] log-probability of each response token under the policy.
        entropy: [N, T] of the policy at each token, in nats.
        batch: the `TrainBatch` those tokens come from, or a part of it.
        method: the `terms.Method`.
        total: adds a number over the parts of the batch that are on other devices.

    Returns:
        A scalar, additive over sequences, and a pair: the `metrics.Measured` and the
        `TokenTrace` of these tokens.
    """
    batch = terms.shape_advantage(entropy, batch, method)
    tokens = tokens_of(logprob, entropy, batch)
    gate = fit(method.gate, tokens, total)
    loss, value = gated_loss(tokens, gate)
    loss = loss + terms.loss(logprob, entropy, batch, method.terms)
    measured = metrics.measure(tokens, value, details(tokens, gate))
    return loss, (measured, TokenTrace(logprob, value))


def sft_loss(logprob, entropy, batch, method, total):
    """Returns the loss of supervised training; see `policy_loss`.

    Neither the method nor `total` plays a part: no token is gated, and none has a
    gate to be measured or traced.
    """
    del method, total
    tokens = tokens_of(logprob, entropy, batch.replace(old_logprob=logprob))
    loss, trace = negative_log_likelihood(logprob, batch), TokenTrace(logprob)
    return loss, (metrics.measure_entropy(tokens), trace)


def surrogate(logprob, batch, gate):
    """Returns the loss whose gradient every method follows, and the gate's values.

    Args:
        logprob: [N, T] log-probability of each response token under the policy.
        batch: the `TrainBatch` those tokens come from.
        gate: a gate from `objectives.gates`; treated as a constant.

    Returns:
        What `gated_loss` does.
    """
    return gated_loss(tokens_of(logprob, None, batch), gate)


def gated_loss(tokens, gate):
    """Returns the `surrogate` of some `Tokens`, and the gate of each.

    Returns:
        A scalar, additive over sequences: minus the weighted sum over tokens of
        gate * ratio * advantage, times the factor that corrects the sampler; and the
        gate of each token, [N, T].
    """
    value = gate(tokens.log_ratio, tokens.advantage, tokens.old_logprob)
    value = jax.lax.stop_gradient(value)
    gain = value * jnp.exp(tokens.log_ratio) * tokens.advantage
    factor = 1 if tokens.correction is None else tokens.correction
    return -jnp.sum(tokens.weight * factor * gain), value


def negative_log_likelihood(logprob, batch):
    """Returns the loss of supervised training: minus the weighted log-likelihood."""
    chex.assert_equal_shape([logprob, batch.weight])
    return -jnp.sum(batch.weight * zero_untrained(logprob, batch))


def fit(gate, tokens, total):
    """Returns the gate for one optimization batch: most gates as they are.

    Args:
        gate: a gate from `objectives.gates`.
        tokens: the `Tokens` of the batch, or of a part of it.
        total: adds a number over the parts of the batch that are elsewhere.
    """
    if not isinstance(gate, gates.BatchFitted):
        return gate
    tokens = jax.lax.stop_gradient(tokens)
    return gate.fit(tokens.log_ratio, tokens.advantage, tokens.old_logprob, total)


def details(tokens, gate):
    """Returns what a gate has to say of itself, {name: [N, T]}; most have nothing."""
    if not isinstance(gate, gates.Detailed):
        return {}
    return jax.lax.stop_gradient(gate.details(tokens.advantage, tokens.old_logprob))
