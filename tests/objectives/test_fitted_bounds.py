"""The search for bounds, step by step in NumPy: which bound moves, and until when."""

import numpy as np
import pytest

from maspo_jax.objectives import gates

RNG = np.random.default_rng(0)
LOG_RATIO = RNG.normal(0, 0.6, 200)
OLD = -RNG.exponential(1.0, 200)
ADVANTAGE = RNG.normal(0, 1, 200)


def searched(gate, met, lower_first):
    """Returns the bounds, and whether either was still on its way at the end."""
    lower, upper = gate.low_start, gate.high_start
    while not met(lower, upper):
        low = lower < gate.low_stop - 1e-9
        high = upper < gate.high_stop - 1e-9
        if not (low or high):
            break
        if low and (lower_first or not high):
            lower = min(lower + gate.low_step, gate.low_stop)
        else:
            upper = min(upper + gate.high_step, gate.high_stop)
    return lower, upper


def shares(lower, upper, weight):
    ratio = np.exp(LOG_RATIO)
    positive = weight * np.maximum(ADVANTAGE * np.minimum(ratio, upper), 0)
    negative = weight * np.maximum(-ADVANTAGE * np.maximum(ratio, lower), 0)
    return positive.sum(), negative.sum()


def found(gate):
    tokens = (np.float32(each) for each in (LOG_RATIO, ADVANTAGE, OLD))
    fitted = gate.fit(*tokens, total=lambda number: number)
    return float(fitted.lower), float(fitted.upper)


def ends(kind, targets, weight, needed, lower_first):
    """Compares the bounds for every target, and returns them."""
    seen = []
    for target in targets:
        # So small that the other bound would be at its stop first.
        gate = kind(target=float(target), low_step=0.01)

        def met(lower, upper, target=target):
            return needed(target, *shares(lower, upper, weight))

        expected = searched(gate, met, lower_first)
        assert found(gate) == pytest.approx(expected, abs=1e-4), target
        seen.append(tuple(np.round(expected, 4)))
    return seen


def test_the_lower_bound_of_bapo_rises_to_its_stop_before_the_upper_one():
    needed = lambda target, positive, negative: positive >= target * negative
    targets = np.linspace(0.5, 1.5, 25)
    seen = ends(gates.Bapo, targets, 1.0, needed, lower_first=True)
    assert any(lower == 0.8 and 1.2 < upper < 2 for lower, upper in seen)
    assert (0.6, 1.2) in seen and (0.8, 2.0) in seen


def test_the_upper_bound_of_the_paper_rises_before_the_lower_one():
    needed = lambda target, positive, negative: (
        positive >= target * (positive + negative)
    )
    targets = np.linspace(0.3, 0.7, 25)
    seen = ends(gates.PaperBapo, targets, np.exp(OLD), needed, lower_first=False)
    assert any(lower == 0.6 and 1.2 < upper < 3 for lower, upper in seen)
    assert (0.6, 1.2) in seen and (0.9, 3.0) in seen
