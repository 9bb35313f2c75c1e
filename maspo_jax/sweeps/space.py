"""What a sweep tries: lists of changes to an experiment, each a dict.

{dotted name of a setting: value}, such as {"objective.gate.alpha": 0.3}. The value may
be a part, such as {"objective.gate": gates.Dgpo()}; its settings may follow.
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping

import numpy as np
from scipy.stats import qmc

MOST = 100_000  # trials of a sweep; more are taken for a search without a bound


@dataclasses.dataclass(frozen=True)
class Uniform:
    """A number between two."""

    low: float
    high: float

    def __post_init__(self):
        """Refuses ends that bound nothing."""
        _check_ends(self, -math.inf)

    def at(self, share):
        """Returns the number at a share of the way, [0, 1)."""
        return self.low + share * (self.high - self.low)


@dataclasses.dataclass(frozen=True)
class LogUniform:
    """A positive number between two, its logarithm uniform."""

    low: float
    high: float

    def __post_init__(self):
        """Refuses ends that bound nothing."""
        _check_ends(self, 0.0)

    def at(self, share):
        """Returns the number at a share of the way, [0, 1)."""
        return self.low * (self.high / self.low) ** share


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of several values."""

    values: tuple

    def __post_init__(self):
        """Refuses an empty choice."""
        object.__setattr__(self, "values", tuple(self.values))
        if not self.values:
            raise ValueError("Choice(()): give at least one value")

    def at(self, share):
        """Returns the value at a share of the way, [0, 1)."""
        return self.values[int(share * len(self.values))]


def grid(settings):
    """Returns a trial for every combination of values.

    Args:
        settings: {name: values}; the last one changes first.
    """
    lists = _values(settings)
    return [
        dict(zip(lists, values, strict=True))
        for values in itertools.product(*lists.values())
    ]


def zipped(settings):
    """Returns a trial for the first value of each setting, for the second, and so on.

    Args:
        settings: {name: values}, all of one length.
    """
    lists = _values(settings)
    if len({len(values) for values in lists.values()}) > 1:
        lengths = ", ".join(f"{name}: {len(lists[name])}" for name in lists)
        raise ValueError(f"zipped: {lengths} values; give equally many of each")
    rows = zip(*lists.values(), strict=True)
    return [dict(zip(lists, row, strict=True)) for row in rows]


def random(space, count, seed=0):
    """Returns so many trials, drawn independently.

    Args:
        space: {name: `Uniform`, `LogUniform` or `Choice`}.
        count: how many.
        seed: of the draws.
    """
    _check_count("random", count)
    return _drawn(space, np.random.default_rng(seed).random((count, len(space))))


def sobol(space, count, seed=0):
    """Returns so many trials that cover a space more evenly than `random` ones do.

    Args:
        space: {name: `Uniform`, `LogUniform` or `Choice`}.
        count: how many; of a power of two, the cover is even.
        seed: of the scrambling.
    """
    _check_count("sobol", count)
    check_space(space)
    # It draws powers of two without a warning, and the first of them are the same.
    whole = qmc.Sobol(len(space), rng=seed).random_base2(max(count - 1, 0).bit_length())
    return _drawn(space, whole[:count])


def _drawn(space, shares):
    check_space(space)
    return [
        {name: space[name].at(share) for name, share in zip(space, row, strict=True)}
        for row in shares.tolist()
    ]


def _values(settings):
    if not isinstance(settings, Mapping) or not settings:
        raise ValueError(f"{settings!r}: give {{name of a setting: its values}}")
    lists = {}
    for name, values in settings.items():
        if isinstance(values, str) or not hasattr(values, "__iter__"):
            raise ValueError(f"{name}={values!r}: give a list of values")
        lists[name] = [*itertools.islice(values, MOST + 1)]
        if not 0 < len(lists[name]) <= MOST:
            raise ValueError(f"{name}: give at least one value, at most {MOST:,}")
    return lists


def check_space(space):
    """Refuses what bounds no search."""
    if not isinstance(space, Mapping) or not space:
        raise ValueError(f"{space!r}: give {{name of a setting: what to draw}}")
    for name, kind in space.items():
        if not isinstance(kind, Uniform | LogUniform | Choice):
            raise ValueError(
                f"{name}={kind!r}: a search has to be bounded; give "
                "Uniform(low, high), LogUniform(low, high) or Choice(values)"
            )


def _check_count(name, count):
    if not isinstance(count, int) or isinstance(count, bool) or not 0 < count <= MOST:
        raise ValueError(
            f"{name}: count={count!r}; give how many trials, from 1 to {MOST:,}"
        )


def _check_ends(kind, least):
    """Refuses ends that are not finite, above the least, and in order."""
    if not (least < kind.low < kind.high < math.inf):
        above = "0 < " if least == 0 else ""
        raise ValueError(f"{kind}: a search has to be bounded: {above}low < high")
