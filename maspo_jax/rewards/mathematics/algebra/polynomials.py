"""Arithmetic on quotients of polynomials over named atoms, within a budget."""

import functools
import math
from fractions import Fraction

BUDGET = 3_000  # units of work for one form; one is a product of two small terms
LONGEST_KEY = 12_000  # characters; names hold names, and would double level by level
MOST_BITS = 40_000  # of an integer that is computed; larger powers stay powers
_LARGEST_PRIME = 2_000  # primes tried
_MOST_FACTORED = 400  # of an integer that is tried at all

CONSTANT = ()  # the monomial of a number
UNIT = {CONSTANT: Fraction(1)}
ZERO = ({}, UNIT)
ONE = (UNIT, UNIT)


class Undefined(ArithmeticError):
    """The expression has no value."""


class Unsupported(ArithmeticError):
    """The expression has no normal form here, or is too large for one."""


class Budget:
    """Counts work; raises `Unsupported` when there has been too much."""

    def __init__(self, units=BUDGET):
        self.units = units

    def spend(self, units):
        """Takes `units` of what is left."""
        self.units -= units
        if self.units < 0:
            raise Unsupported("too much work")


def constant(value):
    """Returns the form of a rational number."""
    value = Fraction(value)
    return ({CONSTANT: value}, UNIT) if value else ZERO


def rational(form):
    """Returns the `Fraction` a form is, or None."""
    top, bottom = form
    if bottom != UNIT or len(top) > 1:
        return None
    if not top:
        return Fraction(0)
    return top.get(CONSTANT)


def is_zero(form):
    """Whether a form is identically zero."""
    return not form[0]


def is_product_of_primes(form):
    """Whether a form is one term: a rational times rational powers of primes."""
    top, bottom = form
    if bottom != UNIT or len(top) != 1:
        return False
    ((monomial, _),) = top.items()
    return all(atom.isdigit() for atom, _ in monomial)


def key(form):
    """Returns a string that equal forms share; raises `Unsupported` if too long."""
    top, bottom = form
    text = _polynomial_key(top)
    return _short(text if bottom == UNIT else f"({text})/({_polynomial_key(bottom)})")


def _polynomial_key(polynomial):
    terms = sorted((monomial_key(m), _digest(c)) for m, c in polynomial.items())
    return "+".join(f"{c}{m}" for m, c in terms) or "0"


def _digest(value):
    if value.numerator.bit_length() + value.denominator.bit_length() < 4_000:
        return str(value)
    return f"{value.numerator:x}/{value.denominator:x}"


def monomial_key(monomial):
    """Returns a string that equal monomials share."""
    return _short("".join(f"*{atom}^{_digest(power)}" for atom, power in monomial))


def _short(text):
    if len(text) > LONGEST_KEY:
        raise Unsupported("too long a name")
    return text


def plus(a, b, budget):
    """Returns the sum of two forms."""
    if a[1] == b[1]:
        return reduced(_add(a[0], b[0], budget), a[1], budget)
    top = _add(_multiply(a[0], b[1], budget), _multiply(b[0], a[1], budget), budget)
    return reduced(top, _multiply(a[1], b[1], budget), budget)


def times(a, b, budget):
    """Returns the product of two forms."""
    top = _multiply(a[0], b[0], budget)
    if a[1] is UNIT and b[1] is UNIT:
        return (top, UNIT)
    return reduced(top, _multiply(a[1], b[1], budget), budget)


def invert(form, budget):
    """Returns one over a form."""
    if is_zero(form):
        raise Undefined("division by zero")
    return reduced(form[1], form[0], budget)


