"""Whether two numbers or expressions are the same value.

    structure -> exact normal form -> decimal for an exact value -> probes

`quick` needs no library and no time limit. It returns None where a proof or more
digits are needed, which is what workers are for.
"""

from fractions import Fraction

from maspo_jax.rewards.mathematics.algebra import balls, normal
from maspo_jax.rewards.mathematics.language import expression as ex
from maspo_jax.rewards.mathematics.logic import either, every

NEAR = 7  # significant digits in which a decimal may stand for an exact value
FLOAT_DIGITS = 15  # beyond these a printed double is noise
VALUES = (
    ex.Num, ex.Sym, ex.Const, ex.Add, ex.Mul, ex.Pow, ex.Call, ex.Percent, ex.Degrees,
    ex.Based, ex.Ratio, ex.Binder,
)  # fmt: skip


def match_values(gold, answer, same):
    """Compares two values with their percent signs, degrees, bases and colons."""
    if isinstance(gold, ex.Ratio) or isinstance(answer, ex.Ratio):
        return _match_ratios(gold, answer, same)
    for mark in (ex.Percent, ex.Degrees):
        marked = isinstance(gold, mark), isinstance(answer, mark)
        if all(marked):
            return same(gold.arg, answer.arg)
        if any(marked):
            bare = (gold.arg, answer) if marked[0] else (gold, answer.arg)
            return either(same(*pair) for pair in (bare, (gold, answer)))
    if isinstance(gold, ex.Based) or isinstance(answer, ex.Based):
        return _match_based(gold, answer)
    if isinstance(gold, ex.Add | ex.Mul) or isinstance(answer, ex.Add | ex.Mul):
        bare = _without_degrees(gold), _without_degrees(answer)
        if bare != (gold, answer):  # 180° - 2a, a in degrees
            return either(same(*pair) for pair in (bare, (gold, answer)))
    return same(gold, answer)


def _is_constant(node):
    number = node.base if isinstance(node, ex.Pow) else node
    return isinstance(number, ex.Num)


def _without_degrees(node):
    """Returns a sum, or so many times one, whose terms in degrees are bare numbers."""
    if isinstance(node, ex.Degrees):
        return node.arg
    if isinstance(node, ex.Mul):
        bare = tuple(map(_without_degrees, node.factors))
        return ex.Mul(bare) if sum(map(_is_constant, bare)) == len(bare) - 1 else node
    if isinstance(node, ex.Add):
        return ex.Add(tuple(map(_without_degrees, node.terms)))
    return node


def _match_ratios(gold, answer, same):
    if isinstance(gold, ex.Ratio) and isinstance(answer, ex.Ratio):
        if len(gold.parts) != len(answer.parts):
            return False
        return every(map(same, gold.parts, answer.parts))
    ratio, other = (gold, answer) if isinstance(gold, ex.Ratio) else (answer, gold)
    if len(ratio.parts) != 2:
        return False
    return same(ex.quotient(*ratio.parts), other)


def _match_based(gold, answer):
    if isinstance(gold, ex.Based) and isinstance(answer, ex.Based):
        digits = gold.digits.lower().lstrip("0") == answer.digits.lower().lstrip("0")
        return digits and gold.base == answer.base
    # What is asked for in a base is its digits: 12 in base three is not answered by 5.
    based, other = (gold, answer) if isinstance(gold, ex.Based) else (answer, gold)
    return based.digits.isdigit() and other == ex.Num(Fraction(based.digits))


def quick(gold, answer):
    """Compares two value nodes without any library: True, False or None."""
    if not isinstance(gold, VALUES) or not isinstance(answer, VALUES):
        return False
    if gold == answer:
        return True
    if _boundless(gold) or _boundless(answer):
        return False  # infinity equals itself, as written, and no number
    verdict = normal.same(gold, answer)
    if verdict:
        return True
    near = near_literal(gold, answer)
    if near is not None:
        return _is_near(*near)
    if verdict is None and balls.differ(gold, answer):
        return False
    return verdict


def _boundless(node):
    if isinstance(node, ex.Const):
        return node.name not in ("pi", "e", "i")
    if isinstance(node, ex.Binder):
        return _boundless(node.body)  # a series may well have a value
    return any(map(_boundless, ex.children(node)))


def _is_near(other, low, high):
    """Whether a value lies between two rationals: True, False or None."""
    value = normal.rational_value(other)
    if value is not None:
        return low <= value <= high
    try:
        number, error = balls.ball(other, {})
    except (ArithmeticError, ValueError, KeyError):
        return None
    if isinstance(number, complex):
        return False
    least, most = Fraction(number) - Fraction(error), Fraction(number) + Fraction(error)
    if low <= least and most <= high:
        return True
    return False if most < low or high < least else None


def near_literal(gold, answer):
    """Returns what a decimal on one side may stand for on the other, or None.

    That is what is rounded to it, or cut off to it: 0.3333333 and 0.6666666 are a third
    and two thirds, 0.3333334 is not. Beyond the digits of a double the last are noise.
    No decimal stands for an exact value where neither side is a long decimal, or both
    are, or it is a whole number, or the other side is itself a finite decimal.

    Returns:
        The other side, and the least and the largest value of it.
    """
    first, second = ex.decimal(gold), ex.decimal(answer)
    if (first is None) == (second is None):
        return None
    literal, other = (first, answer) if first else (second, gold)
    if literal.digits < NEAR or literal.value.denominator == 1:
        return None
    value = normal.rational_value(other)
    if value is not None and _is_finite(value):
        return None
    excess = max(literal.digits - FLOAT_DIGITS, 0)
    unit = Fraction(10) ** (literal.exponent + excess)
    under, over = (unit, unit) if excess else (unit / 2, unit)
    if literal.value < 0:
        under, over = over, under
    return other, literal.value - under, literal.value + over


def _is_finite(value):
    """Whether a rational has a finite decimal expansion."""
    denominator = value.denominator
    for prime in (2, 5):
        while denominator % prime == 0:
            denominator //= prime
    return denominator == 1
