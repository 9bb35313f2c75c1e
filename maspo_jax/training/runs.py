"""A run is a folder: its experiment, its metrics, its rollouts, its checkpoints."""

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib

import jax

from maspo_jax import config, origins, parallel
from maspo_jax.training.display import Display
from maspo_jax.training.interrupts import Interrupted, Interrupts
from maspo_jax.training.metrics import Clock, MetricsLog


@contextlib.contextmanager
def opened(folder, experiment):
    """Creates the folder of a run, or returns to it, and keeps others out of it.

    The first process of a pod decides for all, so that none sees a folder half made.

    Args:
        folder: where; created if it is not there.
        experiment: the `Experiment`; written to `config.json`.

    Raises:
        ValueError: the folder holds another experiment, or one whose files had another
            content, or no run at all, or another process works in it. Nothing has been
            written then.
    """
    if "://" in str(folder):
        raise ValueError(
            f"{folder}: a run is a folder of the file system; mount the bucket, for "
            "example with gcsfuse, and give its path"
        )
    with contextlib.ExitStack() as held:
        refusal = None
        if jax.process_index() == 0:
            try:
                refusal = _open(pathlib.Path(folder), experiment, held)
            except (
                OSError,
                ValueError,
            ) as error:  # or the other processes would wait for this one
                refusal = str(error)
        if parallel.largest(refusal is not None):
            raise ValueError(refusal or f"the first process refused {folder}")
        yield


def _open(folder, experiment, held):
    """Makes a folder that of a run. Returns why it cannot be, or None."""
    if folder.exists() and not folder.is_dir():
        return f"{folder} is no folder; give another one with --run"
    folder.mkdir(parents=True, exist_ok=True)
    if not lock(folder, held):
        return (
            f"another process is working in {folder}: wait until it ends, or give "
            "another folder with --run"
        )
    settings = record(experiment)
    refusal = _refusal(folder, settings)
    if refusal:
        return refusal
    file = folder / "config.json"
    partial = file.with_suffix(".json.partial")
    partial.write_text(json.dumps(settings, indent=2) + "\n")
    partial.rename(file)
    return None


def lock(folder, held):
    """Returns whether no other process works in a folder, nor can until we end."""
    descriptor = os.open(folder, os.O_RDONLY)
    held.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # of a file system that has no locks
        return True
    return True


def record(experiment):
    """Returns what `config.json` of a run holds.

    That is the experiment, the digests of the `files` it is made of, which have to stay
    what they are, and, for the reader alone, the `revisions` that came from the hub.
    """
    return config.to_json(experiment) | {
        "files": origins.digests(experiment),
        "revisions": origins.revisions(experiment),
    }


def _refusal(folder, settings):
    """Returns why a folder cannot hold the run of such an experiment, or None."""
    if (folder / "config.json").exists():
        before = _read_config(folder) | {"revisions": settings["revisions"]}
        differences = config.differences(settings, before)
        if not differences:
            return None
        listed = "\n  ".join(differences)
        return (
            f"{folder} holds a run of a different experiment:\n  {listed}\n"
            "Put back what was changed, give this one another folder with --run, or "
            "remove that one."
        )
    partial = folder / "config.json.partial"  # of a start that was cut off
    if set(folder.iterdir()) - {partial}:
        return (
            f"{folder} exists and holds no run (it has no config.json); "
            "give another folder with --run"
        )
    return None


def read_experiment(folder):
    """Returns the `Experiment` of a run."""
    data = _read_config(pathlib.Path(folder))
    beside = ("files", "revisions")
    return config.from_json({k: v for k, v in data.items() if k not in beside})


def check_files(folder, *parts):
    """Refuses parts of a run's experiment whose files are not what they were."""
    before = _read_config(pathlib.Path(folder)).get("files", {})
    for name, digest in origins.digests(parts).items():
        if before.get(name, digest) != digest:
            raise ValueError(
                f"{name} has changed since the run in {folder} began with it: put it "
                "back as it was"
            )


def _read_config(folder):
    file = folder / "config.json"
    if not file.is_file():
        raise FileNotFoundError(f"{folder} is not the folder of a run: no config.json")
    try:
        data = json.loads(file.read_text())
    except ValueError as error:
        raise ValueError(
            f"{file} is not JSON ({error}); restore it, or give another --run"
        ) from error
    if not isinstance(data, dict) or "class" not in data:
        raise ValueError(f"{file} is not that of a run; give another folder")
    return data


def read_metrics(folder, stage):
    """Returns the lines of `metrics.jsonl` of one stage, in order."""
    file = pathlib.Path(folder) / "metrics.jsonl"
    if not file.is_file():
        raise FileNotFoundError(f"{folder} has no metrics.jsonl: nothing was run there")
    # What follows the last end of line was cut off with the process that wrote it.
    whole, _, _ = file.read_text().rpartition("\n")
    lines = map(json.loads, whole.splitlines())
    return [line for line in lines if line["stage"] == stage]


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

    def stop_if_asked(self, checkpoints, steps, state, position, unit):
        """Saves and raises `Interrupted` if a signal has come.

        The first four are what a checkpoint holds; `unit` is what `steps` counts.
        """
        number = self.interrupts.requested
        if number:
            checkpoints.save(steps, state, position)
            raise Interrupted(number, f"{steps} {unit}")
