"""`maspo figures`."""

import dataclasses
import pathlib
from typing import Annotated

import tyro

from maspo_jax.cli.console import command, status
from maspo_jax.refusals import Refusals
from maspo_jax.storage import check_folder, created, results_folder


@dataclasses.dataclass(frozen=True)
class Figures:
    """Draws the gates themselves, the learning curves of runs, a sweep or a race.

    With the word `gates`, which needs no run: the analytic figures of the MASPO and
    DGPO papers, and the property table of the gates. A run folder of that name is
    ./gates. Of the folder of a `maspo sweep`: curves of all seeds, maps of every two
    settings, and of a race the probability that one method beats another.
    """

    runs: Annotated[
        tyro.conf.Positional[tuple[str, ...]],
        tyro.conf.arg(
            metavar="gates|RUN ...|SWEEP", help_behavior_hint="(one or more)"
        ),
    ]
    """`gates`, or folders of runs, or of their folders, or the folder of a sweep"""
    out: Annotated[str, tyro.conf.arg(metavar="DIR")]
    """folder for the pictures"""

    def run(self):
        """Draws, and says where."""
        folder = results_folder(self.out)
        if not self.runs:
            raise ValueError("figures of what? give gates, or folders of runs")
        if self.runs == ("gates",):
            return draw_gates(folder)
        if any(map(is_sweep, self.runs)):
            if len(self.runs) > 1:
                raise ValueError(
                    f"{len(self.runs)} folders, one of them of a sweep: give it alone; "
                    "its runs are in the folders under its trials/"
                )
            return draw_sweep(self.runs[0], folder)
        runs = found(self.runs)
        with status("loading JAX"):
            from maspo_jax.reports.figures.training_curves import draw_learning_curves

        with status(f"drawing {len(runs)} runs"), created(folder):
            print(draw_learning_curves(runs, folder / "learning_curves.png"))


def is_sweep(name):
    """Returns whether a folder is that of a sweep or a race."""
    return any(
        pathlib.Path(name, record).is_file() for record in ("sweep.json", "race.json")
    )


def draw_sweep(name, folder):
    """Draws every figure of a sweep or a race."""
    with status("loading JAX"):
        from maspo_jax.sweeps import figures

    with status("drawing"), created(folder):
        for path in figures.draw(name, folder):
            print(path)


def found(names):
    """Returns the folders of runs that are named, and of those in folders of runs.

    Each is there once; one that is named again is said.

    Raises:
        ValueError, OSError: some are none, and no folder of runs either.
    """
    runs = []
    with Refusals() as refusals:
        for name in names:
            with refusals.of():
                check_folder(name, "a run")
                inside = sorted(pathlib.Path(name).glob("*/metrics.jsonl"))
                if pathlib.Path(name, "metrics.jsonl").is_file():
                    runs.append(name)
                elif inside:
                    print(f"{name}: {len(inside)} runs")
                    runs += [str(file.parent) for file in inside]
                else:
                    raise FileNotFoundError(
                        f"{name} has no metrics.jsonl: nothing was run there, nor in "
                        "a folder of it; give a run, or a folder of runs"
                    )
        for run in runs:
            with refusals.of():
                if not pathlib.Path(run, "metrics.jsonl").stat().st_size:
                    raise ValueError(
                        f"{run}/metrics.jsonl is empty: nothing was measured yet, or "
                        "it was emptied; leave this run out"
                    )
    once = {}
    for run in runs:
        place = pathlib.Path(run).resolve()
        if place in once:
            print(f"warning: {run} is named already, as {once[place]}: drawn once")
        once.setdefault(place, run)
    return [*once.values()]


def draw_gates(folder):
    """Draws every figure of the gates, and prints and writes the property table."""
    with status("loading JAX"):
        from maspo_jax.reports.figures import gates, style, tables

    with created(folder):
        for number, draw in enumerate(gates.FIGURES, start=1):
            with status(f"drawing {draw.__name__}, {number} of {len(gates.FIGURES)}"):
                path = style.save(draw, folder)
            print(path, flush=True)
        with status("computing the properties of the gates"):
            table = tables.property_table()
        path = folder / "gate_properties.md"
        path.write_text(table, encoding="utf-8")
    print(path, table, sep="\n\n")


main = command(Figures)
