"""A problem with an answer that can be checked, and what holds many of them."""

import dataclasses
from collections.abc import Iterator
from typing import Protocol

SAMPLE_OF_UNIFORM = 256  # problems looked at of a source whose problems are all alike


@dataclasses.dataclass(frozen=True)
class Problem:
    """A question, its checkable answer and, where known, a worked solution.

    Attributes:
        id: names the problem in messages and in records of responses.
        question: without instructions; a template adds them.
        answer: the gold answer, as a grader reads it.
        solution: a worked solution that ends in the answer, for supervised learning.
    """

    id: str
    question: str
    answer: str
    solution: str | None = None


class Source(Protocol):
    """Anything that holds problems: the only thing a pipeline asks of its data.

    A source whose problems are all alike, such as one that makes them on the spot,
    says so with an attribute `uniform = True`: a few of its problems are then checked
    before a run instead of all. A source without the attribute is checked whole.
    """

    def __len__(self) -> int:
        """Returns the number of problems, at least one."""

    def __getitem__(self, index: int) -> Problem:
        """Returns the same problem for the same index, always."""


def is_uniform(source: Source) -> bool:
    """Returns whether a source says that its problems are all alike."""
    return getattr(source, "uniform", False)


def problems_to_check(source: Source) -> Iterator[Problem]:
    """Yields the problems that stand for all of a source, in order.

    They are the first `SAMPLE_OF_UNIFORM` of a uniform source, all of any other.
    """
    size = len(source)
    if is_uniform(source):
        size = min(size, SAMPLE_OF_UNIFORM)
    return (source[index] for index in range(size))
