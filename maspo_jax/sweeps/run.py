"""A sweep in its folder: what is left to train, who trains it, and what came of it.

sweep.json          the experiment, and each trial under its number
trials/0003/seed_0  the folder of a run: that of trial 3 with seed 0
chunks/             of runs that train together until they have ended
starts/             policies that supervised training has made, for all runs with a seed
table.parquet       what the runs measured; table.csv, marl_eval.json

Several processes may work on one sweep, also of several hosts that see the folder: each
takes a chunk that nobody works on, holds a lock on it, and writes nothing elsewhere.
"""

import concurrent.futures
import contextlib
import dataclasses
import functools
import json
import math
import pathlib
import shutil
import threading

import jax
import rich.table

from maspo_jax import distributed
from maspo_jax.config import serialization
from maspo_jax.learning import run as single
from maspo_jax.refusals import Refusals
from maspo_jax.runs import programs, provenance, run_folder
from maspo_jax.runs.folder import lock
from maspo_jax.runs.interrupts import Interrupts
from maspo_jax.storage import results_folder, write_whole
from maspo_jax.sweeps import chunk as chunks
from maspo_jax.sweeps import cost, search, table, together
from maspo_jax.sweeps.search import Search
from maspo_jax.sweeps.sweep import key_of, trials_of
from maspo_jax.sweeps.table import SWEEP, folder_of

MOST_TOGETHER = 64


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """A run that a sweep asks for."""

    name: str  # "0003/seed_0"
    label: str
    experiment: object
    folder: pathlib.Path


@dataclasses.dataclass(frozen=True)
class PlannedGroup:
    """Runs that train together; or one that cannot, and why."""

    runs: list
    alone: str | None  # the name of the setting that keeps it from others
    size: int  # runs of a chunk


def run(sweep, folder, display, source=None, starts=None):
    """Trains what is left of a sweep.

    Args:
        sweep: the `Sweep`.
        folder: of the sweep; a sweep in it is gone on with, trials may have been added.
        display: a `Display`, entered.
        source: the file the sweep was read from, if it was; recorded.
        starts: the folder of policies that supervised training has made, if other
            sweeps are to share it; None for one of its own.

    Returns:
        Whether all runs have ended: those that other processes work on may not.

    Raises:
        ValueError, OSError: something cannot run, or the folder holds another sweep.
        Interrupted: a signal asked to stop; all is saved.
    """
    if jax.process_count() > 1:
        raise ValueError(
            "a sweep takes no pod: start it once on each host, in the same folder"
        )
    if jax.default_backend() == "cpu":
        single.keep_freed_memory()
    folder = results_folder(folder, "--run")
    display.stage("checking the sweep")
    first = programs.compilations().finished
    begun = _Begun(sweep, folder, display, source, starts)
    with (
        Interrupts(display) as interrupts,
        programs.recorded(folder, first, display.note),
    ):
        begun.train(interrupts)
    begun.finish()
    left = [run for group in begun.groups for run in group.runs if not ended(run)]
    if left:
        display.note(f"{len(left)} runs are left to other processes at work on them")
    return not left


def ended(run):
    """Returns how a `PlannedRun` has ended, or None."""
    return chunks.status_of(run.folder)


def planned(sweep, trials, folder, limit):
    """Returns the `PlannedGroup`s of some trials.

    Args:
        sweep: the `Sweep`.
        trials: `Trial`s.
        folder: of the sweep.
        limit: bytes of a device, or None if unknown.
    """
    groups = {}
    for trial in trials:
        for seed in sweep.seeds:
            experiment = dataclasses.replace(trial.experiment, seed=seed)
            name = f"{trial.number:04d}/seed_{seed}"
            place = folder_of(folder, trial.number, seed)
            one = PlannedRun(name, trial.label, experiment, place)
            alone = together.reason_alone(experiment)
            key = together.group_of(experiment), name if alone else None
            groups.setdefault(key, (alone, []))[1].append(one)
    most = sweep.together or MOST_TOGETHER
    found = []
    for alone, runs in groups.values():
        size = 1
        if not alone:
            fits = cost.fitting(runs[0].experiment, limit)
            size = min(len(runs), most, fits or most)
            size = math.ceil(len(runs) / math.ceil(len(runs) / size))
        found.append(PlannedGroup(runs, alone, size))
    return found


