"""Settings of gates: defaults, the intervals they live in, and their refusal."""

from maspo_jax.settings import check_intervals, setting

__all__ = ["setting", "validate_settings"]


def validate_settings(gate):
    """Raises ValueError, naming the setting, unless all settings of a gate are valid.

    A setting may be an array, for a sweep: then each of its elements must be valid.
    One that states no interval must be finite.
    """
    check_intervals(gate, f"{type(gate).__name__}.")
