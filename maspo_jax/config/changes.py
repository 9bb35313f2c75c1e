"""Settings of an experiment changed by name, as a sweep does from one trial to another.

What the command line does with words, this does with values of Python.
"""

import dataclasses
import difflib

import numpy as np

from maspo_jax.config import validation
from maspo_jax.refusals import Refusals
from maspo_jax.settings import check_setting, settings_in


def changed(experiment, settings):
    """Returns an experiment with some of its settings changed.

    Args:
        experiment: the `Experiment`.
        settings: {dotted name: value}, such as {"objective.gate.alpha": 0.5}. A part
            may be changed and settings of it, too: the part first.

    Raises:
        ValueError: there is no such setting, or the value does not fit it. What fits
            only together with others is not looked at.
    """
    settings = plain(settings)
    with Refusals() as refusals:
        by_depth = sorted(settings, key=lambda name: name.count("."))
        for name in by_depth:
            with refusals.of(name):
                experiment = _replaced(experiment, name, name.split("."), settings)
        for name, field, owner in settings_in(experiment):
            if _is_changed(name, settings) and refusals.unaffected(name):
                with refusals.of(name):
                    validation.check_type(name, field, getattr(owner, field.name))
                    check_setting(name, field, owner)
    return experiment


def plain(settings):
    """Returns changes with NumPy's numbers as those of Python."""
    return {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in settings.items()
    }


def _is_changed(name, settings):
    return any(name == each or name.startswith(f"{each}.") for each in settings)


def _replaced(part, name, names, settings):
    """Returns a part with the setting at `names` within it replaced."""
    first, *rest = names
    if isinstance(part, tuple) and first.isdecimal() and int(first) < len(part):
        place = int(first)
        inside = settings[name]
        if rest:
            inside = _replaced(part[place], name, rest, settings)
        return (*part[:place], inside, *part[place + 1 :])
    fields = {field.name for field in _fields(part)}
    if first not in fields:
        outer = name.removesuffix(".".join(names))
        choices = [outer + field for field in fields]
        close = difflib.get_close_matches(name, choices, n=1, cutoff=0.0)
        hint = f"the closest is {close[0]}" if close else f"{outer[:-1]} has no parts"
        raise ValueError(f"{name}: there is no such setting; {hint}")
    inside = settings[name]
    if rest:
        inside = _replaced(getattr(part, first), name, rest, settings)
    return dataclasses.replace(part, **{first: inside})


def _fields(part):
    is_part = dataclasses.is_dataclass(part) and not isinstance(part, type)
    return (
        [field for field in dataclasses.fields(part) if field.init] if is_part else []
    )
