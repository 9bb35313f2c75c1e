"""Functions whose value at some arguments is known exactly.

Each `exact_NAME(budget, *forms)` returns the form of NAME at those arguments, or
None where it stays a function; together they are the table of exact values.
"""

import math
from fractions import Fraction

from maspo_jax.rewards.mathematics.algebra.polynomials import (
    CONSTANT,
    MOST_BITS,
    ONE,
    UNIT,
    Undefined,
    Unsupported,
    constant,
    factored,
    invert,
    is_zero,
    key,
    plus,
    rational,
    root_or_power,
    times,
)

LARGEST_FACTORIAL = 5_000
_STRIDE = 100
LARGEST_BINOMIAL = 5_000
_HALF = constant(Fraction(1, 2))


def _atom(name):
    return ({((name, 1),): Fraction(1)}, UNIT)


def _root(number):
    return root_or_power(constant(number), _HALF, _Free())


class _Free:
    def spend(self, units):
        """Tables are built once and counted to nobody."""


def _scaled(form, numerator, denominator=1):
    return times(form, constant(Fraction(numerator, denominator)), _Free())


# sin of k pi / 12 for k = 0 ... 6.
_SINES = (
    constant(0),
    _scaled(plus(_root(6), _scaled(_root(2), -1), _Free()), 1, 4),
    _HALF,
    _scaled(_root(2), 1, 2),
    _scaled(_root(3), 1, 2),
    _scaled(plus(_root(6), _root(2), _Free()), 1, 4),
    constant(1),
)


def _turns(form):
    """Returns how many pi / 12 a form is, or None if not a whole number."""
    if is_zero(form):
        return 0
    top, bottom = form
    if bottom != UNIT or set(top) != {(("pi", 1),)}:
        return None
    twelfths = top[(("pi", 1),)] * 12
    return int(twelfths) if twelfths.denominator == 1 else None


def _sine(twelfths):
    twelfths %= 24
    if twelfths >= 12:
        return _scaled(_sine(twelfths - 12), -1)
    return _SINES[min(twelfths, 12 - twelfths)]


def exact_sin(budget, form):
    """At multiples of 15 degrees."""
    twelfths = _turns(form)
    return None if twelfths is None else _sine(twelfths)


def exact_cos(budget, form):
    """At multiples of 15 degrees."""
    twelfths = _turns(form)
    return None if twelfths is None else _sine(twelfths + 6)


def exact_tan(budget, form):
    """The quotient of sine and cosine."""
    return times(_trig("sin", budget, form), exact_sec(budget, form), budget)


def exact_cot(budget, form):
    """The quotient of cosine and sine."""
    return times(_trig("cos", budget, form), exact_csc(budget, form), budget)


def exact_sec(budget, form):
    """One over cosine."""
    return invert(_trig("cos", budget, form), budget)


def exact_csc(budget, form):
    """One over sine."""
    return invert(_trig("sin", budget, form), budget)


def _trig(name, budget, form):
    value = {"sin": exact_sin, "cos": exact_cos}[name](budget, form)
    return _atom(f"{name}({key(form)})") if value is None else value


def exact_exp(budget, form):
    """A power of e."""
    return root_or_power(_atom("e"), form, budget)


def exact_ln(budget, form):
    """Of a positive rational: the logarithms of its primes; of a power of e."""
    if is_zero(form):
        raise Undefined("the logarithm of zero")
    value = rational(form)
    if value is not None:
        primes = factored(value) if value > 0 else None
        if primes is None:
            return None
        total = constant(0)
        for prime, power in primes:
            total = plus(total, _scaled(_atom(f"ln {prime}"), power), budget)
        return total
    top, bottom = form
    if bottom == UNIT and len(top) == 1:
        ((monomial, coefficient),) = top.items()
        if all(atom == "e" or atom.isdigit() for atom, _ in monomial):
            if coefficient > 0:
                total = exact_ln(budget, constant(coefficient))
                for atom, power in monomial if total else ():
                    part = ONE if atom == "e" else _atom(f"ln {atom}")
                    total = plus(total, times(part, constant(power), budget), budget)
                return total
    return None


def exact_log(budget, form, base):
    """A quotient of natural logarithms."""
    below = _ln(budget, base)
    if is_zero(below):
        raise Undefined("a logarithm to base one")
    return times(_ln(budget, form), invert(below, budget), budget)


def _ln(budget, form):
    value = exact_ln(budget, form)
    return _atom(f"ln({key(form)})") if value is None else value


