"""Settings of gates: defaults, the intervals they live in, and their refusal."""

import dataclasses

import numpy as np

from maspo_jax.settings import setting, within

__all__ = ["setting", "validate_settings"]


def validate_settings(gate):
    """Raises ValueError, naming the setting, unless all settings of a gate are valid.

    A setting may be an array, for a sweep: then each of its elements must be valid.
    One that states no interval must be finite. Fields that are no leaves, such as
    functions, are left alone.
    """
    for field in dataclasses.fields(gate):
        value = getattr(gate, field.name)
        if dataclasses.is_dataclass(value):
            validate_settings(value)
            continue
        if not field.metadata.get("pytree_node", True):
            continue
        name = f"{type(gate).__name__}.{field.name}"
        interval = field.metadata.get("interval", "(-inf, inf)")
        if not np.all(within(np.asarray(value, np.float64), interval)):
            raise ValueError(f"{name}={value}: must lie in {interval}")
        other = field.metadata.get("at_most")
        if other is None:
            continue
        limit = getattr(gate, other)
        if np.any(np.asarray(value) > np.asarray(limit)):
            raise ValueError(f"{name}={value}: must not exceed {other}={limit}")
