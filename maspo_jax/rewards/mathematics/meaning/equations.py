"""Whether two equations, or two inequalities, say the same.

An equation says that left - right is zero, and still says so after its terms are
moved or multiplied by a nonzero number; an inequality, by a positive one.
"""

from maspo_jax.rewards.mathematics.algebra import balls, normal
from maspo_jax.rewards.mathematics.language import expression as ex
from maspo_jax.rewards.mathematics.logic import every

_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
_ORDERS = {
    "=": "equal", "!=": "unequal", "<": "strict", ">": "strict", "<=": "loose",
    ">=": "loose",
}  # fmt: skip


def match_equations(gold, answer):
    """Compares two `Equation`s up to moving terms and a nonzero factor."""
    if (gold.op == "=") != (answer.op == "="):
        return False
    if gold.op not in _ORDERS or answer.op not in _ORDERS:
        sides = ((gold.left, answer.left), (gold.right, answer.right))
        return gold.op == answer.op and every(normal.same(*pair) for pair in sides)
    if not any(map(ex.symbols, (gold.left, gold.right, answer.left, answer.right))):
        return _match_numbers(gold, answer)
    first, strict, sign = _oriented(gold)
    second, other_strict, other_sign = _oriented(answer)
    if strict != other_strict:
        return False
    scale = _scale(first, second)
    if scale is None:
        return False if _clearly_apart(first, second) else None
    if gold.op in ("=", "!="):
        return True
    return scale > 0 if sign == other_sign else scale < 0


def _match_numbers(gold, answer):
    """Compares statements about numbers, which say which numbers they are about."""
    sides = (gold.left, gold.right)
    if gold.op == answer.op:
        return every(map(normal.same, sides, (answer.left, answer.right)))
    if _FLIPPED.get(gold.op) == answer.op:
        return every(map(normal.same, sides, (answer.right, answer.left)))
    return False


def _oriented(equation):
    """Returns left - right, whether equality is excluded, and the sign it must have."""
    difference = ex.Add((equation.left, ex.negated(equation.right)))
    return difference, _ORDERS[equation.op], "<" in equation.op


def _scale(first, second):
    """Returns the rational c with first = c * second, or None if not seen."""
    try:
        (top, bottom), (other, below) = normal.normal(first), normal.normal(second)
    except ArithmeticError:
        return None
    if bottom != below or set(top) != set(other) or not top:
        return None
    ratios = {top[monomial] / other[monomial] for monomial in top}
    return ratios.pop() if len(ratios) == 1 else None


def _clearly_apart(first, second):
    """Whether the ratio of two expressions certainly varies, so neither scales."""
    names = sorted(ex.symbols(first) | ex.symbols(second))
    if ex.symbols(first) != ex.symbols(second):
        return True
    seen = None
    for point in balls.points(names, first, second):
        try:
            (a, da), (b, db) = balls.ball(first, point), balls.ball(second, point)
        except (ArithmeticError, ValueError):
            continue
        if seen is None:
            seen = (a, da, b, db)
            continue
        left, right = a * seen[2], b * seen[0]
        error = da * abs(seen[2]) + abs(a) * seen[3] + db * abs(seen[0])
        error += abs(b) * seen[1] + 1e-12 * (abs(left) + abs(right))
        if abs(left - right) > 4 * error:
            return True
    return False
