"""Random numbers: a stream of its own for every purpose and every seed."""

import itertools

import jax
import pytest

from maspo_jax.runs.keys import PURPOSES, key_for


def test_no_two_purposes_or_seeds_share_a_stream():
    pairs = itertools.product(PURPOSES, (0, 1, 2**32 - 1))
    drawn = {pair: float(jax.random.uniform(key_for(*pair))) for pair in pairs}
    assert len(set(drawn.values())) == len(drawn) == 3 * len(PURPOSES)
    assert drawn["sampling", 0] == float(jax.random.uniform(key_for("sampling", 0)))


def test_a_purpose_that_is_not_listed_has_none():
    with pytest.raises(ValueError):
        key_for("something else", 0)
