"""The dear end of the ladder, for workers only: many digits, then SymPy."""

import functools
from fractions import Fraction

import mpmath
import sympy

from maspo_jax.rewards import equivalence
from maspo_jax.rewards import expression as ex
from maspo_jax.rewards import points as probing
from maspo_jax.rewards.symbolic import Refused, to_sympy


def judge(gold, answer):
    """Returns the name of an outcome for two bare texts."""
    verdict, rule = equivalence.judge(gold, answer, same)
    if verdict is None:
        return "undecided"
    if verdict is False and rule.startswith("unparsed"):
        return "unparsed"
    return "correct" if verdict else "wrong"


@functools.lru_cache(maxsize=1024)
def same(gold, answer):
    """Compares two value nodes as well as this package can."""
    verdict = equivalence.quick(gold, answer)
    return verdict


_unused = (Fraction, mpmath, sympy, ex, probing, Refused, to_sympy)
