"""What earlier visits to each problem were rewarded, on the host, as part of a run."""

import hashlib

import numpy as np

from maspo_jax import distributed
from maspo_jax.objectives.advantages import PromptStats


class PromptHistory:
    """The `PromptStats` of every problem so far; the same in every process.

    A problem that is twice in one batch, where an epoch ends, is recorded as it was
    the second time.
    """

    def __init__(self, saved=()):
        """Goes on from what `saved` returned, or from nothing."""
        self._of = {
            # A checkpoint of an earlier version holds the texts themselves.
            (_digest(name) if "\n" in name else name): tuple(numbers)
            for name, numbers in dict(saved).items()
        }

    def before(self, problems):
        """Returns the `PromptStats` of some problems, of NumPy arrays."""
        never = (0.0, 0.0, 0.0)
        rows = [self._of.get(_key(problem), never) for problem in problems]
        return PromptStats(*np.array(rows, np.float32).reshape(-1, 3).T)

    def record(self, problems, history):
        """Replaces what is known of all problems of a batch.

        Args:
            problems: all P of them.
            history: their `PromptStats`, the rows of this process.
        """
        columns = (history.visits, history.mean, history.deviation)
        rows = np.stack(
            [distributed.all_gather_hosts(column) for column in columns], axis=1
        )
        for problem, row in zip(problems, rows.tolist(), strict=True):
            self._of[_key(problem)] = tuple(row)

    def saved(self):
        """Returns plain data for a checkpoint."""
        return {name: list(numbers) for name, numbers in self._of.items()}


def _key(problem):
    """Returns a key of its own for each problem: files may number theirs alike."""
    return _digest(f"{problem.id}\n{problem.question}")


def _digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:32]
