"""The settings of an experiment, checked as a run checks them."""

from maspo_jax.config.validation import check_settings
from maspo_jax.refusals import Refusals


def validate(experiment, devices, hosts=1):
    """Refuses an experiment that cannot run on so many devices of so many hosts.

    Raises:
        ValueError, OSError: why; a `Refused` if there are several reasons.
    """
    with Refusals() as refusals:
        check_settings(experiment, devices, refusals, hosts)
