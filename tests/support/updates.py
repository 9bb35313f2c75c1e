"""An optimizer, a batch and metrics for the tests of updates."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from maspo_jax.objectives import metrics
from maspo_jax.objectives.token_weights import token_mean
from maspo_jax.objectives.tokens import Tokens
from maspo_jax.rollout.logprobs import response_logprobs
from maspo_jax.types import Sequences, TrainBatch

# Not Adam: it would blow up rounding errors of gradients that are zero. The limit on
# the norm bites, so that a norm per device would be seen.
OPTIMIZER = optax.chain(optax.clip_by_global_norm(0.05), optax.sgd(1.0, momentum=0.9))


def example_batch(policy):
    """Unequal lengths, an old policy near a tiny one, both signs of advantage."""
    rng = np.random.default_rng(0)
    prompt_mask = np.arange(4)[None] >= rng.integers(0, 4, (16, 1))
    mask = np.arange(7)[None] < rng.integers(1, 8, (16, 1))
    sequences = Sequences(
        rng.integers(0, 24, (16, 4), np.int32),
        prompt_mask,
        rng.integers(0, 24, (16, 7), np.int32),
        mask,
    )
    logprob, _ = jax.jit(response_logprobs, static_argnums=2)(policy, sequences, 1.0)
    old_logprob = np.asarray(logprob) + 0.5 * rng.standard_normal(mask.shape)
    advantage = np.where(mask, rng.standard_normal((16, 1)), 0)
    return TrainBatch(
        sequences,
        old_logprob.astype(np.float32),
        advantage.astype(np.float32),
        np.asarray(token_mean(mask), np.float32),
    )


def update_metrics(loss, ratio=1):
    """Returns the `UpdateMetrics` of an update of one token, as a step has them."""
    ones = jnp.ones((1, 1))
    tokens = Tokens(-ones, ones, -ones, jnp.log(ratio * ones), ones, ones)
    return metrics.UpdateMetrics(
        loss=jnp.float32(loss),
        grad_norm=jnp.float32(1),
        update_norm=jnp.float32(1),
        update_ratio=jnp.float32(1),
        measured=metrics.measure(tokens, gate=ones),
    )
