"""Names in the records of old runs, and what they are called now.

A record names classes, functions and fields. Whoever moves or renames one that was
ever recorded adds a line here, and runs begun before go on.
"""

import importlib

# Old module -> the module that defines or exports its names today.
MODULES = {
    "maspo_jax.data.arithmetic": "maspo_jax.data.sources.arithmetic",
    "maspo_jax.data.chat": "maspo_jax.data.prompts.chat",
    "maspo_jax.data.hub_problems": "maspo_jax.data.sources.hub",
    "maspo_jax.data.layouts": "maspo_jax.data.sources.schemas",
    "maspo_jax.data.problems": "maspo_jax.data.sources.file",
    "maspo_jax.data.selections": "maspo_jax.data.sources.selections",
    "maspo_jax.data.templates": "maspo_jax.data.prompts.templates",
    "maspo_jax.data.tokenizer": "maspo_jax.data.prompts.tokenizer",
    "maspo_jax.models.pretrained": "maspo_jax.models.huggingface.load",
}
# Old public name -> new one.
NAMES = {
    "maspo_jax.config:HeldOut": "maspo_jax.config:Validation",
    "maspo_jax.config:WarmUp": "maspo_jax.config:Sft",
}
# Class, by its name today -> {old field: new one}.
FIELDS = {
    "maspo_jax.config:Experiment": {"held_out": "validation", "warm_up": "sft"},
    "maspo_jax.data.prompts:FileTokenizer": {"end_token": "eos_token"},
    "maspo_jax.data.sources:HubProblems": {"layout": "schema"},
    "maspo_jax.data.sources:ProblemFile": {"layout": "schema"},
}


def _objective(record):
    """The parts added to the loss had a field each, and so had a stateful advantage."""
    distance, remembering = (
        record.pop("kl_in_loss", None),
        record.pop("remembering", None),
    )
    terms = [distance] if distance else []
    for field, kind in (("entropy_bonus", "EntropyBonus"), ("imitation", "Imitation")):
        coefficient = record.pop(field, 0)
        if coefficient:
            name = f"maspo_jax.objectives.terms:{kind}"
            terms.append({"class": name, "coefficient": coefficient})
    advantage = {"advantage": remembering} if remembering else {}
    return {"terms": terms} | record | advantage


def _experiment(record):
    """Problems of the hub are recorded by what chooses them, the schema included."""
    files = record.get("files", {})
    files = {name.replace("layout=", "schema="): files[name] for name in files}
    return record | ({"files": files} if files else {})


# Class, by its name today -> a function of its record, {field: plain data} with
# "class", that returns the record of today where more than a name has changed.
CHANGES = {
    "maspo_jax.config:Experiment": _experiment,
    "maspo_jax.config:Objective": _objective,
}


def name_today(name):
    """Returns the public name of what a record calls by a name, old or new.

    Args:
        name: "module:attribute". One that cannot be found stays as it is, such as
            that of a gate of a notebook.
    """
    module, _, attribute = name.partition(":")
    name = f"{MODULES.get(module, module)}:{attribute}"
    name = NAMES.get(name, name)
    try:
        return public_name(found(name))
    except (ImportError, AttributeError, ValueError):
        return name


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
        ValueError: it is a lambda, or made where no name leads to it.
    """
    name = getattr(thing, "__qualname__", "<unnamed>")
    if "<" in name:
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
    return f"{thing.__module__}:{name}"


def upgraded(record):
    """Returns the record of an experiment, or a part of one, in the names of today."""
    if isinstance(record, list):
        return [upgraded(item) for item in record]
    if not isinstance(record, dict):
        return record
    if "function" in record:
        return {"function": name_today(record["function"])}
    record = {name: upgraded(item) for name, item in record.items()}
    if not isinstance(record.get("class"), str):
        return record
    record["class"] = kind = name_today(record["class"])
    renamed = FIELDS.get(kind, {})
    record = {renamed.get(name, name): item for name, item in record.items()}
    return CHANGES[kind](record) if kind in CHANGES else record
