"""The numbers for which an inequality in one variable holds, where it is linear."""

from maspo_jax.rewards.mathematics.algebra import normal
from maspo_jax.rewards.mathematics.algebra.polynomials import UNIT
from maspo_jax.rewards.mathematics.language import expression as ex
from maspo_jax.rewards.mathematics.meaning import regions


def solved(op, left, right, variable):
    """Returns the intervals on which an inequality holds, or None if not linear."""
    if right == variable:
        op, left, right = regions.flipped(op), right, left
    if left == variable and variable not in ex.walk(right):
        return regions.bounded(op, right)
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
        op = regions.flipped(op)
    return regions.bounded(op, ex.Num(-top.get((), 0) / top[slope]))


def _within(op, inner, bound, variable):
    """Solves |inner| op bound: between -bound and bound, or outside."""
    above = solved(op, inner, bound, variable)
    below = solved(regions.flipped(op), inner, ex.negated(bound), variable)
    if above is None or below is None:
        return None
    return regions.intersection(above, below) if "<" in op else above + below
