"""An evaluation is a folder: its settings, a file of responses per benchmark, results.

| in the folder | |
|---|---|
| `evaluation.json` | policy, sampling and benchmarks, all that decides the scores |
| `NAME.jsonl` | every response to benchmark NAME, with its verdict |
| `NAME.txt` | the same for reading: a right and a wrong response to each problem |
| `results.json`, `results.md`, `results.png` | the scores |
"""

import contextlib

from maspo_jax.config import serialization
from maspo_jax.runs.folder import Kind

_MARKS = {"policy": str, "answers": dict, "benchmarks": dict}
EVALUATION = Kind("evaluation", "evaluation.json", "--out", _MARKS)


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

    def settle(before):
        if before is None:
            return settings
        before = serialization.upgraded(before)
        EVALUATION.refuse(folder, _differences(settings, before))
        benchmarks = before["benchmarks"] | settings["benchmarks"]
        return settings | {"benchmarks": benchmarks}

    with EVALUATION.opened(folder, settle):
        yield


def _differences(mine, theirs):
    """Returns a line for each setting that differs, but for benchmarks of one alone."""
    common = mine["benchmarks"].keys() & theirs["benchmarks"].keys()
    pick = lambda data: serialization.leaves(
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


def read_settings(folder):
    """Returns the settings of an evaluation, as `opened` was given them."""
    return EVALUATION.read(folder)
