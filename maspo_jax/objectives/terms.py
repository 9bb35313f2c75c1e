"""Loss terms: what may be added to the surrogate, each a small value of its own.

A term is a frozen `flax.struct.dataclass` whose settings are pytree leaves:

    term(tokens) -> [N, T]        the loss of each token, for the `Tokens` of a batch

It is summed with the weights of the batch. Two class attributes, both optional, say
the rest:

    needs   a tuple of names out of `NEEDS["terms"]`: fields of `Tokens` that are
            None unless something asks for them
    over    "all", or "correct": summed with the weights shared among the tokens of
            correct responses, and zero where those are zero

Nothing else has to know a term. `kl.Penalty` is one, too.
"""

import dataclasses
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from flax import struct

from maspo_jax.objectives import gates
from maspo_jax.objectives.gates.settings import setting
from maspo_jax.objectives.tokens import Tokens, tokens_of, zero_untrained

OVER = ("all", "correct")
# Part of an objective -> what it may need -> what it is given then. Others, such as a
# gate, are always given the same.
NEEDS = {
    "terms": {
        "reference_logprob": "log-probabilities of the policy at the start of "
        "reinforcement learning, behind supervised training",
        "correct": "which responses are correct",
    },
    "kl_in_reward": {"reference_logprob": "the same"},
    "advantage": {
        "prompt_stats": "what earlier visits to a prompt were rewarded",
        "token_reward": "the reward of each token, not of each response",
    },
}


class Term(Protocol):
    """What the loss asks of a term."""

    def __call__(self, tokens: Tokens) -> jax.Array:
        """Returns the loss of each token, [N, T]."""


@struct.dataclass
class EntropyBonus:
    """-coefficient times the entropy: a reward for uncertainty, per nat."""

    coefficient: float = setting()

    def __call__(self, tokens):
        """Returns the loss of each token, [N, T]."""
        return -self.coefficient * tokens.entropy


@struct.dataclass
class Imitation:
    """-coefficient times the log-likelihood of correct responses.

    The positive_loss_coeff of Klear-Reasoner, which takes 0.1 along with `gates.Gppo`
    (arXiv 2508.07629); the positive-example LM loss of VAPO (arXiv 2504.05118).
    """

    needs = ("correct",)
    over = "correct"

    # Below zero, correct answers would be unlearned.
    coefficient: float = setting(0.1, "[0, inf)")

    def __call__(self, tokens):
        """Returns the loss of each token, [N, T]."""
        return -self.coefficient * tokens.logprob


@struct.dataclass
class Method:
    """A method: the gate, and what else is optimized; None and () for nothing.

    All numbers are pytree leaves, as the settings of the gate are.
    """

    gate: Any  # from `objectives.gates`
    advantage_shaping: Any = None  # an `advantages.EntropyAdvantage`
    terms: tuple = ()


def method_of(objective):
    """Returns the `Method` of a `config.Objective`."""
    return Method(objective.gate, objective.advantage_shaping, objective.terms)


def parts_of(objective):
    """Yields (name, field, part) of a `config.Objective`: those of `terms` one by one.

    The name is dotted, such as "terms.0"; a part may be None.
    """
    for field in dataclasses.fields(objective):
        part = getattr(objective, field.name)
        if isinstance(part, tuple):
            for number, item in enumerate(part):
                yield f"{field.name}.{number}", field.name, item
        else:
            yield field.name, field.name, part


def needs_of(part):
    """Returns what a part of an objective says it needs, a tuple of names."""
    asked = tuple(getattr(part, "needs", ()))
    return asked + ("correct",) if over(part) == "correct" else asked


def over(term):
    """Returns which weights a term is summed with, one of `OVER`."""
    return getattr(term, "over", "all")


def fits_batch(method):
    """Returns whether a gate has to see the whole batch first; None has no gate."""
    return method is not None and isinstance(method.gate, gates.BatchFitted)


def shape_advantage(entropy, batch, method):
    """Returns the batch with the advantages that the surrogate is to see."""
    if method.advantage_shaping is None:
        return batch
    advantage = method.advantage_shaping(
        zero_untrained(batch.advantage, batch), zero_untrained(entropy, batch)
    )
    return batch.replace(advantage=advantage)


def loss(logprob, entropy, batch, terms):
    """Returns the loss of some terms: a sum over tokens, as the surrogate is.

    Args:
        logprob: [N, T] log-probability of each response token under the policy.
        entropy: [N, T] of the policy at each token, in nats.
        batch: the `TrainBatch` those tokens come from.
        terms: a tuple of terms.
    """
    value = jnp.float32(0)
    for term in terms:
        rows = batch
        if over(term) == "correct":
            rows = batch.replace(weight=batch.correct_weight)
        price = term(tokens_of(logprob, entropy, rows))
        value = value + jnp.sum(rows.weight * price)
    return value
