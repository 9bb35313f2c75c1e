"""How MASPO depends on alpha, sigma_base and beta: the paper's ablation, at this size.

    maspo sweep experiments/sweeps/maspo_settings.py
    maspo figures runs/maspo_settings --out figures

Beta is that of both signs of the advantage. Regime `reuse` of the arena.
"""

import itertools

from arena_regimes import REGIMES

from maspo_jax import sweeps
from maspo_jax.config.changes import changed
from maspo_jax.objectives import gates

ALPHA, SIGMA_BASE, BETA = (0.1, 0.3, 1.0), (0.5, 1.0, 2.0), (0.01, 0.03, 0.1)

sweep = sweeps.Sweep(
    changed(
        REGIMES["reuse"].experiment,
        {"objective.gate": gates.Maspo(), "optimization.learning_rate": 1e-4},
    ),
    [
        {
            "objective.gate.alpha": alpha,
            "objective.gate.sigma_base": base,
            "objective.gate.beta_positive": beta,
            "objective.gate.beta_negative": beta,
        }
        for alpha, base, beta in itertools.product(ALPHA, SIGMA_BASE, BETA)
    ],
    seeds=range(4),
)
