"""Gates: how much of each token's policy gradient a method lets through.

Every method ascends

    sum_t  weight_t * gate_t * ratio_t * advantage_t * grad log pi_t

with ratio = pi / q, q the policy the ratio is anchored to. A gate is a function

    gate(log_ratio, advantage, old_logprob) -> [...]

of arrays of one shape, [...]: the clamped log-ratio, the advantage and log q of
each token. It is a constant to the gradient. A gate of one is the plain
importance-weighted policy gradient. Settings are pytree leaves: changing a float for
another does not recompile, and `jax.vmap` over a gate is a sweep. `validate_settings`
refuses those out of their range.

A gate that looks beyond single tokens reads responses along the last axis and
knows padding, which the surrogate replaces by zeros, from all three arrays being
zero there. One that chooses its settings from the whole optimization batch is
`BatchFitted`, one that has more to log than itself is `Detailed`; nothing has to be
declared for either, the method is enough.
"""

from typing import Protocol, runtime_checkable

import jax

from maspo_jax.objectives.gates.clipping import Bapo, Clip, Dac, Dppo, PaperBapo
from maspo_jax.objectives.gates.reweighting import (
    Aspo,
    CeGppo,
    Cispo,
    Gppo,
    ImportanceSampling,
    Reinforce,
)
from maspo_jax.objectives.gates.sequence import Gmpo, Gspo
from maspo_jax.objectives.gates.settings import setting, validate_settings
from maspo_jax.objectives.gates.soft import (
    BilateralMaspo,
    Dgpo,
    Maspo,
    Sapo,
    UnilateralSapo,
)

__all__ = [
    "Aspo",
    "Bapo",
    "BatchFitted",
    "BilateralMaspo",
    "CeGppo",
    "Cispo",
    "Clip",
    "Dac",
    "Detailed",
    "Dgpo",
    "Dppo",
    "Gate",
    "Gmpo",
    "Gppo",
    "Gspo",
    "ImportanceSampling",
    "Maspo",
    "PaperBapo",
    "Reinforce",
    "Sapo",
    "UnilateralSapo",
    "setting",
    "validate_settings",
]


class Gate(Protocol):
    """What the surrogate asks of a method."""

    def __call__(self, log_ratio, advantage, old_logprob) -> jax.Array:
        """Returns the gate, [...], for arrays of one shape, [...]."""


@runtime_checkable
class BatchFitted(Protocol):
    """A gate that is fitted to each optimization batch before it is used."""

    def fit(self, log_ratio, advantage, old_logprob, total) -> Gate:
        """Returns the gate to use, from a part of the batch, [...] each.

        `total` adds a number over the parts of the batch that are elsewhere.
        """


@runtime_checkable
class Detailed(Protocol):
    """A gate with more to log than its value."""

    def details(self, advantage, old_logprob) -> dict[str, jax.Array]:
        """Returns {name: positive numbers or booleans, [...]} for each token, [...]."""
