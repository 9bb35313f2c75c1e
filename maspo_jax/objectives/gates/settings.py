"""Settings of gates: defaults, the intervals they live in, and their refusal."""

import dataclasses

import numpy as np
from flax import struct


def setting(default, interval):
    """Returns a field of a gate: a pytree leaf that `check` keeps in an interval.

    Args:
        default: a float.
        interval: as in mathematics, for example "[0, 1)" or "(0, inf)"; a round
            bracket excludes its end.
    """
    return struct.field(default=default, metadata={"interval": interval})


def check(gate):
    """Raises ValueError, naming the setting, unless all settings of a gate are valid.

    A setting may be an array, for a sweep: then each of its elements must be valid.
    One that states no interval must be finite. Fields that are no leaves, such as
    functions, are left alone.
    """
    for field in dataclasses.fields(gate):
        value = getattr(gate, field.name)
        if dataclasses.is_dataclass(value):
            check(value)
            continue
        if not field.metadata.get("pytree_node", True):
            continue
        interval = field.metadata.get("interval", "(-inf, inf)")
        if not np.all(within(np.asarray(value, np.float64), interval)):
            name = f"{type(gate).__name__}.{field.name}"
            raise ValueError(f"{name}={value}: must lie in {interval}")


def within(value, interval):
    """Returns whether a number, or each of an array, lies in an interval."""
    low, high = (float(end) for end in interval[1:-1].split(","))
    above = value >= low if interval[0] == "[" else value > low
    below = value <= high if interval[-1] == "]" else value < high
    return above & below  # neither holds for NaN