def reduced(top, bottom, budget):
    """Returns the form top / bottom, with a one-term bottom divided out."""
    if not bottom:
        raise Undefined("division by zero")
    if not top:
        return ZERO
    if bottom == UNIT:
        return (top, UNIT)
    if top == bottom:
        return ONE
    if len(bottom) == 1:
        ((monomial, coefficient),) = bottom.items()
        inverse = tuple((atom, -power) for atom, power in monomial)
        return (_multiply(top, _settled(inverse, 1 / coefficient), budget), UNIT)
    # A common scale for the coefficients, so that equal forms look the same.
    lead = bottom[min(bottom)]
    if lead != 1:
        budget.spend(len(top) + len(bottom))
        top = {monomial: value / lead for monomial, value in top.items()}
        bottom = {monomial: value / lead for monomial, value in bottom.items()}
    return (top, bottom)


def _add(a, b, budget):
    budget.spend(len(b))
    total = dict(a)
    for monomial, coefficient in b.items():
        value = total.get(monomial, 0) + coefficient
        if value:
            total[monomial] = value
        else:
            total.pop(monomial, None)
    return total


def _multiply(a, b, budget):
    if b is UNIT:
        return a
    if a is UNIT:
        return b
    product = {}
    for first, left in a.items():
        for second, right in b.items():
            bits = left.numerator.bit_length() + right.numerator.bit_length()
            bits += left.denominator.bit_length() + right.denominator.bit_length()
            if bits > 4 * MOST_BITS:
                raise Unsupported("too large a number")
            budget.spend(1 + (len(first) + len(second)) // 4 + bits // 500)
            if not first or not second:
                settled = {first or second: left * right}
                if len(first) + len(second) and _has_huge(first or second):
                    settled = _settled(first or second, left * right)
            else:
                settled = _settled(_merged(first, second), left * right)
            for monomial, coefficient in settled.items():
                value = product.get(monomial, 0) + coefficient
                if value:
                    product[monomial] = value
                else:
                    product.pop(monomial, None)
    return product


def _merged(first, second):
    powers = dict(first)
    for atom, power in second:
        powers[atom] = powers.get(atom, 0) + power
    return tuple(powers.items())


def _has_huge(monomial):
    return any(atom.isdigit() and abs(power) >= 1 for atom, power in monomial)


def _settled(monomial, coefficient):
    """Returns {monomial: coefficient} with i^2 = -1 and whole powers of primes out."""
    powers = []
    for atom, power in monomial:
        if power == 0:
            continue
        if atom == "i":
            quarter = power % 4
            if quarter >= 2:
                coefficient, quarter = -coefficient, quarter - 2
            if quarter:
                powers.append((atom, quarter))
        elif atom.isdigit():
            coefficient, power = _prime_power(int(atom), power, coefficient)
            if power:
                powers.append((atom, power))
        else:
            powers.append((atom, power))
    return {tuple(sorted(powers)): coefficient}


def _prime_power(prime, power, coefficient):
    whole = math.floor(power)
    if abs(whole) * prime.bit_length() <= MOST_BITS:
        return coefficient * Fraction(prime) ** whole, power - whole
    # Too large to compute: move the prime's powers from the coefficient to it.
    top, bottom = coefficient.numerator, coefficient.denominator
    while top % prime == 0:
        top, power = top // prime, power + 1
    while bottom % prime == 0:
        bottom, power = bottom // prime, power - 1
    return Fraction(top, bottom), power


def root_or_power(base, exponent, budget):
    """Returns the form of base to the exponent."""
    power = rational(exponent)
    if power is None:
        return _symbolic_power(base, exponent, budget)
    if is_zero(base):
        if power <= 0:
            raise Undefined("zero to a power that is not positive")
        return ZERO
    if power == 1:
        return base
    single = _single_power(base, power, budget)
    if single is not None:
        return single
    if power.denominator == 1 and abs(power) <= 32:
        result = ONE
        for _ in range(abs(int(power))):
            result = times(result, base, budget)
        return result if power > 0 else invert(result, budget)
    return ({((f"[{key(base)}]", _plain(power)),): Fraction(1)}, UNIT)


def _plain(power):
    return int(power) if power.denominator == 1 else power


def _single_power(base, power, budget):
    """The power of a form with one term, or None where that would be unsound."""
    top, bottom = base
    if len(top) != 1 or bottom != UNIT:
        return None
    ((monomial, coefficient),) = top.items()
    whole = power.denominator == 1
    if not whole:
        free = [p for atom, p in monomial if not is_positive(atom)]
        if len(free) > 1 or any(not -1 < p <= 1 for p in free):
            return None
        if coefficient < 0 and (free or power.denominator != 2):
            return None
    budget.spend(1 + len(monomial))
    powers = tuple((atom, _plain(Fraction(p) * power)) for atom, p in monomial)
    scale = _rational_power(abs(coefficient), power, budget)
    if scale is None:
        return None
    if coefficient < 0:
        scale = times(scale, _signs(power), budget)
    return times((_settled(powers, Fraction(1)), UNIT), scale, budget)


def _signs(power):
    """(-1) to an integer or half-integer power."""
    return (_settled((("i", int(2 * power)),), Fraction(1)), UNIT)


def _rational_power(value, power, budget):
    """The power of a positive rational, as powers of primes; None if too hard."""
    if value == 1:
        return ONE
    bits = value.numerator.bit_length() + value.denominator.bit_length()
    if power.denominator == 1 and bits * abs(power) <= MOST_BITS:
        budget.spend(1 + int(bits * abs(power)) // 500)
        return constant(value ** int(power))
    primes = factored(value)
    if primes is None:
        return None
    budget.spend(len(primes))
    powers = tuple((str(p), _plain(n * power)) for p, n in primes)
    return (_settled(powers, Fraction(1)), UNIT)


def _symbolic_power(base, exponent, budget):
    value = rational(base)
    top, bottom = exponent
    if value is not None and value > 0:
        primes = factored(value)
        names = None if primes is None else [(str(p), n) for p, n in primes]
    elif base == ({(("e", 1),): Fraction(1)}, UNIT):
        names = [("e", 1)]
    else:
        names = None
    if is_zero(base):
        raise Unsupported("a symbolic power of zero")
    if names is None:
        names = [(f"[{key(base)}]", 1)]
    result = ONE
    if bottom != UNIT:
        powers = tuple((f"{name}**{key(exponent)}", count) for name, count in names)
        return (_settled(powers, Fraction(1)), UNIT)
    for monomial, coefficient in top.items():
        if monomial == CONSTANT:
            part = root_or_power(base, constant(coefficient), budget)
        else:
            inner = monomial_key(monomial)
            powers = [(f"{name}**{inner}", n * coefficient) for name, n in names]
            powers = tuple((name, _plain(power)) for name, power in powers)
            part = (_settled(powers, Fraction(1)), UNIT)
        result = times(result, part, budget)
    return result


def is_positive(atom):
    """Whether an atom stands for a positive real number."""
    return atom.isdigit() or atom in ("pi", "e")


# Prime factors of rationals, as far as trial division finds them.


@functools.lru_cache(maxsize=4096)
def factored(value):
    """Returns the (prime, exponent) pairs of a positive rational, or None."""
    powers = _factored_integer(value.numerator)
    below = _factored_integer(value.denominator)
    if powers is None or below is None:
        return None
    return (*powers, *((prime, -power) for prime, power in below))


def _factored_integer(number):
    powers = []
    if number.bit_length() > _MOST_FACTORED:
        return None
    for prime in _PRIMES:
        if prime * prime > number:
            break
        count = 0
        while number % prime == 0:
            number, count = number // prime, count + 1
        if count:
            powers.append((prime, count))
    if number == 1:
        return powers
    if number < _PRIMES[-1] ** 2:
        return [*powers, (number, 1)]
    return None


def _sieve(limit):
    found = [True] * limit
    for number in range(2, math.isqrt(limit) + 1):
        if found[number]:
            found[number * number :: number] = [False] * len(
                found[number * number :: number]
            )
    return [number for number in range(2, limit) if found[number]]


_PRIMES = _sieve(_LARGEST_PRIME)
