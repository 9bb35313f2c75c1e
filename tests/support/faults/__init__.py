"""Faults that might be made in the package, each with the tests that notice it.

They are mistakes that still run: an index off by one, a mask that is dropped, two
arguments in the wrong order, a part of the state that is not restored. Each changes
what the package does. `planting` puts one at a time into a copy of the tree and runs
its tests; `experiments/benchmarks/planted_faults.py` does so with all of them.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Fault:
    """One mistake.

    Attributes:
        name: what is wrong, in a few words.
        file: that it is in, below `maspo_jax/`.
        old: a text that the file holds exactly once.
        new: the text in its place.
        tests: that should notice, below `tests/`: files, or `FILE::NAME`.
        review: the number of the fault in the review that planted it first, if any.
        also: other pairs of an old and a new text of the file.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    review: str = ""
    also: tuple[tuple[str, str], ...] = ()


def everything():
    """Returns all faults, room by room."""
    from support.faults import (
        data,
        evaluation,
        grading,
        learning,
        models,
        objectives,
        rollout,
        runs,
        sweeps,
    )

    rooms = rollout, learning, objectives, models, data, grading, runs, evaluation
    return [fault for room in (*rooms, sweeps) for fault in room.FAULTS]
