"""Section 11 of the specification: what each gate does far from the old policy.

Every gate of the package has a row here; one without is noticed.
"""

import dataclasses

import numpy as np
import pytest
from support.members import GATES, random_tokens, weights

from maspo_jax.objectives import gates

Q = (1e-4, 0.05, 0.3, 0.9)  # probabilities under the old policy


@dataclasses.dataclass(frozen=True)
class Nature:
    """What a gate is like, as it is given."""

    gate: object
    continuous: bool  # g in the ratio
    bounded: bool  # g, over all ratios
    push: float  # W q as pi goes to 0, A < 0
    plain_against: bool  # g is the ratio where a token moved against the advantage


NARROW = gates.Maspo(alpha=0.0, beta_negative=0.0)  # sigma is one everywhere
BELL = np.cosh(1.05 / 2) ** -2
NATURE = [
    Nature(gates.Clip(), False, True, 0, True),
    Nature(gates.Dac(), False, True, 0, True),
    Nature(gates.Bapo(), False, True, 0, True),
    Nature(gates.PaperBapo(), False, False, 0, True),
    Nature(gates.Dppo(), False, True, 0, True),
    Nature(gates.Sapo(), True, True, BELL, False),
    Nature(gates.UnilateralSapo(), True, False, BELL, True),
    Nature(NARROW, True, False, np.exp(-0.5), True),
    Nature(gates.BilateralMaspo(NARROW), True, True, np.exp(-0.5), False),
    Nature(gates.Cispo(), True, True, np.inf, False),
    Nature(gates.Gppo(dual=np.inf), True, False, np.inf, True),
    Nature(gates.CeGppo(dual=np.inf), False, False, np.inf, True),
    Nature(gates.Aspo(), False, True, 0, False),
    Nature(gates.Dgpo(), True, False, 0, True),
    Nature(gates.ImportanceSampling(), True, False, 1, True),
    Nature(gates.Reinforce(), True, True, np.inf, False),
    Nature(gates.Gspo(), False, False, 0, True),
    Nature(gates.Gmpo(), False, False, 0, True),
]
every_nature = pytest.mark.parametrize(
    "nature", NATURE, ids=lambda nature: type(nature.gate).__name__
)


def fixed(gate):
    """The gate of single tokens: bounds that are fitted, fitted to other ones."""
    if isinstance(gate, gates.BatchFitted):
        return gate.fit(*random_tokens(), total=lambda number: number)
    return gate


def test_every_gate_has_a_row():
    rows = {type(nature.gate).__name__ for nature in NATURE}
    missing = {type(gate).__name__ for gate in GATES} - rows
    assert not missing, f"add a row to NATURE for {missing}"


@every_nature
def test_continuity(nature):
    gate, ratio = fixed(nature.gate), np.linspace(0.01, 9, 60001)
    steps = [
        np.abs(np.diff(weights(gate, ratio, sign, q))).max()
        for sign in (-1.0, 1.0)
        for q in Q
    ]
    assert (max(steps) < 0.01) == nature.continuous


@every_nature
def test_boundedness(nature):
    gate, ratio = fixed(nature.gate), np.exp(np.linspace(-20, 20, 401))
    largest = max(np.max(weights(gate, ratio, sign, q=1e-9)) for sign in (-1.0, 1.0))
    assert (largest <= 100) == nature.bounded


@every_nature
def test_the_push_on_vanishing_tokens(nature):
    ratio = np.exp(-15.0)
    push = weights(fixed(nature.gate), ratio, -1.0)[0] / ratio
    if np.isinf(nature.push):
        assert push > 1e5
    else:
        np.testing.assert_allclose(push, nature.push, rtol=1e-4, atol=1e-5)


@every_nature
@pytest.mark.parametrize("q", Q)
def test_only_gates_with_an_unbounded_push_open_on_the_way(nature, q):
    """Further in the direction of the advantage, any other gate never rises."""
    far = np.exp(np.linspace(0, 12, 2001))
    rise = 0.0
    for ratio, sign in ((far, 1.0), (1 / far, -1.0)):
        gate = weights(fixed(nature.gate), ratio, sign, q) / ratio
        rise = max(rise, np.max(np.diff(gate)))
    assert (rise > 1e-5) == np.isinf(nature.push)


@every_nature
def test_against_the_advantage(nature):
    """Below any dual clip and cap."""
    gate, moved = fixed(nature.gate), {1.0: [0.1, 0.5, 0.9], -1.0: [1.1, 2.0, 2.9]}
    plain = [
        np.allclose(weights(gate, ratio, sign, q), ratio, rtol=1e-5)
        for sign, ratio in moved.items()
        for q in Q
    ]
    assert all(plain) == nature.plain_against
