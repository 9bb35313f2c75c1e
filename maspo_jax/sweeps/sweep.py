"""A sweep: one experiment, what is tried of it, and the training seeds.

A trial is a setting; a run is a trial with a seed. A run is trained by the rules of any
other experiment, and its folder is that of a run.
"""

import dataclasses
import difflib
import itertools
import json
from typing import Any, Literal

from maspo_jax.config import Experiment, serialization
from maspo_jax.config.changes import changed, plain
from maspo_jax.refusals import Refusals
from maspo_jax.reports import metric_names
from maspo_jax.settings import check_intervals, setting
from maspo_jax.sweeps.search import Search
from maspo_jax.sweeps.space import MOST

SEEDS = 2**32


@dataclasses.dataclass(frozen=True)
class Halving:
    """Stops a run that is not among the best of those that came as far (ASHA).

    At each rung, a number of steps, the best 1 / factor of all runs of the sweep that
    have reached it so far go on. Li et al., arXiv 1810.05934.
    """

    first: int = setting(interval="[1, inf)")  # steps of the first rung
    factor: int = setting(3, "[2, inf)")  # the next is so many times as high

    def rungs(self, steps):
        """Returns the rungs below so many steps, ascending."""
        found, rung = [], self.first
        while rung < steps:
            found.append(rung)
            rung *= self.factor
        return found


@dataclasses.dataclass(frozen=True)
class Sweep:
    """An experiment, and what is tried of it. A sweep file names one `sweep`.

    `metric` is what a run is judged by: "validation/accuracy" or another that is
    measured on validation problems or of a step, by its name in `metrics.jsonl`, after
    the last step.
    """

    experiment: Experiment
    # Dicts of changes, as `grid`, `zipped`, `random` and `sobol` return them, one list
    # or several added up; or a `Search`.
    trials: Any
    seeds: tuple[int, ...] = (0,)  # of training; each trial takes all of them
    metric: str = "validation/accuracy"
    goal: Literal["max", "min"] = "max"
    stopping: Halving | None = None
    names: tuple[str, ...] = ()  # of the trials; (): by what differs between them
    # Runs trained together, at most; None: as many as the memory holds, at most 64.
    together: int | None = setting(None, "[1, inf)")

    def __post_init__(self):
        """Refuses what is no sweep. Trials are looked at one by one by `trials_of`."""
        object.__setattr__(self, "seeds", seeds_of(self.seeds))
        check_intervals(self)
        check_metric(self.metric)
        if self.goal not in ("max", "min"):
            raise ValueError(f"goal={self.goal!r}: choose one of max, min")
        if not self.experiment.steps:
            raise ValueError("experiment.steps=0: a sweep trains; give at least 1")
        self._check_rungs()
        if isinstance(self.trials, Search):
            return
        trials = self.trials
        if isinstance(trials, dict | str) or not hasattr(trials, "__iter__"):
            raise ValueError(
                f"trials={trials!r:.60}: give a list of {{name of a setting: value}}, "
                "such as sweeps.grid returns, or a sweeps.Search"
            )
        trials = (*itertools.islice(trials, MOST + 1),)
        if not 0 < len(trials) <= MOST:
            raise ValueError(
                f"trials: at least one has to be given, and at most {MOST:,}; a search "
                "has to be bounded"
            )
        object.__setattr__(self, "trials", trials)
        object.__setattr__(self, "names", (*self.names,))
        if self.names and not len(set(self.names)) == len(self.names) == len(trials):
            raise ValueError(
                f"names: {len(set(self.names))} names for {len(trials)} trials; give "
                "each its own"
            )

    def _check_rungs(self):
        """Refuses rungs at which nothing new is measured."""
        every = self.experiment.validation.every
        if self.stopping is None or not self.metric.startswith("validation/"):
            return
        rungs = self.stopping.rungs(self.experiment.steps)
        blind = [rung for rung in rungs if rung % every]
        if blind:
            raise ValueError(
                f"stopping.first={self.stopping.first}: after {blind[0]} steps "
                f"{self.metric} is not measured; give a multiple of "
                f"validation.every={every}"
            )


@dataclasses.dataclass(frozen=True)
class Trial:
    """A setting of a sweep. `trials_of` makes them."""

    number: int
    settings: dict  # {dotted name: value}
    experiment: Experiment  # with these settings, and the seed of the sweep's own
    label: str  # what tells it from the other trials


