"""An experiment: what it is, how it is read, written down and refused."""

from maspo_jax.config.experiment import (
    DynamicSampling,
    Experiment,
    Grading,
    Objective,
    Optimization,
    Phase,
    Sampling,
    Sft,
    Updates,
    Validation,
)
from maspo_jax.config.loading import load
from maspo_jax.objectives.overlong import OverlongFilter, OverlongPenalty

__all__ = [
    "DynamicSampling",
    "Experiment",
    "Grading",
    "Objective",
    "Optimization",
    "OverlongFilter",
    "OverlongPenalty",
    "Phase",
    "Sampling",
    "Sft",
    "Updates",
    "Validation",
    "load",
]
