"""An experiment as plain data, and back: what `config.json` of a run holds."""

import dataclasses
import importlib
import types

from maspo_jax.config import legacy

# May differ when a run is resumed: none of them changes what is computed.
RESUMABLE = {
    "fsdp",
    "tensor",
    "sampling.gather",
    "sampling.wave",
    "sampling.slots",
    "policy.remat",
    "updates.microbatches",
    "updates.microbatch_tokens",
    "updates.row_length",
    "updates.length_buckets",
    "grading.unreadable",  # refuses, and grades nothing
    "grading.workers",
    "checkpoint_every",
    "checkpoint_minutes",
    "sft.checkpoint_every",
    "sft.microbatches",
    "sft.microbatch_tokens",
    "rollouts_every",
}


def to_json(value):
    """Returns plain data for any part of an experiment; `from_json` undoes it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            field.name: to_json(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if field.init  # the others follow from these
        }
        return {"class": public_name(type(value)), **fields}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if callable(value):
        return {"function": public_name(value)}
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
    return _completed(_renamed(record))


def _renamed(record):
    if isinstance(record, list):
        return [_renamed(item) for item in record]
    if not isinstance(record, dict):
        return record
    if "function" in record:
        return {"function": _name_today(record["function"])}
    record = {name: _renamed(item) for name, item in record.items()}
    if not isinstance(record.get("class"), str):
        return record
    record["class"] = kind = _name_today(record["class"])
    fields = legacy.FIELDS.get(kind, {})
    record = {fields.get(name, name): item for name, item in record.items()}
    change = legacy.CHANGES.get(kind, lambda record: record)
    return change(record)


def _name_today(name):
    """Returns the public name of what a record calls by a name, old or new.

    One that cannot be found stays as it is, such as that of a gate of a notebook.
    """
    module, _, attribute = name.partition(":")
    name = f"{legacy.MODULES.get(module, module)}:{attribute}"
    name = legacy.NAMES.get(name, name)
    try:
        return public_name(found(name))
    except (ImportError, AttributeError, ValueError):
        return name


def _completed(record):
    if isinstance(record, list):
        return [_completed(item) for item in record]
    if not isinstance(record, dict):
        return record
    record = {name: _completed(item) for name, item in record.items()}
    try:
        kind = found(record["class"])
    except (KeyError, ImportError, AttributeError):  # or of no class at all
        return record
    defaults = {
        field.name: field.default
        for field in dataclasses.fields(kind)
        if field.init
        and field.default is not dataclasses.MISSING
        and field.name not in record
    }
    return record | {name: to_json(value) for name, value in defaults.items()}


def _find(name):
    try:
        return found(name)
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


def found(name):
    """Returns the class or function of a public name.

    Raises:
        ImportError, AttributeError: there is none here.
    """
    module, _, attribute = name.partition(":")
    thing = importlib.import_module(module)
    for part in attribute.split("."):
        thing = getattr(thing, part)
    return thing


def public_name(thing):
    """Returns "module:attribute" for a class or a function: the shortest module.

    Packages export what their users name, so that the files within may move.

    Raises:
        ValueError: it is a lambda, a method of some object, or made where no name
            leads to it; or its name leads to that of another file.
    """
    name = getattr(thing, "__qualname__", "<unnamed>")
    if "<" in name or isinstance(thing, types.MethodType):
        raise ValueError(
            f"{thing!r} of an experiment has no name to be recorded by; define it with "
            "`def` or as a dataclass at the top of a file"
        )
    parts = thing.__module__.split(".")
    for count in range(1, len(parts)):
        module = ".".join(parts[:count])
        try:
            if found(f"{module}:{name}") is thing:
                return f"{module}:{name}"
        except (ImportError, AttributeError):
            continue
    name = f"{thing.__module__}:{name}"
    _check_file(thing, name)
    return name


def _check_file(thing, name):
    """Refuses a name that would bring back what another file calls so."""
    try:
        there, here = _file_of(found(name)), _file_of(thing)
    except (ImportError, AttributeError):
        return  # whoever reads the record is told
    if there != here:
        raise ValueError(
            f"{name} of an experiment is that of {here}, but {there} was loaded under "
            "the same name since; load the experiment again, or rename one of the files"
        )


def _file_of(thing):
    """Returns the file a function, or the first one of a class, was written in."""
    inside = vars(thing).values() if isinstance(thing, type) else ()
    for each in (thing, *inside):
        file = getattr(getattr(each, "__code__", None), "co_filename", "<unknown>")
        if not file.startswith("<"):
            return file
    return None
