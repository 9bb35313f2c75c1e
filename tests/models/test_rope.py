"""How checkpoints stretch rotary positions: fast pairs stay, slow ones slow down."""

import math

import numpy as np
import pytest

from maspo_jax.models import rope

THETA, WIDTH, LENGTH = 1e4, 64, 2048
PLAIN, _ = rope.frequencies(THETA, WIDTH)
TURNS = LENGTH * PLAIN / (2 * math.pi)  # of each pair within the original length


def test_pairs_turn_by_powers_of_theta():
    expected = [THETA ** (-2 * i / WIDTH) for i in range(WIDTH // 2)]
    np.testing.assert_allclose(PLAIN, expected)


def test_interpolation_slows_all_alike():
    found, scale = rope.frequencies(THETA, WIDTH, rope.Linear(4.0))
    np.testing.assert_allclose(found, PLAIN / 4)
    assert scale == 1


@pytest.mark.parametrize(
    "scaling, fast, slow, scale",
    [
        (rope.Yarn(8.0, LENGTH), 32, 1, 1 + 0.1 * math.log(8)),
        (rope.Yarn(8.0, LENGTH, 16, 2, scale=1.5, rounded=False), 16, 2, 1.5),
        (rope.Llama3(8.0, 1.0, 4.0, LENGTH), 4, 1, 1.0),
    ],
    ids=["yarn", "yarn as given", "llama3"],
)
def test_fast_pairs_stay_slow_ones_slow_down_and_others_lie_between(
    scaling, fast, slow, scale
):
    found, given = rope.frequencies(THETA, WIDTH, scaling)
    assert given == pytest.approx(scale)
    share = found / PLAIN
    # A pair more on either side, where the ends of the ramp are rounded outwards.
    step = THETA ** (2 / WIDTH) if getattr(scaling, "rounded", False) else 1
    np.testing.assert_allclose(share[TURNS > fast * step], 1)
    np.testing.assert_allclose(share[TURNS < slow / step], 1 / 8)
    between = (TURNS < fast) & (TURNS > slow)
    assert between.sum() > 3
    assert (np.diff(share) <= 1e-12).all()
    assert (share[between] < 1).any() and (share[between] > 1 / 8).any()
    assert (TURNS > fast * step).any() and (TURNS < slow / step).any()


def test_the_ramp_of_llama3_is_linear_in_turns():
    found, _ = rope.frequencies(THETA, WIDTH, rope.Llama3(8.0, 1.0, 4.0, LENGTH))
    share = np.interp(TURNS, [1, 4], [0, 1])
    np.testing.assert_allclose(found, PLAIN * (share + (1 - share) / 8))
