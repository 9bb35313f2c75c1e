"""Which of two gates is better, and how certain that is: a small race.

    maspo sweep experiments/sweeps/maspo_or_dgpo.py

Two learning rates of each are tried on two seeds; the better one is trained on ten
fresh ones. The experiment is the arena's, with two passes over every batch.
"""

from arena_regimes import BASE

from maspo_jax import sweeps
from maspo_jax.config import Updates
from maspo_jax.config.changes import changed
from maspo_jax.objectives import gates

RATES = [3e-5, 1e-4]

sweep = sweeps.Race(
    changed(BASE, {"updates": Updates(minibatches=4, epochs=2)}),
    {
        name: sweeps.grid(
            {"objective.gate": [gate], "optimization.learning_rate": RATES}
        )
        for name, gate in {"MASPO": gates.Maspo(), "DGPO": gates.Dgpo()}.items()
    },
    seeds=range(10),
)
