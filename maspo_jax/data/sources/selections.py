"""Sources made of other sources: parts of them, and mixtures.

    Mixture((Distinct(ProblemFile(...)), First(ProblemFile(...), 1000)), (3, 1))

Each is deterministic, and what one leaves out it counts and says, once. They are
random-access like every source. Grain's `shuffle` would draw other orders than those
of recorded runs, and its `mix` ends with the source that is used up first; here no
problem of a mixture is left out.
"""

import dataclasses
import functools
import logging
import math
from typing import Any

import numpy as np

from maspo_jax.data.sources import contamination
from maspo_jax.data.sources.problem import Problem, Source, is_uniform

MOST = 10_000_000  # problems in an epoch of a mixture, which take a gigabyte

_log = logging.getLogger(__name__)


class _Selection:
    """A source that keeps the problems of `source` with the numbers `_kept`."""

    source: Source

    @property
    def uniform(self) -> bool:
        """Whether the problems are all alike: as those they are chosen from."""
        return is_uniform(self.source)

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, index: int) -> Problem:
        return self.source[int(self._kept[_within(index, len(self))])]


@dataclasses.dataclass(frozen=True)
class First(_Selection):
    """The first `count` problems of a source."""

    source: Any
    count: int

    def __post_init__(self):
        _check_count(self.count)

    @functools.cached_property
    def _kept(self) -> range:
        return range(_at_most(self.count, self.source))


@dataclasses.dataclass(frozen=True)
class Sample(_Selection):
    """`count` problems of a source, drawn without replacement; `seed` draws others."""

    source: Any
    count: int
    seed: int = 0

    def __post_init__(self):
        _check_count(self.count)

    @functools.cached_property
    def _kept(self) -> np.ndarray:
        order = np.random.default_rng(self.seed).permutation(len(self.source))
        return order[: _at_most(self.count, self.source)]


@dataclasses.dataclass(frozen=True)
class Distinct(_Selection):
    """A source without the problems that repeat the question of an earlier one.

    Questions are the same if they differ in white space and case only. Some sets
    are published with every row a hundred times; some give a repeated question
    another answer, of which the first is kept, and said.
    """

    source: Any

    @functools.cached_property
    def _kept(self) -> list[int]:
        first, kept, contradicted = {}, [], set()
        for index in range(len(self.source)):
            problem = self.source[index]
            question = "".join(problem.question.split()).casefold()
            earlier = first.setdefault(question, problem)
            if earlier is problem:
                kept.append(index)
            elif earlier.answer != problem.answer:
                contradicted.add(earlier.id)
        listed = f": {', '.join(sorted(contradicted)[:5])}" if contradicted else ""
        return _log_left_out(
            kept,
            self.source,
            "problems repeat an earlier one and are left out; "
            f"{len(contradicted)} questions have several answers, of which the first "
            f"is kept{listed}",
        )


@dataclasses.dataclass(frozen=True)
class Fitting(_Selection):
    """The problems of a source whose prompts have at most `length` tokens.

    Attributes:
        source: the problems.
        template: how a question is asked.
        tokenizer: how it is written.
        length: in tokens, usually `sampling.prompt_length`.
    """

    source: Any
    template: Any
    tokenizer: Any
    length: int

    @functools.cached_property
    def _kept(self) -> list[int]:
        sizes = [self._size(self.source[index]) for index in range(len(self.source))]
        kept = [index for index, size in enumerate(sizes) if size <= self.length]
        if not kept:
            raise ValueError(
                f"length={self.length}: none of the {len(sizes)} problems of "
                f"{_name(self.source)} fits; the shortest has {min(sizes)} tokens"
            )
        return _log_left_out(
            kept,
            self.source,
            f"prompts have more than {self.length} tokens, up to {max(sizes)}, and "
            "are left out",
        )

    def _size(self, problem: Problem) -> int:
        # Imported here: it loads jax, and a description of a source needs none.
        from maspo_jax.data.prompts.render import prompt_tokens

        return len(prompt_tokens(problem, self.template, self.tokenizer))


