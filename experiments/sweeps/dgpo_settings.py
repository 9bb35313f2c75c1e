"""How DGPO depends on n and m: the paper's ablation, at this size.

    maspo sweep experiments/sweeps/dgpo_settings.py
    maspo figures runs/dgpo_settings --out figures

Regime `reuse` of the arena.
"""

from arena_regimes import REGIMES

from maspo_jax import sweeps
from maspo_jax.config.changes import changed
from maspo_jax.objectives import gates

sweep = sweeps.Sweep(
    changed(
        REGIMES["reuse"].experiment,
        {"objective.gate": gates.Dgpo(), "optimization.learning_rate": 1e-4},
    ),
    sweeps.grid(
        {
            "objective.gate.n": [0.5, 1.0, 2.0, 4.0],
            "objective.gate.m": [1.0, 2.0, 3.0, 4.0],
        }
    ),
    seeds=range(4),
)
