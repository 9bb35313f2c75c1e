"""Reinforcement learning with verifiable rewards for math reasoning, in JAX."""

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
