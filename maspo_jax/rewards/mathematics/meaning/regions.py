"""Sets of real numbers: intervals with exact endpoints, their unions and cuts.

An inequality in one variable is the set of the numbers for which it holds.
"""

import dataclasses
import functools

from maspo_jax.rewards.mathematics.algebra import balls, normal
from maspo_jax.rewards.mathematics.algebra.polynomials import UNIT
from maspo_jax.rewards.mathematics.language import expression as ex
from maspo_jax.rewards.mathematics.language.tokens import Unreadable

_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "!=": "!=", "=": "="}


@dataclasses.dataclass(frozen=True, slots=True)
class Interval:
    """From `low` to `high`; None is without bound."""

    low: object
    has_low: bool
    high: object
    has_high: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Region:
    """Disjoint intervals in rising order, and the name of what ranges over them."""

    name: str | None
    intervals: tuple


LINE = Interval(None, False, None, False)
_INFINITY = ex.Const("infty")
_BELOW, _ABOVE = (ex.negated(_INFINITY),), (_INFINITY,)
_BEYOND = {"<": _ABOVE, "<=": _ABOVE, ">": _BELOW, ">=": _BELOW}  # bounds of no force


def order(left, right):
    """Returns -1, 0 or 1 as one constant is below, equal to or above another."""
    if left == right or normal.same(left, right):
        return 0
    try:
        (a, da), (b, db) = balls.ball(left, {}), balls.ball(right, {})
    except (ArithmeticError, KeyError, ValueError):
        raise Unreadable("endpoints without an order") from None
    if isinstance(a, complex) or isinstance(b, complex) or abs(a - b) <= da + db:
        raise Unreadable("endpoints without an order")
    return -1 if a < b else 1


def bounded(op, bound):
    """Returns the intervals of the numbers x for which `x op bound`."""
    if op in _BEYOND and bound in _BEYOND[op]:
        return [LINE]
    match op:
        case "<" | "<=":
            return [Interval(None, False, bound, op == "<=")]
        case ">" | ">=":
            return [Interval(bound, op == ">=", None, False)]
        case "!=":
            low = Interval(None, False, bound, False)
            return [low, Interval(bound, False, None, False)]
    raise Unreadable(f"no region of {op}")


def bracketed(node):
    """Returns the interval that a `Bracket` of two items writes, or None.

    One without a number in it, (7, 6) or [2, 1), is no interval but a pair.
    """
    if len(node.items) != 2:
        return None
    low = _endpoint(node.items[0], ex.negated(_INFINITY))
    high = _endpoint(node.items[1], _INFINITY)
    interval = Interval(low, node.open == "[", high, node.close == "]")
    return None if _is_empty(interval) else interval


def _endpoint(node, infinity):
    if node == infinity:
        return None
    if _INFINITY in ex.walk(node):
        raise Unreadable("an interval that begins or ends at the other infinity")
    if isinstance(node, ex.Items | ex.Relation | ex.Bracket | ex.Braces | ex.Text):
        raise Unreadable("an endpoint that is no number")
    return node


def _before(a, b):
    """Order by low end: which of two intervals starts first."""
    if a.low is None or b.low is None:
        return (a.low is not None) - (b.low is not None)
    return order(a.low, b.low) or b.has_low - a.has_low


def _is_empty(interval):
    if interval.low is None or interval.high is None:
        return False
    sign = order(interval.low, interval.high)
    return sign > 0 or (sign == 0 and not (interval.has_low and interval.has_high))


def union(intervals):
    """Returns the same set as disjoint intervals in rising order, none empty."""
    full = [interval for interval in intervals if not _is_empty(interval)]
    merged = []
    for interval in sorted(full, key=functools.cmp_to_key(_before)):
        if merged and _touches(merged[-1], interval):
            merged[-1] = _joined(merged[-1], interval)
        else:
            merged.append(interval)
    return tuple(merged)


def _touches(left, right):
    if left.high is None or right.low is None:
        return True
    sign = order(right.low, left.high)
    return sign < 0 or (sign == 0 and (right.has_low or left.has_high))


def _joined(left, right):
    if left.high is None:
        return left
    if right.high is None or order(right.high, left.high) > 0:
        return Interval(left.low, left.has_low, right.high, right.has_high)
    closed = left.has_high or (right.has_high and order(right.high, left.high) == 0)
    return Interval(left.low, left.has_low, left.high, closed)


def intersection(first, second):
    """Returns the numbers in both of two unions of intervals."""
    return union([_cut(a, b) for a in first for b in second])


def _cut(a, b):
    low, has_low = a.low, a.has_low
    if low is None or (b.low is not None and order(b.low, low) > 0):
        low, has_low = b.low, b.has_low
    elif b.low is not None and order(b.low, low) == 0:
        has_low = has_low and b.has_low
    high, has_high = a.high, a.has_high
    if high is None or (b.high is not None and order(b.high, high) < 0):
        high, has_high = b.high, b.has_high
    elif b.high is not None and order(b.high, high) == 0:
        has_high = has_high and b.has_high
    return Interval(low, has_low, high, has_high)


def without(first, second):
    """Returns the numbers in the first union and not in the second."""
    rest = first
    for interval in second:
        sides = []
        if interval.low is not None:
            sides.append(Interval(None, False, interval.low, not interval.has_low))
        if interval.high is not None:
            sides.append(Interval(interval.high, not interval.has_high, None, False))
        rest = intersection(rest, sides)
    return rest


def solved(op, left, right, variable):
    """Returns the intervals on which an inequality holds, or None if not linear."""
    if right == variable:
        op, left, right = _FLIPPED[op], right, left
    if left == variable and variable not in ex.walk(right):
        return bounded(op, right)
    if isinstance(left, ex.Call) and left.name == "abs" and op not in ("=", "!="):
        if variable not in ex.walk(right):
            return _within(op, left.args[0], right, variable)
    try:
        top, bottom = normal.normal(ex.Add((left, ex.negated(right))))
    except ArithmeticError:
        return None
    slope = ((f"sym {variable.name}", 1),)
    if bottom != UNIT or set(top) - {slope, ()} or slope not in top:
        return None
    if top[slope] < 0:
        op = _FLIPPED[op]
    return bounded(op, ex.Num(-top.get((), 0) / top[slope]))


def _within(op, inner, bound, variable):
    """Solves |inner| op bound: between -bound and bound, or outside."""
    above = solved(op, inner, bound, variable)
    below = solved(_FLIPPED[op], inner, ex.negated(bound), variable)
    if above is None or below is None:
        return None
    return intersection(above, below) if "<" in op else above + below
