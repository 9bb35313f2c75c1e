"""An experiment as plain data, and back: what `config.json` of a run holds."""

import dataclasses

from maspo_jax.config import legacy

# May differ when a run is resumed: none of them changes what is computed.
RESUMABLE = {
    "fsdp",
    "updates.microbatches",
    "grading.workers",
    "checkpoint_every",
    "sft.checkpoint_every",
    "sft.microbatches",
    "rollouts_every",
}


def to_json(value):
    """Returns plain data for any part of an experiment; `from_json` undoes it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            field.name: to_json(getattr(value, field.name))
            for field in dataclasses.fields(value)
        }
        return {"class": legacy.public_name(type(value)), **fields}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if callable(value):
        return {"function": legacy.public_name(value)}
    raise ValueError(f"{value!r} of an experiment cannot be written as JSON")


def from_json(data):
    """Returns the part of an experiment that `to_json` wrote."""
    if isinstance(data, list):
        return tuple(from_json(item) for item in data)
    if not isinstance(data, dict):
        return data
    if "function" in data:
        return _find(data["function"])
    fields = {name: from_json(item) for name, item in data.items() if name != "class"}
    return _find(data["class"])(**fields)


def leaves(data, prefix=""):
    """Returns {dotted name: value} for what `to_json` returned."""
    if isinstance(data, list) and any(isinstance(item, dict) for item in data):
        data = dict(enumerate(data))
    if not isinstance(data, dict):
        return {prefix[:-1]: data}
    found = {}
    for name, item in data.items():
        found |= leaves(item, f"{prefix}{name}.")
    return found


def differences(mine, theirs):
    """Returns a line for each leaf that differs and changes what is computed.

    More steps only go on, unless the learning rate falls towards the last of them.

    Args:
        mine: an experiment, as `to_json` returns it.
        theirs: that of a run, likewise. As plain data it can be compared even where
            a class of it, such as a gate of an experiment file, cannot be imported.
    """
    mine, theirs = leaves(mine), leaves(theirs)
    constant = mine.get("optimization.schedule") == "constant"
    more = mine.get("steps", 0) >= theirs.get("steps", 0)
    free = RESUMABLE | {"steps"} if constant and more else RESUMABLE
    return [
        f"{name}: {theirs.get(name)!r} in the run, {mine.get(name)!r} here"
        for name in sorted(mine.keys() | theirs.keys())
        if mine.get(name) != theirs.get(name) and name not in free
    ]


def upgraded(record):
    """Returns the record of an old run as it would be written today.

    Names are those of today, and settings that came later have their defaults.
    """
    return _completed(legacy.upgraded(record))


def _completed(record):
    if isinstance(record, list):
        return [_completed(item) for item in record]
    if not isinstance(record, dict):
        return record
    record = {name: _completed(item) for name, item in record.items()}
    try:
        kind = legacy.found(record["class"])
    except (KeyError, ImportError, AttributeError):  # or of no class at all
        return record
    defaults = {
        field.name: field.default
        for field in dataclasses.fields(kind)
        if field.default is not dataclasses.MISSING and field.name not in record
    }
    return record | {name: to_json(value) for name, value in defaults.items()}


def _find(name):
    try:
        return legacy.found(name)
    except (ImportError, AttributeError) as error:
        remedy = "put the file that defines it on PYTHONPATH"
        if name.startswith("__main__:"):
            remedy = (
                "it was defined in a notebook or a script: run that cell first, or put "
                "it in a file on PYTHONPATH and begin anew"
            )
        raise ValueError(
            f"{name} of the run's config.json cannot be imported; {remedy}"
        ) from error
