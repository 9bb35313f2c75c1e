"""Names in the records of old runs, and what they are called now.

A record names classes, functions and fields. Whoever moves or renames one that was
ever recorded adds a line here, and runs begun before go on.
"""

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
    "maspo_jax.config:Objective": {"shaping": "advantage_shaping"},
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