def seeds_of(seeds):
    """Returns training seeds as a tuple.

    Raises:
        ValueError: there are none, one is twice, or one is none.
    """
    if isinstance(seeds, str) or not hasattr(seeds, "__iter__"):
        raise ValueError(f"seeds={seeds!r}: give a list of whole numbers")
    seeds = (*itertools.islice(seeds, MOST + 1),)
    for seed in seeds:
        whole = isinstance(seed, int) and not isinstance(seed, bool)
        if not whole or not 0 <= seed < SEEDS:
            raise ValueError(f"seeds: {seed!r} must be a whole number in [0, 2^32)")
    twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    if twice:
        raise ValueError(f"seeds: {twice} are there more than once; give each once")
    if not 0 < len(seeds) <= MOST:
        raise ValueError(f"seeds: give at least one, and at most {MOST:,}")
    return seeds


def check_metric(name):
    """Refuses a metric that no run measures, by the closest that there is."""
    known = [f"validation/{each}" for each in metric_names.VALIDATION]
    known += [*metric_names.STEP, *metric_names.UPDATE]
    if name not in known:
        (close,) = difflib.get_close_matches(str(name), known, n=1, cutoff=0.0)
        raise ValueError(
            f"metric={name!r}: no run measures it; the closest is {close} "
            "(docs/metrics.md lists them)"
        )


def trials_of(experiment, settings, names=()):
    """Returns the `Trial`s of a list of changes, in order.

    Args:
        experiment: the `Experiment` that is changed.
        settings: dicts of {dotted name: value}.
        names: what they are called; (): by what differs between them.

    Raises:
        ValueError: a setting is none, a value does not fit, or two trials are the same.
    """
    found, seen = [], {}
    labels = names or labels_of(settings)
    with Refusals() as refusals:
        for number, each in enumerate(settings):
            with refusals.of():
                found.append(_trial(experiment, number, each, labels[number], seen))
    return found


def _trial(experiment, number, settings, label, seen):
    if not isinstance(settings, dict):
        raise ValueError(f"trial {number}: {settings!r:.60} is no {{name: value}}")
    settings = plain(settings)
    for name in ("seed", "steps"):
        if name in settings:
            where = "Sweep.seeds" if name == "seed" else "the experiment"
            raise ValueError(
                f"trial {number}: {name} is not a setting of a trial; give {where}"
            )
    try:
        trial = Trial(number, settings, changed(experiment, settings), label)
        key = key_of(trial.experiment)
    except ValueError as error:
        raise ValueError(f"trial {number} ({label}): {error}") from error
    if key in seen:
        raise ValueError(
            f"trials {seen[key]} and {number} ({label}) cannot be told apart: they are "
            "the same experiment; leave one out"
        )
    seen[key] = number
    return trial


def key_of(experiment):
    """Returns a text that is the same for experiments that compute the same."""
    record = serialization.leaves(serialization.to_json(experiment))
    free = serialization.RESUMABLE
    kept = {name: record[name] for name in sorted(record) if name not in free}
    # 1 and 1.0 are one number.
    numbers = {
        name: float(value) if type(value) is int else value
        for name, value in kept.items()
    }
    return json.dumps(numbers)


def labels_of(settings):
    """Returns what each trial is called, by what differs between them.

    Args:
        settings: dicts of {dotted name: value}.
    """
    settings = [each if isinstance(each, dict) else {} for each in settings]
    names = [*dict.fromkeys(name for each in settings for name in each)]
    short = _short_names(names)
    varied = [
        name
        for name in names
        if len({_word(each.get(name)) for each in settings}) > 1 or len(settings) == 1
    ]
    return [
        ", ".join(
            _word(each[name])
            if name == "objective.gate"
            else f"{short[name]}={_word(each[name])}"
            for name in varied
            if name in each
        )
        or "as it is"
        for each in settings
    ]


def _short_names(names):
    """Returns {dotted name: as many of its last parts as tell it from the others}."""
    short = {}
    for name in names:
        parts = name.split(".")
        for count in range(1, len(parts) + 1):
            short[name] = ".".join(parts[-count:])
            ends = [o for o in names if f".{o}".endswith(f".{short[name]}")]
            if len(ends) == 1:
                break
    return short


def _word(value):
    """Returns how a value is written in a label."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changes = [
            f"{field.name}={_word(getattr(value, field.name))}"
            for field in dataclasses.fields(value)
            if field.init and not _is_default(value, field)
        ]
        return type(value).__name__ + (f"({', '.join(changes)})" if changes else "")
    return getattr(value, "__name__", None) or str(value)


def _is_default(value, field):
    default, held = field.default, getattr(value, field.name)
    return type(held) is type(default) and held == default
