"""Reads the sweep or the race of a file."""

import dataclasses

from maspo_jax.config import loading
from maspo_jax.refusals import Refusals
from maspo_jax.sweeps.race import Race
from maspo_jax.sweeps.sweep import Sweep


def load(path, overrides=()):
    """Returns what a file names `sweep`, with leaves of its experiment overridden.

    Args:
        path: of a Python file with a `Sweep` or a `Race` named `sweep`.
        overrides: words of a command line, as for `config.load`.

    Raises:
        ValueError, OSError: the file is none, does not run or has no sweep, or a word
            changes nothing of its experiment.
    """
    found = loading.read_object(path, "sweep", Sweep | Race)
    if not overrides:
        return found
    with Refusals() as refusals:
        prog = f"maspo sweep {path}"
        experiment = loading.overridden(found.experiment, overrides, prog, refusals)
    return dataclasses.replace(found, experiment=experiment)
