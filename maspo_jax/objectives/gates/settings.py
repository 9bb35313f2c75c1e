"""Settings of gates: defaults, the intervals they live in, and their refusal."""

import dataclasses

import numpy as np
from flax import struct


def setting(default=dataclasses.MISSING, interval="(-inf, inf)", at_most=None):
    """Returns a field of a gate: a pytree leaf that is kept in an interval.

    Args:
        default: a float; without one the setting has to be given.
        interval: as in mathematics, for example "[0, 1)" or "(0, inf)"; a round
            bracket excludes its end.
        at_most: the name of another setting of the same class that it may not exceed.
    """
    metadata = {"interval": interval, "at_most": at_most}
    return struct.field(default=default, metadata=metadata)


def validate_settings(gate):
    """Raises ValueError, naming the setting, unless all settings of a gate are valid.

    A setting may be an array, for a sweep: then each of its elements must be valid.
    One that states no interval must be finite. Fields that are no leaves, such as
    functions, are left alone.
    """
    for field in dataclasses.fields(gate):
        value = getattr(gate, field.name)
        if dataclasses.is_dataclass(value):
            validate_settings(value)
            continue
        if not field.metadata.get("pytree_node", True):
            continue
        name = f"{type(gate).__name__}.{field.name}"
        interval = field.metadata.get("interval", "(-inf, inf)")
        if not np.all(within(np.asarray(value, np.float64), interval)):
            raise ValueError(f"{name}={value}: must lie in {interval}")
        other = field.metadata.get("at_most")
        if other is None:
            continue
        limit = getattr(gate, other)
        if np.any(np.asarray(value) > np.asarray(limit)):
            raise ValueError(f"{name}={value}: must not exceed {other}={limit}")


def within(value, interval):
    """Returns whether a number, or each of an array, lies in an interval."""
    low, high = (float(end) for end in interval[1:-1].split(","))
    above = value >= low if interval[0] == "[" else value > low
    below = value <= high if interval[-1] == "]" else value < high
    return above & below  # neither holds for NaN
