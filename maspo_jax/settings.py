"""A number of a dataclass and the interval it lives in, stated beside each other."""

import dataclasses


def setting(default=dataclasses.MISSING, interval="(-inf, inf)", at_most=None, none=""):
    """Returns a field of a dataclass that lives in an interval.

    The interval shows in `--help`, and what reads the dataclass refuses other values:
    an experiment, whichever part of it this is, a gate or a command. In a
    `flax.struct.dataclass` the field is a leaf.

    Args:
        default: a number, or None; without one the setting has to be given.
        interval: as in mathematics, for example "[0, 1)" or "(0, inf)"; a round
            bracket excludes its end.
        at_most: the name of another setting of the same class that it may not exceed.
        none: what None stands for, for the message where a number is refused.
    """
    metadata = {"interval": interval, "at_most": at_most, "none": none}
    return dataclasses.field(default=default, metadata=metadata)


def within(value, interval):
    """Returns whether a number, or each of an array, lies in an interval."""
    low, high = (float(end) for end in interval[1:-1].split(","))
    above = value >= low if interval[0] == "[" else value > low
    below = value <= high if interval[-1] == "]" else value < high
    return above & below  # neither holds for NaN


def settings_in(part, prefix=""):
    """Yields (dotted name, field, its dataclass) of all settings in a dataclass.

    Args:
        part: a dataclass; those in its fields, and in tuples there, are looked into.
        prefix: of the names.
    """
    for field in dataclasses.fields(part):
        name, value = prefix + field.name, getattr(part, field.name)
        yield name, field, part
        inside = {f"{name}.": value}
        if isinstance(value, tuple):
            inside = {f"{name}.{place}.": item for place, item in enumerate(value)}
        for place, item in inside.items():
            if dataclasses.is_dataclass(item) and not isinstance(item, type):
                yield from settings_in(item, place)


def check_intervals(part, prefix=""):
    """Raises ValueError, by name, unless all settings in a dataclass are in place.

    A number must lie in the interval of its field, and be finite where the field
    states none. An array, for a sweep, must with each of its elements.

    Args:
        part: a dataclass; those that it holds are checked, too.
        prefix: of the names in messages.
    """
    for name, field, owner in settings_in(part, prefix):
        check_setting(name, field, owner)


def check_setting(name, field, owner):
    """Raises ValueError, by name, unless one setting is in place.

    Args:
        name: for the message.
        field: a `dataclasses.Field`.
        owner: the dataclass whose field it is.
    """
    value, other = getattr(owner, field.name), field.metadata.get("at_most")
    check_interval(field, value, name)
    limit = None if other is None else getattr(owner, other)
    if value is not None and limit is not None and _any(value > limit):
        raise ValueError(f"{name}={value}: must not exceed {other}={limit}")


def check_interval(field, value, name):
    """Raises ValueError, by name, if the value of a field is not in its interval.

    Args:
        field: a `dataclasses.Field`; where it states no interval, a number must be
            finite and anything else will do.
        value: a number, an array or a tuple of numbers, or None for a setting that is
            off.
        name: for the message.
    """
    interval = field.metadata.get("interval")
    for each in value if isinstance(value, tuple) else (value,):
        number = isinstance(each, int | float) or hasattr(each, "__array__")
        if interval is not None and not number and each is not None:
            raise ValueError(f"{name}={value!r}: must be a number in {interval}")
        if number and not _all(within(each, interval or "(-inf, inf)")):
            wanted = f"lie in {interval}" if interval else "be finite"
            none = field.metadata.get("none")
            wanted += f", or be None for {none}" if none else ""
            raise ValueError(f"{name}={value}: must {wanted}")


def _all(truth):
    return truth if isinstance(truth, bool) else bool(truth.all())


def _any(truth):
    return truth if isinstance(truth, bool) else bool(truth.any())
