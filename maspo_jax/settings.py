"""A number of a dataclass and the interval it lives in, stated beside each other."""

import dataclasses


def setting(default=dataclasses.MISSING, interval="(-inf, inf)", at_most=None):
    """Returns a field of a dataclass that lives in an interval.

    The interval shows in `--help`, and what reads the dataclass refuses other values:
    an experiment, a gate or a command. In a `flax.struct.dataclass` the field is a
    leaf.

    Args:
        default: a number, or None; without one the setting has to be given.
        interval: as in mathematics, for example "[0, 1)" or "(0, inf)"; a round
            bracket excludes its end.
        at_most: the name of another setting of the same class that it may not exceed.
    """
    metadata = {"interval": interval, "at_most": at_most}
    return dataclasses.field(default=default, metadata=metadata)


def within(value, interval):
    """Returns whether a number, or each of an array, lies in an interval."""
    low, high = (float(end) for end in interval[1:-1].split(","))
    above = value >= low if interval[0] == "[" else value > low
    below = value <= high if interval[-1] == "]" else value < high
    return above & below  # neither holds for NaN


def check_intervals(part):
    """Raises ValueError, by name, unless all fields of a dataclass are in place."""
    for field in dataclasses.fields(part):
        check_interval(field, getattr(part, field.name), field.name)


def check_interval(field, value, name):
    """Raises ValueError, by name, if the value of a field is not in its interval.

    Args:
        field: a `dataclasses.Field`; one that states no interval takes any value.
        value: a number, or None for a setting that is off.
        name: for the message.
    """
    interval = field.metadata.get("interval")
    if interval and value is not None and not within(value, interval):
        raise ValueError(f"{name}={value}: must lie in {interval}")
