"""Numbers made by the released code of the papers, for the tests of the objectives."""

import functools
import json
import pathlib

import numpy as np

from maspo_jax.objectives import gates
from maspo_jax.types import TrainBatch

FOLDER = pathlib.Path(__file__).parents[1] / "reference_data" / "golden"

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


def maspo(settings):
    settings = settings["maspo"]
    return gates.Maspo(
        alpha=settings["alpha"],
        sigma_base=settings["sigma_base"],
        sigma_high=settings["sigma_high"],
        beta_positive=settings["beta_pos"],
        beta_negative=settings["beta_neg"],
        risk_low=settings["adv_low"],
        risk_high=settings["adv_high"],
    )


def bapo(settings):
    low, high = settings["low"], settings["high"]
    low_step, high_step = settings["low_step"], settings["high_step"]
    target, dual = settings["target"], settings["c"]
    return gates.Bapo(*low, low_step, *high, high_step, target, dual)


def aspo(settings):
    """Bounds of single tokens: narrower where the entropy is low."""
    certain = load("inputs_main")["low_entropy_mask"] != 0
    low, high = (
        np.where(certain, settings[f"{sign}_low"], settings[f"{sign}_high"])
        for sign in ("neg", "pos")
    )
    assert settings["c_neg"] == settings["c_pos"]
    return gates.Aspo(low, high, settings["c_pos"])


# First words of a method's name -> the gate for its settings. The longest fits.
MAKERS = {
    "aspo": lambda s: gates.Aspo(s["neg_low"], s["pos_low"], s["c_neg"]),
    "aspo_archer_entropy_split": aspo,
    "bapo": bapo,
    "ce_gppo": lambda s: gates.CeGppo(
        s["beta1"], s["beta2"], s["eps_low"], s["eps_high"], s["c"]
    ),
    "cispo": lambda s: gates.Cispo(s["eps_low"], s["eps_high"]),
    "clip_higher": lambda s: gates.Clip(s["eps_low"], s["eps_high"], s["c"]),
    "dac": lambda s: gates.Dac(s["eps_low"], s["eps_high"], s["c"]),
    "dgpo": lambda s: gates.Dgpo(s["n"], s["m"], s["eps_low"], s["eps_high"]),
    "dppo": lambda s: gates.Dppo(s["eps_low"], s["eps_high"], s["c"]),
    "gmpo": lambda s: gates.Gmpo(s["eps_low"], s["eps_high"]),
    "gppo": lambda s: gates.Gppo(s["eps_low"], s["eps_high"], s["c"]),
    "gspo": lambda s: gates.Gspo(s["eps_low"], s["eps_high"]),
    "maspo": maspo,
    "ppo_clip": lambda s: gates.Clip(s["eps_low"], s["eps_high"], s["c"]),
    "reinforce": lambda s: gates.Reinforce(),
    "sapo": lambda s: gates.Sapo(s["tau_pos"], s["tau_neg"]),
}


def gate_of(method):
    """Returns the gate of a method of the manifest."""
    words = max((w for w in MAKERS if method.startswith(w)), key=len)
    return MAKERS[words](manifest()[method]["hyperparameters"])


def inputs_of(method):
    """Returns the arrays a method of the manifest was run on."""
    return load(manifest()[method]["inputs"].removesuffix(".npz"))


# Methods with a sampler correction, which test_correction compares.
CORRECTED = ("clip_higher_tis", "reinforce_tis")


def select(*words, without=("_tis", "gmpo")):
    """Returns the methods of the manifest with one of some words in their name.

    Without those that apply a sampler correction and, as it has no loss per token,
    GMPO, unless told otherwise.
    """
    return [
        name
        for name in manifest()
        if (not words or any(word in name for word in words))
        and not any(word in name for word in without)
    ]