@dataclasses.dataclass(frozen=True)
class Unseen(_Selection):
    """A source without the problems that are found in sets it is measured on.

    Attributes:
        source: the problems.
        benchmarks: the sources that a policy is measured on.
        words: n, of the word n-grams that `contamination` compares.
    """

    source: Any
    benchmarks: tuple[Any, ...]
    words: int = contamination.WORDS

    @functools.cached_property
    def _kept(self) -> list[int]:
        seen = contamination.Index(dict(enumerate(self.benchmarks)), self.words)
        size = len(self.source)
        kept = [n for n in range(size) if not any(seen.look_up(self.source[n]))]
        if not kept:
            raise ValueError(
                f"all {size} problems of {_name(self.source)} are found in its "
                "benchmarks: train on another set"
            )
        said = "problems are found in a benchmark and are left out"
        return _log_left_out(kept, self.source, said)


@dataclasses.dataclass(frozen=True)
class Mixture:
    """Several sources, interleaved in proportion to their weights.

    An epoch has every problem of every source at least once: those of a source that
    is small for its weight come again, none is left out. Weights that would take more
    than `MOST` problems for that are refused.

    Attributes:
        sources: at least two.
        weights: of each, in any unit: (3, 1) is three problems of the first source
            for one of the second.
    """

    sources: tuple[Any, ...]
    weights: tuple[float, ...]

    def __post_init__(self):
        if len(self.sources) < 2 or len(self.sources) != len(self.weights):
            raise ValueError(
                f"{len(self.sources)} sources and {len(self.weights)} weights: give "
                "one weight for each of at least two sources"
            )
        for weight in self.weights:
            if not (0 < weight < math.inf):
                raise ValueError(f"weights={self.weights}: all must be positive")

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, index: int) -> Problem:
        source, item = self._order[_within(index, len(self))]
        return self.sources[source][int(item)]

    @functools.cached_property
    def _order(self) -> np.ndarray:
        """The source and the problem of every index, [size, 2]."""
        sizes = [len(source) for source in self.sources]
        pairs = list(zip(sizes, self.weights, strict=True))
        scale = max(size / weight for size, weight in pairs)
        if not scale * sum(self.weights) <= MOST:
            raise ValueError(
                f"weights={self.weights}: sources of {sizes} problems would take more "
                f"than {MOST} problems to be mixed so; give weights closer to the sizes"
            )
        # A little less, so that rounding adds no problem to an exact proportion.
        counts = [max(n, math.ceil(scale * w * (1 - 1e-12))) for n, w in pairs]
        source = np.repeat(np.arange(len(counts)), counts)
        turn = np.concatenate([np.arange(count) for count in counts])
        when = np.concatenate([(np.arange(count) + 0.5) / count for count in counts])
        item = turn % np.repeat(sizes, counts)
        return np.stack([source, item], axis=1)[np.argsort(when, kind="stable")]


def _log_left_out(kept: list[int], source: Source, why: str) -> list[int]:
    """Returns what is kept of a source, having said how many others there are."""
    size = len(source)
    if len(kept) < size:
        _log.warning("%s: %d of %d %s", _name(source), size - len(kept), size, why)
    return kept


def _name(source: Source) -> str:
    """Returns the name of a file at the bottom of a source, or its class."""
    while hasattr(source, "source"):
        source = source.source
    return getattr(source, "path", None) or type(source).__name__


def _within(index: int, size: int) -> int:
    if not 0 <= index < size:
        raise IndexError(f"problem {index} of {size}")
    return index


def _check_count(count: int) -> None:
    if count < 1:
        raise ValueError(f"count={count}: give at least 1")


def _at_most(count: int, source: Source) -> int:
    if count > len(source):
        raise ValueError(
            f"count={count}: {_name(source)} has only {len(source)} problems"
        )
    return count
