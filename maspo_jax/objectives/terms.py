"""The whole objective: the surrogate, and what may be added to it."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import struct

from maspo_jax.objectives import kl
from maspo_jax.objectives.advantages import entropy_shaped
from maspo_jax.objectives.surrogate import surrogate, trained


@struct.dataclass
class Terms:
    """A gate, and the coefficients of what else is optimized; zero for none.

    The coefficients are pytree leaves, as the settings of the gate are.
    """

    gate: Any  # from `objectives.gates`
    entropy_advantage: float = 0.0  # alpha of `advantages.entropy_shaped`
    entropy_kappa: float = 2.0  # its kappa
    entropy_bonus: float = 0.0  # times the weighted mean entropy, in nats
    kl_penalty: float = 0.0  # times the weighted mean distance from the reference
    kl: Callable = struct.field(pytree_node=False, default=kl.k3)  # the distance


def terms_of(objective):
    """Returns the `Terms` of a `config.Objective`."""
    return Terms(
        objective.gate,
        objective.entropy_advantage,
        objective.entropy_kappa,
        objective.entropy_bonus,
    )


def shape(entropy, batch, terms):
    """Returns the batch with the advantages that the surrogate is to see."""
    advantage = entropy_shaped(
        trained(batch.advantage, batch),
        trained(entropy, batch),
        terms.entropy_advantage,
        terms.entropy_kappa,
    )
    return batch.replace(advantage=advantage)


def loss(logprob, entropy, batch, terms, reference=None):
    """Returns the loss of all terms: a sum over tokens, as the surrogate is.

    Args:
        logprob: [N, T] log-probability of each response token under the policy.
        entropy: [N, T] of the policy at each token, in nats.
        batch: the `TrainBatch` those tokens come from.
        terms: the `Terms`.
        reference: [N, T] log-probability under the reference policy; needed only
            for a distance from it.
    """
    value = surrogate(logprob, shape(entropy, batch, terms), terms.gate)
    bonus = jnp.sum(batch.weight * trained(entropy, batch))
    value = value - terms.entropy_bonus * bonus
    if reference is None:
        return value
    distance = terms.kl(trained(logprob, batch), trained(reference, batch))
    return value + terms.kl_penalty * jnp.sum(batch.weight * distance)
