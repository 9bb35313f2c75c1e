"""One optimizer update: per device what must be, on the whole what can be.

The gradient is computed under `jax.shard_map`, each device on its rows; the
optimizer runs outside it, in the same program, on global arrays, so that a global
norm is global.
"""

import functools

import jax
import jax.numpy as jnp
import optax
from flax import struct

from maspo_jax import parallel
from maspo_jax.objectives import diagnostics
from maspo_jax.objectives.surrogate import (
    gate_values,
    negative_log_likelihood,
    surrogate,
)
from maspo_jax.rollout.logprobs import response_logprobs
from maspo_jax.types import TrainState


@struct.dataclass
class Trace:
    """What an update saw of each token, before it changed the policy."""

    logprob: jax.Array  # [N, T]
    gate: jax.Array  # [N, T]


def reinforce(logprob, entropy, batch, gate):
    """The loss of reinforcement learning, with sums for metrics and a `Trace`."""
    value = gate_values(logprob, batch, gate)
    sums = diagnostics.diagnose(logprob, entropy, value, batch)
    return surrogate(logprob, batch, gate), (sums, Trace(logprob, value))


def imitate(logprob, entropy, batch, gate):
    """The loss of supervised training, with sums for metrics and a `Trace`."""
    del gate
    value = jnp.ones_like(logprob)
    on_policy = batch.replace(old_logprob=logprob)
    sums = diagnostics.diagnose(logprob, entropy, value, on_policy)
    return negative_log_likelihood(logprob, batch), (sums, Trace(logprob, value))


def make_update(loss, optimizer, mesh, specs, temperature=1.0, microbatches=1):
    """Returns `update(state, batch, gate) -> state, metrics, trace`, compiled.

    The state is donated. Settings of the gate may change without compiling again.

    Args:
        loss: `reinforce` or `imitate`: a function of [N, T] log-probabilities,
            [N, T] entropies, the batch and the gate.
        optimizer: an Optax transformation.
        mesh: the mesh the batch is split over by rows.
        specs: the `PartitionSpec` of every leaf of the policy.
        temperature: divides the logits.
        microbatches: parts of each device's rows whose gradients are added up.
    """

    def gradients(policy, batch, gate):
        mine = parallel.vary(policy)

        def objective(policy, rows):
            logprob, entropy = _logprobs(policy, rows.sequences, specs, temperature)
            return loss(logprob, entropy, rows, gate)

        def accumulate(total, rows):
            (value, (sums, trace)), grads = jax.value_and_grad(objective, has_aux=True)(
                mine, rows
            )
            return jax.tree.map(jnp.add, total, grads), ((value, sums), trace)

        zeros = jax.tree.map(jnp.zeros_like, mine)
        grads, (sums, trace) = jax.lax.scan(
            accumulate, zeros, _split(batch, microbatches)
        )
        sums = jax.tree.map(lambda part: jax.lax.psum(part.sum(), parallel.AXES), sums)
        return sums, _join(trace), parallel.add_copies(grads, specs)

    gradients = jax.shard_map(
        gradients,
        mesh=mesh,
        in_specs=(specs, parallel.ROWS, parallel.WHOLE),
        out_specs=(parallel.WHOLE, parallel.ROWS, specs),
    )

    @functools.partial(jax.jit, donate_argnames="state")
    def update(state, batch, gate):
        (value, sums), trace, grads = gradients(state.policy, batch, gate)
        steps, opt_state = optimizer.update(grads, state.opt_state, state.policy)
        policy = optax.apply_updates(state.policy, steps)
        metrics = {
            "loss": value,
            "grad_norm": optax.tree.norm(grads),
            "update_norm": optax.tree.norm(steps),
            **diagnostics.summarize(sums),
        }
        return TrainState(state.updates + 1, policy, opt_state), metrics, trace

    return update


def make_score(mesh, specs, temperature=1.0, pieces=1):
    """Returns `score(policy, sequences) -> logprob`, [N, T], compiled.

    Args:
        mesh: the mesh the sequences are split over by rows.
        specs: the `PartitionSpec` of every leaf of the policy.
        temperature: divides the logits.
        pieces: parts of each device's rows scored one after another.
    """

    def score(policy, sequences):
        def one(_, rows):
            return None, _logprobs(policy, rows, specs, temperature)[0]

        return _join(jax.lax.scan(one, None, _split(sequences, pieces))[1])

    rows = parallel.ROWS
    return jax.jit(
        jax.shard_map(score, mesh=mesh, in_specs=(specs, rows), out_specs=rows)
    )


def _logprobs(policy, sequences, specs, temperature):
    """Completes a policy from its shards and scores responses, per device."""
    whole = parallel.gather(policy, parallel.stem(specs))
    unshard = functools.partial(parallel.gather, specs=parallel.layer(specs.blocks))
    return response_logprobs(whole, sequences, temperature, unshard)


def _split(tree, pieces):
    """Splits rows into pieces to scan over. [N, ...] -> [pieces, N / pieces, ...]."""
    return jax.tree.map(lambda x: x.reshape(pieces, -1, *x.shape[1:]), tree)


def _join(tree):
    """Undoes `_split`."""
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), tree)
