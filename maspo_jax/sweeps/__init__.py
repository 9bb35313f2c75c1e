"""Sweeps: an experiment, what is tried of it, and the training seeds.

    from maspo_jax import sweeps

    sweep = sweeps.Sweep(
        experiment,
        sweeps.grid({"objective.gate.alpha": [0.1, 0.3, 1.0]}),
        seeds=range(4),
    )

`maspo sweep SWEEP.py` trains what such a file names `sweep`. A `Race` tunes
several methods alike and says which is better, and how certain that is.
"""

from maspo_jax.sweeps.race import Race
from maspo_jax.sweeps.search import Search
from maspo_jax.sweeps.space import (
    Choice,
    LogUniform,
    Uniform,
    grid,
    random,
    sobol,
    zipped,
)
from maspo_jax.sweeps.sweep import Halving, Sweep

__all__ = [
    "Choice",
    "Halving",
    "LogUniform",
    "Race",
    "Search",
    "Sweep",
    "Uniform",
    "grid",
    "random",
    "sobol",
    "zipped",
]
