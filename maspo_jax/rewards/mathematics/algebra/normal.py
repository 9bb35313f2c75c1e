"""A normal form in which equal expressions are often, and unequal never, the same.

A form is a quotient of two polynomials with rational coefficients over atoms:
variables, primes (with fractional exponents, so that roots are atoms too), pi, i,
powers with symbolic exponents, and functions of forms. A polynomial is a dict
from monomial to `Fraction`; a monomial is a sorted tuple of (atom, exponent).

Two expressions whose forms agree after cross-multiplication are equal for every
value of the atoms: that is a proof. Forms that disagree prove nothing, unless
both are rational numbers. Work is counted, and refused beyond `BUDGET`.
"""

import functools
from fractions import Fraction

from maspo_jax.rewards.mathematics.algebra import functions
from maspo_jax.rewards.mathematics.algebra.polynomials import (
    ONE,
    ZERO,
    Budget,
    Undefined,
    Unsupported,
    constant,
    is_product_of_primes,
    is_zero,
    key,
    plus,
    rational,
    root_or_power,
    times,
)
from maspo_jax.rewards.mathematics.language import expression as ex

MOST_TERMS = 500  # of a sum or product that is written out

__all__ = ["Undefined", "Unsupported", "normal", "rational_value", "same"]


@functools.lru_cache(maxsize=1024)
def normal(node):
    """Returns the form of a value node.

    Raises:
        Undefined: the value does not exist (0/0).
        Unsupported: this kind of node, or one this large, has no form here.
    """
    return _Normalizer(Budget()).form(node)


def rational_value(node):
    """Returns the `Fraction` of a value node, or None."""
    try:
        return rational(normal(node))
    except ArithmeticError:
        return None


def same(left, right):
    """Returns True or False if the forms of two nodes decide, else None."""
    forms = [_form_or_none(node) for node in (left, right)]
    if UNDEFINED in forms:
        return False
    if None in forms:
        return None
    a, b = forms
    if a == b:
        return True
    first, second = rational(a), rational(b)
    if first is not None and second is not None:
        return first == second
    try:
        if _crossed(a, b):
            return True
    except Unsupported:
        return None
    # Different products of powers of primes are different numbers.
    return False if is_product_of_primes(a) and is_product_of_primes(b) else None


UNDEFINED = object()


def _form_or_none(node):
    """Returns the form of a node, UNDEFINED, or None where it has none here."""
    try:
        return normal(node)
    except Undefined:
        return UNDEFINED
    except Unsupported:
        return None


def _crossed(a, b):
    """Whether two quotients agree after multiplying crosswise."""
    budget = Budget()
    left = times((a[0], ONE[1]), (b[1], ONE[1]), budget)
    right = times((b[0], ONE[1]), (a[1], ONE[1]), budget)
    return is_zero(plus(left, times(right, constant(-1), budget), budget))


class _Normalizer:
    """Builds one form, bottom up, against one budget."""

    def __init__(self, budget):
        self.budget = budget

    def form(self, node):
        self.budget.spend(1)
        return getattr(self, type(node).__name__.lower(), self.unsupported)(node)

    def unsupported(self, node):
        raise Unsupported(type(node).__name__)

    def num(self, node):
        return constant(node.value)

    def sym(self, node):
        return _atom("sym " + node.name)

    def const(self, node):
        if node.name in ("pi", "e", "i"):
            return _atom(node.name)
        raise Unsupported(node.name)

    def add(self, node):
        total = ZERO
        for term in node.terms:
            total = plus(total, self.form(term), self.budget)
        return total

    def mul(self, node):
        total = ONE
        for factor in node.factors:
            total = times(total, self.form(factor), self.budget)
        return total

    def pow(self, node):
        return root_or_power(
            self.form(node.base), self.form(node.exponent), self.budget
        )

    def percent(self, node):
        return times(self.form(node.arg), constant(Fraction(1, 100)), self.budget)

    def degrees(self, node):
        turn = times(_atom("pi"), constant(Fraction(1, 180)), self.budget)
        return times(self.form(node.arg), turn, self.budget)

    def based(self, node):
        try:
            return constant(int(node.digits, node.base))
        except ValueError:
            raise Undefined("a digit that the base does not have") from None

    def binder(self, node):
        low, high = (rational(self.form(bound)) for bound in (*node.bounds, ex.ONE)[:2])
        if node.kind not in ("sum", "prod") or None in (low, high):
            raise Unsupported(node.kind)
        if low.denominator != 1 or high.denominator != 1 or high - low > MOST_TERMS:
            raise Unsupported("too many terms")
        total, combine = (ZERO, plus) if node.kind == "sum" else (ONE, times)
        for number in range(int(low), int(high) + 1):
            term = self.form(ex.instance(node, Fraction(number)))
            total = combine(total, term, self.budget)
        return total

    def call(self, node):
        args = [self.form(arg) for arg in node.args]
        exact = getattr(functions, "exact_" + node.name.split()[0], None)
        if exact is not None:
            value = exact(self.budget, *args)
            if value is not None:
                return value
        return _atom(f"{node.name}({'; '.join(map(key, args))})")


def _atom(name):
    return ({((name, 1),): Fraction(1)}, ONE[1])
