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


@pytest.mark.parametrize("seed", [0, 7, 2**31, 2**32 - 1])
def test_counts_are_folded_in_one_after_another(seed):
    """One program for what are otherwise several; drawn is the same as ever."""
    key = jax.random.fold_in(jax.random.key(seed), PURPOSES.index("resampling"))
    key = jax.random.fold_in(jax.random.fold_in(key, 5), 2)
    assert key_for("resampling", seed, 5, 2) == key