def exact_abs(budget, form):
    """Of a real number, or of a form up to its sign."""
    value = rational(form)
    if value is not None:
        return constant(abs(value))
    negative = _scaled(form, -1)
    return _atom(f"abs({min(key(form), key(negative))})")


def exact_floor(budget, form):
    """Of a rational."""
    value = rational(form)
    return None if value is None else constant(math.floor(value))


def exact_ceil(budget, form):
    """Of a rational."""
    value = rational(form)
    return None if value is None else constant(math.ceil(value))


def exact_sgn(budget, form):
    """Of a rational."""
    value = rational(form)
    return None if value is None else constant((value > 0) - (value < 0))


def exact_max(budget, *forms):
    """Of rationals."""
    values = [rational(form) for form in forms]
    return None if None in values else constant(max(values))


def exact_min(budget, *forms):
    """Of rationals."""
    values = [rational(form) for form in forms]
    return None if None in values else constant(min(values))


def _integers(forms):
    values = [rational(form) for form in forms]
    if any(value is None or value.denominator != 1 for value in values):
        return None
    return [int(value) for value in values]


def exact_gcd(budget, *forms):
    """Of integers."""
    values = _integers(forms)
    return None if values is None else constant(math.gcd(*values))


def exact_lcm(budget, *forms):
    """Of integers."""
    values = _integers(forms)
    return None if values is None else constant(math.lcm(*values))


def exact_mod(budget, form, modulus):
    """The remainder of an integer, or of an integer's power."""
    values = _integers((form, modulus))
    if values is None:
        return _power_mod(form, modulus)
    if values[1] == 0:
        raise Undefined("modulo zero")
    return constant(values[0] % values[1])


def _power_mod(form, modulus):
    """Of a product of primes whose powers are too large to compute."""
    divisor = _integers((modulus,))
    top, bottom = form
    if not divisor or divisor[0] <= 0 or bottom != UNIT or len(top) != 1:
        return None
    ((monomial, coefficient),) = top.items()
    if coefficient.denominator != 1:
        return None
    remainder = int(coefficient)
    for atom, power in monomial:
        if not atom.isdigit() or Fraction(power).denominator != 1 or power < 0:
            return None
        if int(power).bit_length() > 10_000:
            return None
        remainder = remainder * pow(int(atom), int(power), divisor[0]) % divisor[0]
    return constant(remainder)


def exact_factorial(budget, form):
    """Of a small integer; else (n + 3)! becomes n! (n + 1) (n + 2) (n + 3)."""
    values = _integers((form,))
    if values is not None:
        (value,) = values
        if value < 0:
            raise Undefined("the factorial of a negative integer")
        if value <= LARGEST_FACTORIAL:
            budget.spend(value // 20)
            return constant(math.factorial(value))
        # 5023! is 5000! times 23 numbers: neighbors stay comparable.
        shift = Fraction(value % _STRIDE)
    else:
        shift = form[0].get(CONSTANT, Fraction(0))
    if form[1] != UNIT or shift.denominator != 1 or abs(shift) > _STRIDE or not shift:
        return None
    rest = plus(form, constant(-shift), budget)
    result = _atom(f"factorial({key(rest)})")
    for step in range(1, int(shift) + 1):
        result = times(result, plus(rest, constant(step), budget), budget)
    for step in range(int(shift) + 1, 1):
        below = plus(rest, constant(step), budget)
        result = times(result, invert(below, budget), budget)
    return result


def exact_factorial2(budget, form):
    """Of a small integer."""
    values = _integers((form,))
    if values is None:
        return None
    (value,) = values
    if not 0 <= value <= LARGEST_FACTORIAL:
        raise Unsupported("too large a double factorial")
    budget.spend(value // 20)
    return constant(math.prod(range(value, 0, -2)))


def exact_binomial(budget, top, bottom):
    """Of small integers; else a quotient of factorials."""
    values = _integers((top, bottom))
    if values is not None:
        n, k = values
        if n < 0 or k < 0:
            raise Unsupported("a binomial of negative integers")
        if n > LARGEST_BINOMIAL and min(k, n - k) > MOST_BITS // n.bit_length() // 4:
            raise Unsupported("too large a binomial")
        budget.spend(min(k, abs(n - k)) // 10)
        return constant(math.comb(n, k))
    rest = plus(top, _scaled(bottom, -1), budget)
    below = times(_factorial(budget, bottom), _factorial(budget, rest), budget)
    return times(_factorial(budget, top), invert(below, budget), budget)


def _factorial(budget, form):
    value = exact_factorial(budget, form)
    return _atom(f"factorial({key(form)})") if value is None else value
