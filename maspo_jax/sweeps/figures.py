"""The pictures of the folder of a sweep or a race."""

import json
import math
import pathlib

from maspo_jax.reports.figures import sweeps as drawing
from maspo_jax.sweeps import table
from maspo_jax.sweeps.chunk import FAILED
from maspo_jax.sweeps.race import RACE
from maspo_jax.sweeps.table import NOT_YET, SWEEP


def kind_of(folder):
    """Returns "sweep" or "race" for the folder of one, else None."""
    kinds = {"sweep": SWEEP, "race": RACE}
    found = [n for n, k in kinds.items() if pathlib.Path(folder, k.record).is_file()]
    return found[0] if found else None


def draw(folder, out):
    """Draws all that there is to draw of a sweep or a race.

    Args:
        folder: of it.
        out: where to.

    Returns:
        The paths of the pictures.

    Raises:
        ValueError: nothing has been measured yet.
    """
    if kind_of(folder) == "race":
        return draw_race(folder, out)
    return draw_sweep(folder, out)


def draw_race(folder, out):
    """Draws the verdict of a race, and the sweep of its stage 2."""
    folder, out = pathlib.Path(folder), pathlib.Path(out)
    file = folder / "verdict.json"
    if not file.is_file():
        raise ValueError(
            f"{folder} has no verdict yet: `maspo sweep` goes on with it; give its "
            f"{folder / 'tuning'} to see what was measured so far"
        )
    verdict = json.loads(file.read_text())
    scores = {n: [*m["scores"].values()] for n, m in verdict["methods"].items()}
    metric = verdict["metric"]
    return [
        drawing.draw_improvement(verdict, out / "improvement.png"),
        drawing.draw_profiles(scores, metric, out / "profiles.png"),
        *draw_sweep(folder / "final", out, verdict["seeds"]),
    ]


def draw_sweep(folder, out, seeds=None):
    """Draws the curves of a sweep, and maps of every two settings that are numbers.

    Args:
        folder: of the sweep.
        out: where to.
        seeds: which; None for all.
    """
    folder, out = pathlib.Path(folder), pathlib.Path(out)
    metric = SWEEP.read(folder)["metric"]
    runs = [run for run in table.runs_of(folder) if seeds is None or run.seed in seeds]
    curves, rows = {}, []
    for run in runs:
        steps, values = run.curve(metric)
        if not steps:
            continue
        curves.setdefault(run.label, []).append((steps, values))
        score = math.nan if run.status == FAILED else values[-1]
        if run.status != NOT_YET:
            rows.append({**run.settings, "seed": run.seed, "score": score})
    if not curves:
        raise ValueError(f"{folder}: no run has measured {metric} yet")
    drawn = [drawing.draw_curves(curves, metric, out / "curves.png")]
    names = _varied(runs)
    if len(names) > 1 and any(not math.isnan(row["score"]) for row in rows):
        path = out / "sensitivity.png"
        drawn.append(drawing.draw_sensitivity(rows, names, metric, path))
    return drawn


def _varied(runs):
    """Returns the settings that are numbers and not the same in all runs.

    Of several that are always equal, such as beta of both signs, the first.
    """
    found = {}
    for name in dict.fromkeys(name for run in runs for name in run.settings):
        values = tuple(run.settings.get(name) for run in runs)
        numbers = all(type(value) in (int, float) for value in values)
        if numbers and len({*values}) > 1:
            found.setdefault(values, name)
    return [*found.values()]
