"""From scored responses to the batches of the optimizer."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from maspo_jax import parallel
from maspo_jax.types import TrainBatch


def order(seed, step, prompts, minibatches, epochs):
    """Returns the prompts of each minibatch of a step, reshuffled every epoch.

    The responses to one prompt stay together: a minibatch holds whole groups.

    Args:
        seed: of the run.
        step: which rollout batch.
        prompts: P.
        minibatches: per epoch; divides P.
        epochs: passes over the rollout batch.

    Returns:
        [epochs * minibatches, P / minibatches] int32.
    """
    shuffles = [
        np.random.default_rng([seed, step, epoch]).permutation(prompts)
        for epoch in range(epochs)
    ]
    return np.stack(shuffles).astype(np.int32).reshape(epochs * minibatches, -1)


def make_assemble(advantage, weight, mesh, correction=None):
    """Returns `assemble(rollout, old_logprob, reward) -> TrainBatch`, compiled.

    Args:
        advantage: a function from `objectives.advantages`.
        weight: a function from `objectives.token_weights`.
        mesh: the mesh all of them are split over by rows; reward is [P, G].
        correction: from `objectives.correction`, or None.
    """

    def assemble(rollout, old_logprob, reward):
        mask = rollout.sequences.mask
        factor = correction and correction(old_logprob, rollout.logprob, mask)
        batch = TrainBatch(
            rollout.sequences, old_logprob, advantage(reward, mask), None, factor
        )
        return _weigh(batch, weight)

    return jax.jit(assemble, out_shardings=jax.NamedSharding(mesh, parallel.ROWS))


def make_take(weight, responses, mesh):
    """Returns `take(batch, prompts) -> TrainBatch`, compiled.

    It selects the responses to some prompts, an int32 array of indices into P, and
    weighs their tokens anew, so that the weights of the selection are normalized.

    Args:
        weight: a function from `objectives.token_weights`.
        responses: G.
        mesh: the mesh the batch is split over by rows.
    """

    @functools.partial(jax.jit, out_shardings=jax.NamedSharding(mesh, parallel.ROWS))
    def take(batch, prompts):
        rows = (prompts[:, None] * responses + jnp.arange(responses)[None]).reshape(-1)
        batch = jax.tree.map(lambda x: x[rows], batch)
        return _weigh(batch, weight)

    return take


def _weigh(batch, weight):
    """Returns the batch with its weights, corrected ones no longer sum to one."""
    value = weight(batch.sequences.mask)
    return batch.replace(weight=value if batch.factor is None else value * batch.factor)


def demonstration_batch(sequences, weight):
    """Returns worked solutions as a `TrainBatch` of NumPy, for supervised updates."""
    zeros = np.zeros(sequences.mask.shape, np.float32)
    weights = np.asarray(weight(sequences.mask), np.float32)
    return TrainBatch(sequences, zeros, zeros, weights)
