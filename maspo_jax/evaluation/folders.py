"""An evaluation is a folder: its settings, a file of responses per benchmark, results.

| in the folder | |
|---|---|
| `evaluation.json` | policy, sampling and benchmarks, all that decides the scores |
| `NAME.jsonl` | every response to benchmark NAME, with its verdict |
| `NAME.txt` | the same for reading: a right and a wrong response to each problem |
| `results.json`, `results.md`, `results.png` | the scores |
"""

import contextlib
import json
import pathlib

import jax

from maspo_jax import config, parallel
from maspo_jax.training import runs

SETTINGS = "evaluation.json"


@contextlib.contextmanager
def opened(folder, settings):
    """Creates the folder of an evaluation, or returns to it, and keeps others out.

    Benchmarks may be added to a folder; whatever else it was begun with stays.

    Args:
        folder: where; created if it is not there.
        settings: plain data: `policy`, for the reader alone; `answers`, what decides
            how the policy answers; `benchmarks`, by name.

    Raises:
        ValueError: the folder holds another evaluation, or something else, or another
            process works in it. Nothing has been written then.
    """
    if "://" in str(folder):
        raise ValueError(
            f"{folder}: an evaluation is a folder of the file system; mount the bucket "
            "and give its path with --out"
        )
    with contextlib.ExitStack() as held:
        refusal = None
        if jax.process_index() == 0:
            try:
                refusal = _open(pathlib.Path(folder), settings, held)
            except (OSError, ValueError) as error:
                refusal = str(error)
        if parallel.largest(refusal is not None):
            raise ValueError(refusal or f"the first process refused {folder}")
        yield


def _open(folder, settings, held):
    """Makes a folder that of an evaluation. Returns why it cannot be, or None."""
    if folder.exists() and not folder.is_dir():
        return f"{folder} is no folder; give another one with --out"
    folder.mkdir(parents=True, exist_ok=True)
    if not runs.lock(folder, held):
        return (
            f"another process is working in {folder}: wait until it ends, or give "
            "another folder with --out"
        )
    file = folder / SETTINGS
    partial = file.with_suffix(".json.partial")
    if file.exists():
        before = read(folder)
        differences = _differences(settings, before)
        if differences:
            listed = "\n  ".join(differences)
            return (
                f"{folder} holds a different evaluation:\n  {listed}\n"
                "Put back what was changed, give this one another folder with --out, "
                "or remove that one."
            )
        benchmarks = before["benchmarks"] | settings["benchmarks"]
        settings = settings | {"benchmarks": benchmarks}
    elif set(folder.iterdir()) - {partial}:
        return (
            f"{folder} exists and holds no evaluation (it has no {SETTINGS}); give "
            "another folder with --out"
        )
    partial.write_text(json.dumps(settings, indent=2) + "\n")
    partial.rename(file)
    return None


def _differences(mine, theirs):
    """Returns a line for each setting that differs, but for benchmarks of one alone."""
    common = mine["benchmarks"].keys() & theirs["benchmarks"].keys()
    pick = lambda data: config.leaves(
        {
            **data["answers"],
            "benchmarks": {name: data["benchmarks"][name] for name in common},
        }
    )
    mine, theirs = pick(mine), pick(theirs)
    return [
        f"{name}: {theirs.get(name)!r} in the folder, {mine.get(name)!r} here"
        for name in [*mine, *(theirs.keys() - mine.keys())]
        if mine.get(name) != theirs.get(name)
    ]


def read(folder):
    """Returns the settings of an evaluation, as `opened` was given them."""
    file = pathlib.Path(folder) / SETTINGS
    if not file.is_file():
        raise FileNotFoundError(
            f"{folder} is not the folder of an evaluation: no {SETTINGS}"
        )
    try:
        return json.loads(file.read_text())
    except ValueError as error:
        raise ValueError(f"{file} is not JSON ({error}): restore it") from error
