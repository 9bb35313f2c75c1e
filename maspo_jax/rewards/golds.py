"""What the checker makes of a reference answer, before anybody answers it.

A reference that cannot be read earns its reward by its own spelling and by no other, so
that a set with many of them trains a policy to copy.
"""

import dataclasses
from fractions import Fraction

from maspo_jax.rewards import countdown
from maspo_jax.rewards.extraction import reference
from maspo_jax.rewards.mathematics.algebra import values
from maspo_jax.rewards.mathematics.algebra.normal import rational_value
from maspo_jax.rewards.mathematics.language import expression as ex
from maspo_jax.rewards.mathematics.language.tokens import Unreadable
from maspo_jax.rewards.mathematics.meaning import equivalence, reading


def fault(gold):
    """Returns why a reference answer cannot be read, None where it can."""
    try:
        _meaning(gold)
    except Unreadable as refusal:
        return str(refusal)
    return None


def shown(gold):
    """Returns a reference answer as the checker reads it: numbers, names, structure.

    Raises:
        Unreadable: it cannot be read; the message says why.
    """
    return _written(_meaning(gold))


def other_reading(gold):
    """Returns what else a reference answer may mean that would earn, or None.

    Its spelling leaves both open: (2, 3) is a point and an interval, 50% is 50 and one
    half, 12 in base three is twelve where the base is left out.

    Raises:
        Unreadable: it cannot be read; the message says why.
    """
    meaning = _meaning(gold)
    match meaning:
        case ex.Bracket(open="(", close=")"):
            other, name = _interval(meaning), "an interval"
        case ex.Percent(arg=other):
            name = "without its percent sign"
        case ex.Based(digits=digits) if digits.isdigit():
            other, name = ex.Num(Fraction(digits)), "in base ten"
        case _:
            return None
    if other is None or values.quick(meaning, other):  # 0%, or seven in base eight
        return None
    return name if equivalence.match(meaning, other, values.quick) else None


def _interval(pair):
    try:
        return reading.as_region(pair)
    except Unreadable:  # ends that have no order, (a, a + 1)
        return None


def _meaning(gold):
    if countdown.is_task(gold):  # of another grader, which asks for no value
        return gold
    return reading.read_meaning(reference(gold))


def _written(part):
    if isinstance(part, values.VALUES):
        exact = rational_value(part)
        if exact is not None:
            return str(exact)
    if isinstance(part, tuple):
        return ", ".join(map(_written, part))
    if not dataclasses.is_dataclass(part):
        return str(part)
    parts = [getattr(part, field.name) for field in dataclasses.fields(part)]
    told = [_written(each) for each in parts if each not in (None, False, 0, ())]
    kind = type(part).__name__
    return told[0] if kind in ("Num", "Sym", "Const") else f"{kind}({'; '.join(told)})"
