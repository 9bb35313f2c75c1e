"""`maspo figures`."""

import dataclasses
from typing import Annotated

import tyro

from maspo_jax.cli.console import command, status
from maspo_jax.storage import created, results_folder


@dataclasses.dataclass(frozen=True)
class Figures:
    """Draws the gates themselves, or the learning curves of runs.

    With the word `gates`, which needs no run: the analytic figures of the MASPO and
    DGPO papers, and the property table of the gates. A run folder of that name is
    ./gates.
    """

    runs: Annotated[
        tyro.conf.Positional[tuple[str, ...]],
        tyro.conf.arg(metavar="gates|RUN ...", help_behavior_hint="(one or more)"),
    ]
    """`gates`, or folders of runs"""
    out: Annotated[str, tyro.conf.arg(metavar="DIR")]
    """folder for the pictures"""

    def run(self):
        """Draws, and says where."""
        folder = results_folder(self.out)
        if not self.runs:
            raise ValueError("figures of what? give gates, or folders of runs")
        with status("loading JAX"):
            from maspo_jax.reports.figures.training_curves import draw_learning_curves
            from maspo_jax.runs import run_folder

        if self.runs == ("gates",):
            return draw_gates(folder)
        for run in self.runs:  # what is none is no fault of the folder
            run_folder.read_metrics(run)
        with created(folder):
            path = folder / "learning_curves.png"
            print(draw_learning_curves(self.runs, path))


def draw_gates(folder):
    """Draws every figure of the gates, and prints and writes the property table."""
    from maspo_jax.reports.figures import gates, style, tables

    with created(folder):
        for draw in gates.FIGURES:
            print(style.save(draw, folder), flush=True)
        table = tables.property_table()
        path = folder / "gate_properties.md"
        path.write_text(table, encoding="utf-8")
    print(path, table, sep="\n\n")


main = command(Figures)
