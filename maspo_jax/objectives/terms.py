"""The whole objective: the surrogate, and what may be added to it."""

from typing import Any

import jax.numpy as jnp
from flax import struct

from maspo_jax.objectives import gates
from maspo_jax.objectives.surrogate import surrogate, trained


@struct.dataclass
class LossTerms:
    """A gate, and what else is optimized; None and zero for nothing.

    All numbers are pytree leaves, as the settings of the gate are.
    """

    gate: Any  # from `objectives.gates`
    shaping: Any = None  # an `advantages.EntropyAdvantage`
    entropy_bonus: float = 0.0  # times the weighted mean entropy, in nats
    kl: Any = None  # a `kl.Penalty`
    imitation: float = 0.0  # times the mean log-likelihood of right answers


def terms_of(objective):
    """Returns the `LossTerms` of a `config.Objective`."""
    return LossTerms(
        objective.gate,
        objective.shaping,
        objective.entropy_bonus,
        objective.kl_in_loss,
        objective.imitation,
    )


def fits_batch(terms):
    """Returns whether a gate has to see the whole batch first; None has no gate."""
    return terms is not None and isinstance(terms.gate, gates.BatchFitted)


def shape(entropy, batch, terms):
    """Returns the batch with the advantages that the surrogate is to see."""
    if terms.shaping is None:
        return batch
    advantage = terms.shaping(trained(batch.advantage, batch), trained(entropy, batch))
    return batch.replace(advantage=advantage)


def loss(logprob, entropy, batch, terms):
    """Returns the loss of all terms: a sum over tokens, as the surrogate is.

    Args:
        logprob: [N, T] log-probability of each response token under the policy.
        entropy: [N, T] of the policy at each token, in nats.
        batch: the `TrainBatch` those tokens come from.
        terms: the `LossTerms`.
    """
    value = surrogate(logprob, shape(entropy, batch, terms), terms.gate)
    bonus = jnp.sum(batch.weight * trained(entropy, batch))
    value = value - terms.entropy_bonus * bonus
    if terms.kl is not None:
        reference = trained(batch.reference_logprob, batch)
        price = terms.kl(trained(logprob, batch), reference)
        value = value + jnp.sum(batch.weight * price)
    if batch.correct_weight is not None:
        right = batch.replace(weight=batch.correct_weight)
        likelihood = jnp.sum(batch.correct_weight * trained(logprob, right))
        value = value - terms.imitation * likelihood
    return value
