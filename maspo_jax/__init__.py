"""Reinforcement learning with verifiable rewards for math reasoning, in JAX.

The functions are in `api.py`, the command is `maspo`. How to add a gate, an advantage,
a loss term, a grader, a source or an architecture: `experiments/README.md`. Settings by
their names in TRL and verl: `docs/guide.md`.
"""

from maspo_jax.api import (
    TrainResult,
    evaluate,
    export,
    grade,
    load_policy,
    sample,
    train,
)

__version__ = "0.1.0"

__all__ = [
    "TrainResult",
    "__version__",
    "evaluate",
    "export",
    "grade",
    "load_policy",
    "sample",
    "train",
]
