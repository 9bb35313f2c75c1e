"""What the checker makes of a reference answer, before anybody answers it.

A reference that cannot be read earns its reward by its own spelling and by no other, so
that a set with many of them trains a policy to copy.
"""

import dataclasses

from maspo_jax.rewards import countdown
from maspo_jax.rewards.extraction import reference
from maspo_jax.rewards.mathematics.algebra import values
from maspo_jax.rewards.mathematics.algebra.normal import rational_value
from maspo_jax.rewards.mathematics.language.tokens import Unreadable
from maspo_jax.rewards.mathematics.meaning import reading


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
