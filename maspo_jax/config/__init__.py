"""An experiment: what it is, how it is read, written down and refused."""

from maspo_jax.config.experiment import (
    DynamicSampling,
    Experiment,
    Grading,
    Objective,
    Optimization,
    OverlongFilter,
    OverlongPenalty,
    Phase,
    Sampling,
    Sft,
    Updates,
    Validation,
)

__all__ = [
    "DynamicSampling",
    "Experiment",
    "Grading",
    "Validation",
    "Objective",
    "Optimization",
    "OverlongFilter",
    "OverlongPenalty",
    "Phase",
    "Sampling",
    "Updates",
    "Sft",
]
