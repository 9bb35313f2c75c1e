"""What is known of each token of a batch, as gates, loss terms and metrics see it."""

import chex
import jax
import jax.numpy as jnp
from flax import struct

from maspo_jax.objectives.ratios import clamped


@struct.dataclass
class Tokens:
    """The tokens of a batch, at least float32; zeros where nothing is trained."""

    logprob: jax.Array  # [N, T] under the policy
    entropy: jax.Array | None  # [N, T] of the policy, in nats
    old_logprob: jax.Array  # [N, T], log q
    log_ratio: jax.Array  # [N, T], log pi / q, clamped
    advantage: jax.Array  # [N, T], shaped if the objective shapes it
    weight: jax.Array  # [N, T]
    # Only where something needs it:
    correction: jax.Array | None = None  # [N, T] of the weight, to correct the sampler
    reference_logprob: jax.Array | None = None  # [N, T]
    correct: jax.Array | None = None  # [N, T] bool, tokens of correct responses


def tokens_of(logprob, entropy, batch):
    """Returns the `Tokens` of a `TrainBatch`.

    Replacing what stands on padding, instead of multiplying it by zero, lets
    padding hold anything, NaN included.

    Args:
        logprob: [N, T] log-probability of each response token under the policy.
        entropy: [N, T] of the policy at each token, in nats, or None.
        batch: the `TrainBatch`.
    """
    old_logprob = batch.old_logprob
    if old_logprob is None:
        old_logprob = jax.lax.stop_gradient(logprob)
    chex.assert_equal_shape([logprob, old_logprob, batch.advantage, batch.weight])
    zeroed = lambda values: None if values is None else zero_untrained(values, batch)
    logprob, old_logprob = zeroed(logprob), zeroed(old_logprob)
    correct = None
    if batch.correct is not None:
        correct = (batch.weight != 0) & batch.correct[:, None]
    return Tokens(
        logprob,
        zeroed(entropy),
        old_logprob,
        clamped(logprob - old_logprob),
        zeroed(batch.advantage),
        batch.weight,
        zeroed(batch.correction),
        zeroed(batch.reference_logprob),
        correct,
    )


def zero_untrained(values, batch):
    """Returns values with zeros where nothing is trained. [N, T], at least float32."""
    values = jnp.where(batch.weight != 0, values, 0)
    return values.astype(jnp.promote_types(values.dtype, jnp.float32))
