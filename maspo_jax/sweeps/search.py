"""A search by Optuna: what is tried next follows from what was found so far.

The study lies in the folder of the sweep, in Optuna's journal, which several processes
and hosts write to. A trial that a process was killed in stays, and is taken up again.
"""

import dataclasses
from typing import Literal

from maspo_jax.settings import check_intervals, setting
from maspo_jax.sweeps import space as spaces
from maspo_jax.sweeps.space import MOST, Choice, LogUniform, Uniform

FILE = "optuna.journal"
EXTRA = "pip install 'maspo_jax[search]'"


@dataclasses.dataclass(frozen=True)
class Search:
    """Trials that Optuna proposes, several at a time."""

    space: dict  # {dotted name: Uniform, LogUniform or Choice}
    trials: int = setting(interval="[1, inf)")  # how many in all
    # Proposed at a time: they train together, and none knows of the others.
    batch: int = setting(8, "[1, inf)")
    sampler: Literal["tpe", "random"] = "tpe"
    seed: int = setting(0, "[0, 4294967296)")  # of the sampler

    def __post_init__(self):
        """Refuses a search without a bound."""
        spaces.check_space(self.space)
        if not isinstance(self.trials, int) or not 0 < self.trials <= MOST:
            raise ValueError(
                f"trials={self.trials!r}: a search has to be bounded; give how many "
                f"trials it may take, from 1 to {MOST:,}"
            )
        check_intervals(self)
        if self.sampler not in ("tpe", "random"):
            raise ValueError(f"sampler={self.sampler!r}: choose one of tpe, random")


def study_of(search, folder, goal):
    """Returns the Optuna study of a folder, created if it is not there.

    Args:
        search: the `Search`.
        folder: of the sweep.
        goal: "max" or "min".

    Raises:
        ValueError: Optuna is not installed.
    """
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
    except ImportError as error:
        raise ValueError(f"a sweeps.Search needs Optuna: {EXTRA}") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    file = str(folder / FILE)
    backend = JournalFileBackend(file, lock_obj=JournalFileOpenLock(file))
    samplers = {
        "tpe": lambda: optuna.samplers.TPESampler(
            seed=search.seed, constant_liar=True, multivariate=False
        ),
        "random": lambda: optuna.samplers.RandomSampler(seed=search.seed),
    }
    return optuna.create_study(
        storage=JournalStorage(backend),
        study_name="sweep",
        load_if_exists=True,
        sampler=samplers[search.sampler](),
        direction={"max": "maximize", "min": "minimize"}[goal],
    )


def propose(search, study, count):
    """Returns the numbers of so many new trials of a study.

    Args:
        search: the `Search`.
        study: from `study_of`.
        count: how many, at most; no more are proposed than the search has left.
    """
    left = search.trials - len(study.get_trials(deepcopy=False))
    distributions = {name: _distribution(kind) for name, kind in search.space.items()}
    return [study.ask(distributions).number for _ in range(min(count, left))]


def settings_in_study(search, study):
    """Returns the settings of all trials of a study, in the order of their numbers."""
    found = []
    for trial in study.get_trials(deepcopy=False):
        values = dict(trial.params)
        for name, kind in search.space.items():
            if isinstance(kind, Choice):  # a journal holds no classes: their place
                values[name] = kind.values[values[name]]
        found.append({name: values[name] for name in search.space})
    return found


def tell(study, number, score):
    """Tells a study the score of a trial, once; None for one that failed."""
    from optuna.trial import TrialState

    if score is None:
        study.tell(number, state=TrialState.FAIL, skip_if_finished=True)
    else:
        study.tell(number, score, skip_if_finished=True)


def _distribution(kind):
    from optuna import distributions

    if isinstance(kind, Choice):
        return distributions.CategoricalDistribution([*range(len(kind.values))])
    assert isinstance(kind, Uniform | LogUniform)
    log = isinstance(kind, LogUniform)
    return distributions.FloatDistribution(kind.low, kind.high, log=log)
