"""What the runs of a sweep measured, in one table, and as other programs read it."""

import dataclasses
import json
import math
import pathlib

import pyarrow
import pyarrow.csv
import pyarrow.parquet

from maspo_jax.runs import run_folder
from maspo_jax.runs.folder import Kind
from maspo_jax.storage import write_whole, writing
from maspo_jax.sweeps.chunk import FINISHED, status_of

SWEEP = Kind("sweep", "sweep.json", "--run", {"experiment": dict, "trials": list})
NOT_YET = "not finished"


@dataclasses.dataclass(frozen=True)
class RunOfSweep:
    """A run in the folder of a sweep."""

    trial: int
    label: str
    settings: dict  # {dotted name: value}, as plain data
    seed: int
    folder: pathlib.Path
    status: str
    why: str

    def curve(self, metric):
        """Returns the steps at which a metric was measured, and its values: two lists.

        Args:
            metric: "validation/NAME", or the name of one that is measured of steps.
        """
        stage, name = stage_of(metric)
        if not (self.folder / run_folder.FILE).is_file():
            return [], []
        lines = run_folder.read_metrics(self.folder, stage)
        lines = [line for line in lines if name in line]
        return [line["step"] for line in lines], [line[name] for line in lines]


def stage_of(metric):
    """Returns the stage of `metrics.jsonl` that a metric is of, and its name there."""
    stage, slash, name = metric.partition("/")
    if slash and stage == "validation":
        return stage, name
    return "reinforcement", metric


def folder_of(folder, trial, seed):
    """Returns the folder of a run of a sweep."""
    return pathlib.Path(folder, "trials", f"{trial:04d}", f"seed_{seed}")


def runs_of(folder):
    """Returns the `RunOfSweep`s of a folder that have begun, by trial and seed.

    Raises:
        FileNotFoundError, ValueError: it is not the folder of a sweep.
    """
    found = []
    for trial in SWEEP.read(folder)["trials"]:
        inside = pathlib.Path(folder, "trials", f"{trial['number']:04d}")
        seeds = {int(path.name[5:]): path for path in inside.glob("seed_*")}
        for seed in sorted(seeds):
            ended = status_of(seeds[seed]) or {"status": NOT_YET, "why": ""}
            found.append(
                RunOfSweep(
                    trial["number"],
                    trial["label"],
                    trial["settings"],
                    seed,
                    seeds[seed],
                    ended["status"],
                    ended["why"],
                )
            )
    return found


def rows_of(folder):
    """Returns the table: a dict for each run and each step at which it was measured.

    Its columns are `trial`, `label`, `seed`, `status`, `step`, the settings that the
    sweep changes, the metrics of steps by their names, and those of validation as
    `validation/NAME`.
    """
    rows = []
    for run in runs_of(folder):
        measured = {}
        if not (run.folder / run_folder.FILE).is_file():
            continue
        for line in run_folder.read_metrics(run.folder):
            stage, step = line.pop("stage"), line.pop("step")
            prefix = {"reinforcement": "", "validation": "validation/"}.get(stage)
            if prefix is not None:
                numbers = {f"{prefix}{name}": line[name] for name in line}
                measured.setdefault(step, {}).update(numbers)
        about = {"trial": run.trial, "label": run.label, "seed": run.seed}
        about["status"] = run.status
        settings = {name: _cell(value) for name, value in run.settings.items()}
        for step in sorted(measured):
            rows.append(about | {"step": step} | settings | measured[step])
    return rows


def write(folder, metric):
    """Writes `table.parquet`, `table.csv` and `marl_eval.json` of a sweep.

    The last one is the layout that marl-eval reads, and rliable with its help:
    {environment: {task: {algorithm: {seed: {step: {metric: [value]}}}}}}.

    Args:
        folder: of the sweep.
        metric: what a run is judged by.

    Returns:
        The paths.
    """
    folder, rows = pathlib.Path(folder), rows_of(folder)
    names = [*dict.fromkeys(name for row in rows for name in row)]
    columns = {name: _column([row.get(name) for row in rows]) for name in names}
    table = pyarrow.table(columns)
    files = [folder / "table.parquet", folder / "table.csv", folder / "marl_eval.json"]
    with writing(files[0]):
        pyarrow.parquet.write_table(table, f"{files[0]}.partial")
        pathlib.Path(f"{files[0]}.partial").rename(files[0])
    with writing(files[1]):
        pyarrow.csv.write_csv(table, f"{files[1]}.partial")
        pathlib.Path(f"{files[1]}.partial").rename(files[1])
    write_whole(files[2], json.dumps(marl_eval(folder, metric)) + "\n")
    return files


def marl_eval(folder, metric):
    """Returns the finished runs of a sweep in the layout of marl-eval."""
    algorithms = {}
    for run in runs_of(folder):
        steps, values = run.curve(metric)
        if run.status != FINISHED or not steps:
            continue
        of_seed = {
            f"step_{place}": {"step_count": step, metric: [value]}
            for place, (step, value) in enumerate(zip(steps, values, strict=True))
        }
        of_seed["absolute_metrics"] = {metric: [values[-1]]}
        algorithms.setdefault(run.label, {})[f"seed_{run.seed}"] = of_seed
    return {"maspo_jax": {pathlib.Path(folder).resolve().name: algorithms}}


def _cell(value):
    """Returns a setting as one number or text."""
    if isinstance(value, dict | list):
        return json.dumps(value)
    return value


def _column(values):
    """Returns values of one kind: numbers, or else texts."""
    there = [value for value in values if value is not None]
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in there):
        if any(isinstance(value, float) for value in there):
            return [math.nan if value is None else float(value) for value in values]
        return values
    return [None if value is None else str(value) for value in values]