class _Begun:
    """A sweep whose folder is there."""

    def __init__(self, sweep, folder, display, source, starts):
        self._starts = pathlib.Path(starts or folder / "starts")
        self.sweep, self.folder, self.display = sweep, folder, display
        self._lock = threading.Lock()
        self._programs, self._notes = {}, chunks.Notes(display.note)
        self._study = None
        self.base = serialization.to_json(sweep.experiment)
        trials = () if isinstance(sweep.trials, Search) else sweep.trials
        trials = trials_of(sweep.experiment, trials, sweep.names)
        self._check(planned(sweep, trials, folder, None))
        with SWEEP.opened(folder, functools.partial(self._settle, trials), wait=True):
            provenance.write(folder, provenance.start(sweep.experiment, source))
        if isinstance(sweep.trials, Search):
            self._study = search.study_of(sweep.trials, folder, sweep.goal)
            trials = self._of_study()
        self.groups = self._grouped(trials)
        self._say()

    def _grouped(self, trials):
        limit = cost.memory_limit()
        return planned(self.sweep, trials, self.folder, limit)

    def _check(self, groups):
        """Refuses experiments that cannot run, one of each group."""
        with Refusals() as refusals:
            for group in groups or planned(
                self.sweep,
                [trials_of(self.sweep.experiment, [{}])[0]],
                self.folder,
                None,
            ):
                first = group.runs[0]
                with refusals.of():
                    try:
                        single.check_experiment(first.experiment, first.folder)
                    except ValueError as error:
                        raise ValueError(f"{first.label}: {error}") from error

    def _settle(self, trials, before):
        """Returns the record of the folder, given that before; numbers the trials."""
        plain = lambda trial: {
            "number": trial.number,
            "label": trial.label,
            "key": key_of(trial.experiment),
            "settings": {
                name: serialization.to_json(value)
                for name, value in trial.settings.items()
            },
        }
        record = {
            "experiment": self.base,
            "metric": self.sweep.metric,
            "goal": self.sweep.goal,
            "trials": [],
        }
        if before is not None:
            changed = serialization.differences(self.base, before["experiment"])
            if before["experiment"].get("steps") != self.base["steps"]:
                changed.append(
                    f"steps: {before['experiment'].get('steps')} in the run, "
                    f"{self.base['steps']} here"
                )
            for name in ("metric", "goal"):
                if before[name] != record[name]:
                    changed.append(
                        f"{name}: {before[name]} in the run, {record[name]} here"
                    )
            SWEEP.refuse(self.folder, [*dict.fromkeys(changed)])
            record["trials"] = before["trials"]
        known = {each["key"]: each for each in record["trials"]}
        number = len(record["trials"])
        for place, trial in enumerate(trials):
            own = plain(trial)
            if own["key"] in known:
                own["number"] = known[own["key"]]["number"]
                known[own["key"]] |= {"label": own["label"]}
            else:
                own["number"] = number
                record["trials"].append(own)
                number += 1
            trials[place] = dataclasses.replace(trial, number=own["number"])
        gone = len(known) - len({t.number for t in trials} & set(range(len(known))))
        if gone and before is not None and self._study is None and trials:
            self.display.note(
                f"{gone} trials of {self.folder} are not in the file any more: what "
                "they measured is kept, and nothing more is trained of them"
            )
        return record

    def train(self, interrupts):
        """Trains all that nobody else works on."""
        devices = jax.local_devices()
        while True:
            self._make_starts()
            work = lambda device: self._train_together(device, interrupts)
            if len(devices) == 1:
                work(devices[0])
            else:
                in_threads(work, devices)
            while self._work(None, interrupts, alone=True):
                pass
            self._tell()
            if self._study is None or not self._propose():
                break

    def finish(self):
        """Tells the study what there is to tell, and writes the table."""
        self._tell()
        self._write_table()

    def _make_starts(self):
        """Makes the policies that runs start from, on all devices together."""
        needed = {}
        together_ = [group for group in self.groups if not group.alone]
        for run in [run for group in together_ for run in group.runs]:
            if run.experiment.sft and not ended(run):
                needed[chunks.start_key(run.experiment)] = run.experiment
        for count, (key, experiment) in enumerate(needed.items(), start=1):
            self.display.stage(
                f"fine-tuning, for all runs with a seed, {count} of {len(needed)}"
            )
            with contextlib.ExitStack() as held:
                place = self._starts / f"{key}.lock"
                place.parent.mkdir(parents=True, exist_ok=True)
                place.touch()
                lock(place, held, wait=True)  # another process may be at it
                chunks.make_start(experiment, self._starts)

    def _train_together(self, device, interrupts):
        """Trains chunks on a device, until none is left that nobody works on."""
        with jax.default_device(device):
            while self._work(device, interrupts, alone=False):
                pass

    def _work(self, device, interrupts, alone):
        """Trains a chunk. Returns whether there was one.

        Args:
            device: which it is trained on; None for all.
            interrupts: the `Interrupts`.
            alone: of runs that train alone, or of those that do not.
        """
        with contextlib.ExitStack() as held:
            claimed = self._claim(held, alone)
            if claimed is None:
                return False
            place, runs, group = claimed
            if alone:
                self._train_alone(runs[0])
            else:
                self._chunk(place, runs, group, device, interrupts).train()
            with self._alone():
                shutil.rmtree(place)
        with self._lock:
            self._write_table()
            self._show()
        return True

    def _alone(self):
        """Keeps other processes and threads from the files that all share."""
        return SWEEP.opened(self.folder, lambda record: record, wait=True)

    def _write_table(self):
        with self._alone():
            table.write(self.folder, self.sweep.metric)

    def _claim(self, held, alone):
        """Takes a chunk that nobody works on, or makes one.

        Args:
            held: the `contextlib.ExitStack` that holds its lock.
            alone: whether of a run that trains alone.

        Returns:
            Its folder, its `PlannedRun`s and their group; None if nothing is left.
        """
        rooms, taken = self.folder / "chunks", set()
        groups = [group for group in self.groups if bool(group.alone) == alone]
        by_name = {run.name: (run, g) for g in groups for run in g.runs}
        with SWEEP.opened(self.folder, lambda record: record, wait=True):
            rooms.mkdir(exist_ok=True)
            for place in sorted(rooms.iterdir()):
                locked = held.enter_context(contextlib.ExitStack())
                free, names = lock(place, locked), _names_in(place)
                known = [name for name in names or () if name in by_name]
                if free and known:
                    # Runs whose trial was taken out of the file since are in it, too.
                    chunk = [self._planned(name, by_name) for name in names]
                    if not all(map(ended, [by_name[name][0] for name in known])):
                        return place, chunk, by_name[known[0]][1]
                if free and (known or names is None):
                    shutil.rmtree(place)  # nothing is left of it, or it never began
                locked.close()
                taken |= {*(names or ())}
            for group in groups:
                left = [r for r in group.runs if r.name not in taken and not ended(r)]
                if not left:
                    continue
                count = math.ceil(len(left) / group.size)
                runs = left[: math.ceil(len(left) / count)]
                numbers = [int(place.name) for place in rooms.iterdir()]
                place = rooms / f"{max(numbers, default=-1) + 1:04d}"
                place.mkdir()
                names = json.dumps({"runs": [run.name for run in runs]})
                write_whole(place / "chunk.json", names + "\n")
                lock(place, held)
                return place, runs, group
        return None

    def _planned(self, name, by_name):
        """Returns the `PlannedRun` of a name, also of one that is not asked for now."""
        if name in by_name:
            return by_name[name][0]
        trial, seed = name.split("/seed_")
        folder = folder_of(self.folder, int(trial), int(seed))
        experiment = run_folder.read_experiment(folder)
        return PlannedRun(name, name, experiment, folder)

    def _chunk(self, place, runs, group, device, interrupts):
        key = together.group_of(runs[0].experiment)
        # Of a device, the programs of the last group are kept: there may be many.
        if self._programs.get(device, ("",))[0] != key:
            mesh = distributed.make_mesh(devices=[device])
            # Of the first run of all, so that every chunk has the same programs.
            first = group.runs[0].experiment
            self._programs[device] = key, together.build(first, mesh)
        halving = self.sweep.stopping
        rungs = halving.rungs(self.sweep.experiment.steps) if halving else ()
        return chunks.Chunk(
            place,
            [run.name for run in runs],
            [run.experiment for run in runs],
            [run.folder for run in runs],
            self._starts,
            self._programs[device][1],
            self.display,
            self._notes,
            interrupts,
            tuple(rungs),
            functools.partial(self._rung, {run.name: run for run in runs}),
            self._progress,
        )

    def _train_alone(self, run):
        shown = chunks.MemberDisplay(run.name, None, self._notes)
        steps = run.experiment.steps
        self.display.stage(f"training {run.name}")
        try:
            single.run(run.experiment, run.folder, shown)
        except FloatingPointError as error:
            self.display.note(f"{run.name}: failed: {error}")
            chunks.write_status(run.folder, chunks.FAILED, steps, str(error))
        else:
            chunks.write_status(run.folder, chunks.FINISHED, steps)
        self._progress(steps, [run.name])

    def _rung(self, runs, step, names):
        """Returns which runs stop at a rung, {name: why}."""
        file = self.folder / "rungs.json"
        with SWEEP.opened(self.folder, lambda record: record, wait=True):
            reached = json.loads(file.read_text()) if file.is_file() else {}
            scores = reached.setdefault(str(step), {})
            for name in names:
                scores[name] = self._score(runs[name].folder)
            write_whole(file, json.dumps(reached) + "\n")
        best = sorted(scores.values(), reverse=self.sweep.goal == "max")
        kept = best[max(len(best) // self.sweep.stopping.factor, 1) - 1]
        worse = (
            (lambda x: x < kept) if self.sweep.goal == "max" else (lambda x: x > kept)
        )
        return {
            name: f"{self.sweep.metric} {scores[name]:.4g} after {step} steps, where "
            f"the best 1/{self.sweep.stopping.factor} of {len(best)} runs have "
            f"{kept:.4g}"
            for name in names
            if worse(scores[name])
        }

    def _score(self, folder):
        """Returns what a run has come to, the worst if it measured nothing finite."""
        run = table.RunOfSweep(0, "", {}, 0, folder, "", "")
        _, values = run.curve(self.sweep.metric)
        if values and math.isfinite(values[-1]):
            return values[-1]
        return -math.inf if self.sweep.goal == "max" else math.inf

    def _propose(self):
        """Has the study propose trials. Returns whether there are any more to train."""
        asked = self.sweep.trials
        with SWEEP.opened(self.folder, lambda record: record, wait=True):
            new = search.propose(asked, self._study, asked.batch)
        if new:
            self.groups = self._grouped(self._of_study())
            self._say()
        return bool(new)

    def _of_study(self):
        """Returns the trials of the study, those that are alike once; records them."""
        settings, seen, unlike = (
            search.settings_in_study(self.sweep.trials, self._study),
            {},
            [],
        )
        self._same = {}  # {number in the study: that of the trial it repeats}
        for number, each in enumerate(settings):
            key = json.dumps(
                {name: serialization.to_json(value) for name, value in each.items()}
            )
            if key in seen:
                self._same[number] = seen[key]
            else:
                seen[key] = number
                unlike.append((number, each))
        trials = trials_of(self.sweep.experiment, [each for _, each in unlike])
        self._number_in_study = {}
        with SWEEP.opened(self.folder, functools.partial(self._settle, trials), True):
            for (number, _), trial in zip(unlike, trials, strict=True):
                self._number_in_study[trial.number] = number
        return trials

    def _tell(self):
        """Tells the study what the trials that ended have come to."""
        if self._study is None:
            return
        found = {}
        for group in self.groups:
            for run in group.runs:
                trial = int(run.name.partition("/")[0])
                found.setdefault(self._number_in_study[trial], []).append(run)
        for number, runs in found.items():
            how = [ended(run) for run in runs]
            if None in how:
                continue
            scores = [self._score(run.folder) for run in runs]
            failed = any(each["status"] == chunks.FAILED for each in how)
            score = sum(scores) / len(scores)
            score = None if failed or not math.isfinite(score) else score
            for same in [number, *(s for s, of in self._same.items() if of == number)]:
                search.tell(self._study, same, score)

    @property
    def _runs(self):
        return [run for group in self.groups for run in group.runs]

    def _say(self):
        """Says what is left, and starts the count of steps."""
        runs = self._runs
        left = [run for run in runs if not ended(run)]
        each = self.sweep.experiment.steps
        self._done = each * (len(runs) - len(left))
        self.display.note(
            f"{len(runs)} runs in {self.folder}, {len(left)} of them to train; "
            f"{len(self.groups)} group(s) of runs that train together"
        )
        self.display.begin("steps of runs", self._done, each * len(runs))

    def _progress(self, step, names):
        """Shows how far the sweep is."""
        of_each = self.sweep.experiment.steps
        alone = {run.name for group in self.groups if group.alone for run in group.runs}
        shown = {}
        # What is read of all runs is read where it is new.
        measured = step % self.sweep.experiment.validation.every == 0
        if measured and self.sweep.metric == "validation/accuracy":
            scores = [self._score(folder) for folder in self._folders(names)]
            finite = sorted(score for score in scores if math.isfinite(score))
            if finite:
                shown["accuracy"] = finite[len(finite) // 2]
        total = of_each * len(self._runs)
        with self._lock:
            self._done += sum(of_each if name in alone else 1 for name in names)
            self.display.step(min(self._done, total), shown)

    def _folders(self, names):
        by_name = {run.name: run.folder for run in self._runs}
        return [by_name[name] for name in names]

    def _show(self):
        """Shows the table of what the trials have come to."""
        self.display.console.print(progress_table(self.sweep, self._runs))


def in_threads(work, devices):
    """Calls a function of each of several devices, in threads, and waits for all.

    Raises:
        Exception: what the first of them raised.
    """
    with concurrent.futures.ThreadPoolExecutor(len(devices)) as pool:
        futures = [pool.submit(work, device) for device in devices]
    for future in futures:
        future.result()


def progress_table(sweep, runs):
    """Returns a table of the trials: how many runs have ended, and how."""
    shown = rich.table.Table(title=sweep.metric)
    for name in ("trial", "setting", "ended", "mean", "least", "most", "remarks"):
        shown.add_column(name, justify="left" if name in ("setting",) else "right")
    of_trial = {}
    for run in runs:
        of_trial.setdefault((run.name.partition("/")[0], run.label), []).append(run)
    for (number, label), own in of_trial.items():
        how = [ended(run) for run in own]
        scores = []
        for run, status in zip(own, how, strict=True):
            if status is not None and status["status"] != chunks.FAILED:
                one = table.RunOfSweep(0, "", {}, 0, run.folder, "", "")
                scores += one.curve(sweep.metric)[1][-1:]
        counts = {}
        for status in how:
            name = "to train" if status is None else status["status"]
            counts[name] = counts.get(name, 0) + 1
        remarks = ", ".join(
            f"{n} {name}" for name, n in counts.items() if name != chunks.FINISHED
        )
        numbers = ["", "", ""]
        if scores:
            numbers = [
                f"{x:.4g}"
                for x in (sum(scores) / len(scores), min(scores), max(scores))
            ]
        shown.add_row(
            number, label, f"{sum(map(bool, how))}/{len(own)}", *numbers, remarks
        )
    return shown


def _names_in(place):
    """Returns the runs of a chunk, or None where it was cut off before it began."""
    try:
        return json.loads((place / "chunk.json").read_text())["runs"]
    except (OSError, ValueError, KeyError):
        return None
