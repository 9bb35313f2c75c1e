"""A run is a folder: its experiment, its metrics, its rollouts, its checkpoints."""

import contextlib
import dataclasses
import pathlib

import jax

from maspo_jax import config, distributed
from maspo_jax.config import serialization
from maspo_jax.runs import provenance
from maspo_jax.runs.checkpoints import steps_of
from maspo_jax.runs.display import Display
from maspo_jax.runs.folder import Kind
from maspo_jax.runs.interrupts import Interrupted, Interrupts
from maspo_jax.runs.metrics_log import (
    FILE,
    RENAMED_STAGES,
    Clock,
    MetricsLog,
    read_lines,
    steps_logged,
)

RUN = Kind("run", "config.json", "--run", {"class": str})
STAGES = ("sft", "reinforcement")


@contextlib.contextmanager
def opened(folder, experiment, accept_code_changes=False, kept_elsewhere=False):
    """Creates the folder of a run, or returns to it, and keeps others out of it.

    Args:
        folder: where; created if it is not there.
        experiment: the `Experiment`; written to `config.json`.
        accept_code_changes: goes on with gates, graders and other code of one's own
            that is not what the run began with.
        kept_elsewhere: whether its checkpoints are, as those of a sweep.

    Raises:
        ValueError: the folder holds another experiment, or one whose files or code had
            another content, or no run at all, or has lost its checkpoints, or another
            process works in it. Nothing has been written then.
    """

    def settle(before):
        settings = record(experiment)
        if before is not None:
            before = serialization.upgraded(before)
            before = before | {"revisions": settings["revisions"]}
            changed = code_changes(before.pop("code", {}), settings["code"])
            if accept_code_changes:
                changed = []
            now = {name: settings[name] for name in settings if name != "code"}
            RUN.refuse(folder, serialization.differences(now, before) + changed)
            if not kept_elsewhere:
                check_checkpoints(folder, before)
            rename_stages(folder)
        return settings

    with RUN.opened(folder, settle):
        yield


def code_changes(before, now):
    """Returns a line for each class or function that is not what it was.

    Args:
        before: {name: digest} of the run, as `provenance.code` returns it.
        now: likewise.
    """
    return [
        f"the code of {name} has changed, or of what it calls; to go on with it all "
        "the same, give --accept-code-changes"
        for name in sorted(now)
        if before.get(name, now[name]) != now[name]
    ]


def rename_stages(folder):
    """Gives the stages of a run of an earlier version the names they have today."""
    for room in ("checkpoints", "tensorboard"):
        for before, now in RENAMED_STAGES.items():
            old = pathlib.Path(folder, room, before)
            if old.is_dir() and not old.with_name(now).exists():
                old.rename(old.with_name(now))


def check_checkpoints(folder, before):
    """Refuses a run whose metrics go beyond the checkpoints that it has.

    It would start over, and forget what it measured. One that was cut off before its
    first checkpoint does so rightly.

    Args:
        folder: of the run.
        before: its `config.json`, as it would be written today.

    Raises:
        ValueError: the checkpoints are gone; the message says what can be done.
    """
    folder = pathlib.Path(folder)
    places = {stage: _place(folder / "checkpoints", stage) for stage in STAGES}
    logged = steps_logged(folder)
    if not logged or steps_of(places["reinforcement"]):
        return
    # Nothing is learned behind a state that is not on disk yet.
    gone = logged.get("reinforcement", 0) > before["checkpoint_every"]
    if before.get("sft") and not steps_of(places["sft"]):
        every = before["sft"]["checkpoint_every"]
        gone |= set(logged) != {"sft"} or logged["sft"] > 2 * every
    gone |= any(
        not place.is_dir() for stage, place in places.items() if stage in logged
    )
    if gone or not (folder / "checkpoints").is_dir():
        steps = logged.get("reinforcement", 0)
        reached = f"{steps} steps" if steps else f"{logged.get('sft', 0)} sft updates"
        raise ValueError(
            f"{folder} has lost its checkpoints: {FILE} holds {reached}, and there is "
            "nothing to go on from. Put checkpoints/ back, give another folder with "
            f"--run, or remove {folder} to start over"
        )


def _place(room, stage):
    """Returns where a stage lies, be it under the name it had in an earlier version."""
    earlier = [room / old for old, now in RENAMED_STAGES.items() if now == stage]
    there = [path for path in (room / stage, *earlier) if path.is_dir()]
    return there[0] if there else room / stage


def record(experiment):
    """Returns what `config.json` of a run holds.

    That is the experiment, the digests of the `files` and of the `code` of one's own it
    is made of, which have to stay what they are, and, for the reader alone, the
    `revisions` that came from the hub.
    """
    return serialization.to_json(experiment) | {
        "files": provenance.digests(experiment),
        "code": provenance.code(experiment),
        "revisions": provenance.revisions(experiment),
    }


def read_experiment(folder):
    """Returns the `Experiment` of a run."""
    beside = ("files", "code", "revisions")
    record = {k: v for k, v in _read(folder).items() if k not in beside}
    return serialization.from_json(record)


def read_parts(folder, *names):
    """Returns some parts of the `Experiment` of a run, in order.

    The others may be of a class that cannot be imported here, such as a gate of a
    notebook.
    """
    record = _read(folder)
    return [serialization.from_json(record[name]) for name in names]


def check_files(folder, *parts):
    """Refuses parts of a run's experiment whose files are not what they were."""
    before = _read(folder).get("files", {})
    for name, digest in provenance.digests(parts).items():
        if before.get(name, digest) != digest:
            raise ValueError(
                f"{name} has changed since the run in {folder} began with it: put it "
                "back as it was"
            )


def _read(folder):
    """Returns what `config.json` holds, as it would be written today."""
    return serialization.upgraded(RUN.read(folder))


def read_metrics(folder, stage=None):
    """Returns the lines of `metrics.jsonl`, of one stage or all, in order."""
    file = pathlib.Path(folder) / FILE
    if not file.is_file():
        raise FileNotFoundError(f"{folder} has no {FILE}: nothing was run there")
    return [line for line in read_lines(file) if stage in (None, line["stage"])]


@dataclasses.dataclass(frozen=True)
class Run:
    """What every stage of a run works with."""

    experiment: config.Experiment
    folder: pathlib.Path
    mesh: jax.sharding.Mesh
    log: MetricsLog
    clock: Clock
    display: Display
    interrupts: Interrupts

    def save_is_due(self, checkpoints, steps, every, last):
        """Returns whether a stage saves now: by its steps, or by the time.

        Args:
            checkpoints: the `Checkpoints` of the stage.
            steps: completed.
            every: how many of them a checkpoint is written after.
            last: whether this was the last one.
        """
        minutes = self.experiment.checkpoint_minutes
        if last or steps % every == 0:
            return True
        if minutes is None:
            return False
        return bool(distributed.max_over_hosts(checkpoints.age >= 60 * minutes))

    def stop_if_asked(self, checkpoints, steps, state, unit):
        """Saves and raises `Interrupted` if a signal has come.

        Args:
            checkpoints: the `Checkpoints` of the stage.
            steps: completed.
            state: returns the `RunState` behind them.
            unit: what `steps` counts.
        """
        number = self.interrupts.requested
        if number:
            self.stop(number, checkpoints, steps, state(), unit)

    def stop(self, number, checkpoints, steps, state, unit):
        """Saves a `RunState` and raises `Interrupted` by the signal of that number."""
        checkpoints.save(steps, state)
        checkpoints.finish()  # or the signal would hide that it failed
        raise Interrupted(number, f"{steps} {unit}")
