"""Numbers made by the released code of the papers, for the tests of the objectives.

They lie beside the repository, in `shared/reference/golden`, and are not part of it:
tests that need them are skipped where they are absent.
"""

import functools
import json
import pathlib

import numpy as np
import pytest

from maspo_jax.objectives import gates
from maspo_jax.types import TrainBatch

FOLDER = pathlib.Path(__file__).parents[2] / "shared" / "reference" / "golden"
needs_golden = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="no shared/reference/golden beside the repository"
)

FLOAT64 = {"rtol": 1e-9, "atol": 1e-12}
FLOAT32 = {"rtol": 2e-5, "atol": 1e-6}


@functools.cache
def load(name):
    """Returns the arrays of `<name>.npz`, float64."""
    with np.load(FOLDER / f"{name}.npz") as arrays:
        return {key: arrays[key] for key in arrays.files}


@functools.cache
def manifest():
    """Returns {method: its settings, inputs and metrics}; empty where absent."""
    path = FOLDER / "manifest.json"
    return json.loads(path.read_text())["methods"] if path.is_file() else {}


def batch(inputs, dtype=np.float64, weight=None):
    """Returns a `TrainBatch` of golden inputs, and the current log-probability."""
    cast = lambda name: inputs[name].astype(dtype)
    weight = np.ones_like(inputs["log_prob"]) if weight is None else weight
    rows = TrainBatch(
        None, cast("old_log_prob"), cast("advantages"), weight.astype(dtype)
    )
    return rows, cast("log_prob")


# First words of a method's name -> the gate for its settings. The longest fits.
MAKERS = {
    "maspo": lambda s: gates.Maspo(
        alpha=s["maspo"]["alpha"],
        sigma_base=s["maspo"]["sigma_base"],
        sigma_high=s["maspo"]["sigma_high"],
        beta_positive=s["maspo"]["beta_pos"],
        beta_negative=s["maspo"]["beta_neg"],
        risk_low=s["maspo"]["adv_low"],
        risk_high=s["maspo"]["adv_high"],
    ),
    "dgpo": lambda s: gates.Dgpo(s["n"], s["m"], s["eps_low"], s["eps_high"]),
    "ppo_clip": lambda s: gates.Clip(s["eps_low"], s["eps_high"], s["c"]),
    "clip_higher": lambda s: gates.Clip(s["eps_low"], s["eps_high"], s["c"]),
}


def gate_of(method):
    """Returns the gate of a method of the manifest, None where none is known."""
    fitting = [words for words in MAKERS if method.startswith(words)]
    if not fitting:
        return None
    return MAKERS[max(fitting, key=len)](manifest()[method]["hyperparameters"])


def uncorrected():
    """Returns the methods we have a gate for that apply no sampler correction."""
    return [
        name
        for name, entry in manifest().items()
        if gate_of(name) and "use_is_weights" not in entry["hyperparameters"]
    ]
