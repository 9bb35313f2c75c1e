"""The settings of an experiment, checked as a run checks them."""

from maspo_jax.config.validation import check_settings
from maspo_jax.refusals import Refusals


def validate(experiment, devices):
    """Refuses an experiment that cannot run on so many devices.

    Raises:
        ValueError, OSError: why; a `Refused` if there are several reasons.
    """
    with Refusals() as refusals:
        check_settings(experiment, devices, refusals)
