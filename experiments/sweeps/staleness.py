"""How many passes over a batch each method stands: staleness, crossed with methods.

    maspo sweep experiments/sweeps/staleness.py

The last update of a step is 4 * epochs - 1 updates away from the policy that sampled.
"""

from arena_regimes import BASE, METHODS

from maspo_jax import sweeps
from maspo_jax.config.changes import changed

NAMES = ("GRPO", "SAPO", "MASPO", "CISPO", "CE-GPPO", "DGPO")

sweep = sweeps.Sweep(
    changed(BASE, {"optimization.learning_rate": 1e-4, "steps": 16}),
    sweeps.grid(
        {
            "objective.gate": [METHODS[name][0] for name in NAMES],
            "updates.epochs": [1, 2, 4, 8],
        }
    ),
    seeds=range(4),
)
