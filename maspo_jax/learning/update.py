"""One optimizer update: per device what must be, on the whole what can be.

The gradient is computed under `jax.shard_map`, each device on its rows; the
optimizer runs outside it, in the same program, on global arrays, so that a global
norm is global.
"""

import functools

import jax
import jax.numpy as jnp
import optax

from maspo_jax import distributed
from maspo_jax.objectives import metrics as objective_metrics
from maspo_jax.objectives import terms
from maspo_jax.objectives.surrogate import fit
from maspo_jax.objectives.tokens import tokens_of
from maspo_jax.rollout.logprobs import sharded_logprobs
from maspo_jax.types import Packing, TrainState


def make_update(loss, optimizer, mesh, specs, temperature=1.0, microbatches=1):
    """Returns `update(state, batch, method) -> state, metrics, trace`, compiled.

    The state is donated. Settings of the method, an `objectives.terms.Method`, may
    change without compiling again. `objectives.metrics.of_update` reads the
    `UpdateMetrics`.

    Args:
        loss: `surrogate.policy_loss` or `surrogate.sft_loss`: a function of [N, T]
            log-probabilities, [N, T] entropies, the batch, the method, and what adds
            a number up over the devices.
        optimizer: an Optax transformation.
        mesh: the mesh the batch is split over by rows.
        specs: the `PartitionSpec` of every leaf of the policy.
        temperature: divides the logits.
        microbatches: parts of each device's rows whose gradients are added up; batches
            with a `Packing` have their own.
    """

    def microbatch_loss(policy, rows, method):
        logprob, entropy = sharded_logprobs(policy, rows.sequences, specs, temperature)
        return loss(logprob, entropy, rows, method, total=_psum)

    def gradients(policy, batch, method):
        count = _parts(batch.sequences, microbatches)
        policy, parts = distributed.pcast_varying(policy), _split(batch, count)
        if count > 1 and terms.fits_batch(method):
            scores = lambda rows: sharded_logprobs(
                policy, rows.sequences, specs, temperature
            )
            method = _fit_first(scores, parts, method)
        gradient = jax.value_and_grad(microbatch_loss, has_aux=True)

        def add(total, rows):
            (value, (measured, trace)), grads = gradient(policy, rows, method)
            # Or the compiler of TPUs tries to sum over devices behind the loop, and
            # fails: what was summed in bfloat16 is widened before it is added.
            grads = jax.lax.optimization_barrier(grads)
            return jax.tree.map(jnp.add, total, grads), (value, measured, trace)

        zeros = jax.tree.map(jnp.zeros_like, policy)
        grads, (values, measured, trace) = jax.lax.scan(add, zeros, parts)
        measured = objective_metrics.combine(measured, distributed.AXES)
        return (
            (_psum(values.sum()), measured),
            _join(trace),
            distributed.psum_replicated(grads, specs),
        )

    gradients = jax.shard_map(
        gradients,
        mesh=mesh,
        in_specs=(specs, distributed.BATCH, distributed.REPLICATED),
        out_specs=(distributed.REPLICATED, distributed.BATCH, specs),
    )

    @functools.partial(jax.jit, donate_argnames="state")
    def update(state, batch, method):
        (value, measured), trace, grads = gradients(state.policy, batch, method)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.policy)
        policy = optax.apply_updates(state.policy, updates)
        update_norm = optax.tree.norm(updates)
        metrics = objective_metrics.UpdateMetrics(
            loss=value,
            grad_norm=optax.tree.norm(grads),
            update_norm=update_norm,
            update_ratio=update_norm / optax.tree.norm(state.policy),
            measured=measured,
            compared=_compare(batch, trace.logprob),
        )
        return TrainState(policy, opt_state), metrics, trace

    return update


def make_logprobs(mesh, specs, temperature=1.0, pieces=1):
    """Returns `score(policy, sequences) -> logprob`, [N, T], compiled.

    Args:
        mesh: the mesh the sequences are split over by rows.
        specs: the `PartitionSpec` of every leaf of the policy.
        temperature: divides the logits.
        pieces: parts of each device's rows scored one after another; sequences with a
            `Packing` have their own.
    """

    def score(policy, sequences):
        def one(_, rows):
            return None, sharded_logprobs(policy, rows, specs, temperature)[0]

        parts = _split(sequences, _parts(sequences, pieces))
        return _join(jax.lax.scan(one, None, parts)[1])

    rows = distributed.BATCH
    return jax.jit(
        jax.shard_map(score, mesh=mesh, in_specs=(specs, rows), out_specs=rows)
    )


def make_reordered_logprobs(score, mesh):
    """Returns `score(policy, sequences, order, reading) -> logprob`, [N, T], compiled.

    The sequences are read in another order than they have.

    Args:
        score: from `make_logprobs`.
        mesh: the mesh the sequences are split over by rows.
    """

    @functools.partial(
        jax.jit, out_shardings=jax.NamedSharding(mesh, distributed.BATCH)
    )
    def reordered(policy, sequences, order, reading):
        rows = jax.tree.map(lambda x: x[order], sequences)
        logprob = score(policy, rows.replace(reading=reading))
        return logprob[jnp.argsort(order)]

    return reordered


def _parts(sequences, usual):
    """Returns into how many parts a device splits its rows."""
    reading = sequences.reading
    return reading.microbatches if isinstance(reading, Packing) else usual


def _compare(batch, logprob):
    """Returns what the log-probabilities before an update say, if nothing has so far.

    Args:
        batch: the `TrainBatch`.
        logprob: [N, T] by the trainer, before the update.
    """
    if batch.sampler_logprob is None:
        return {}
    tokens = logprob, batch.sampler_logprob, batch.sequences.response_mask
    return objective_metrics.compare_logprobs(*tokens, batch.reference_logprob)


def _psum(number):
    """Adds a number up over all devices, per device."""
    return jax.lax.psum(number, distributed.AXES)


def _fit_first(scores, parts, method):
    """Fits a gate to all microbatches before the first of them is used, per device."""
    of_rows = lambda _, rows: (None, scores(rows))
    logprob, entropy = _join(jax.lax.scan(of_rows, None, parts)[1])
    batch = terms.shape_advantage(entropy, _join(parts), method)
    tokens = tokens_of(logprob, entropy, batch)
    return method.replace(gate=fit(method.gate, tokens, _psum))


def _split(tree, pieces):
    """Splits rows into pieces to scan over. [N, ...] -> [pieces, N / pieces, ...]."""
    return jax.tree.map(lambda x: x.reshape(pieces, -1, *x.shape[1:]), tree)


def _join(tree):
    """Undoes `_split`."""
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), tree)
