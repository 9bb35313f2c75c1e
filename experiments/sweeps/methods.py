"""Every gate of the package with the settings of its paper, on eight seeds.

    maspo sweep experiments/sweeps/methods.py

One learning rate for all: a look, not a race. `arena.py` is the race.
"""

from arena_regimes import METHODS, REGIMES

from maspo_jax import sweeps
from maspo_jax.config.changes import changed

sweep = sweeps.Sweep(
    changed(REGIMES["reuse"].experiment, {"optimization.learning_rate": 3e-5}),
    [{"objective.gate": settings[0]} for settings in METHODS.values()],
    seeds=range(8),
    names=tuple(METHODS),
)
