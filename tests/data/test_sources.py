"""What every source says of itself, and which of its problems stand for it."""

import pytest

from maspo_jax.data import sources
from maspo_jax.data.prompts import templates
from maspo_jax.data.sources import Chains, Distinct, First, Fitting, Mixture, Sample
from maspo_jax.data.sources.arithmetic import tokenizer
from maspo_jax.data.sources.problem import SAMPLE_OF_UNIFORM, problems_to_check

MANY = Chains(size=SAMPLE_OF_UNIFORM + 5)
GIVEN = [MANY[index] for index in range(len(MANY))]  # no attribute `uniform`
SELECTIONS = (
    lambda source: First(source, SAMPLE_OF_UNIFORM + 3),
    lambda source: Sample(source, SAMPLE_OF_UNIFORM + 3),
    lambda source: Fitting(source, templates.PLAIN, tokenizer(), 20),
    Distinct,
)


@pytest.mark.parametrize("select", SELECTIONS)
def test_a_selection_is_as_uniform_as_what_it_is_of(select):
    few, all_of_them = select(MANY), select(GIVEN)
    expected = [few[index] for index in range(SAMPLE_OF_UNIFORM)]
    assert list(problems_to_check(few)) == expected
    assert list(problems_to_check(all_of_them)) == list(all_of_them)


def test_a_mixture_is_checked_whole():
    mixture = Mixture((MANY, Chains(size=300, seed=1)), (1, 1))
    assert len(list(problems_to_check(mixture))) == len(mixture)


def test_the_room_exports_what_its_map_names():
    for name in sources.__all__:
        assert name in sources.__doc__ or name in ("Columns", "Problem", "Source")
        assert getattr(sources, name).__doc__
