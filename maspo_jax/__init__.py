"""Reinforcement learning with verifiable rewards for math reasoning, in JAX.

The functions are in `api.py`, the command is `maspo`. How to add a gate, an advantage,
a loss term, a grader, a source or an architecture: `experiments/README.md`. Settings by
their names in TRL and verl: `docs/guide.md`.
"""

import typing

if typing.TYPE_CHECKING:
    from maspo_jax.api import (
        TrainResult,
        evaluate,
        export,
        grade,
        load_policy,
        sample,
        sweep,
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
    "sweep",
    "train",
]


def __getattr__(name):
    """Returns a function of `api`, which is loaded when it is first asked for.

    A command can be stopped, in a line, from its first hundredth of a second on.
    """
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from maspo_jax import api

    return getattr(api, name)


def __dir__():
    """Returns the names there are."""
    return [*globals(), *__all__]
