"""Draws pictures: of the gates themselves, or the curves of runs.

    maspo figures gates --out DIR
    maspo figures RUN [RUN ...] --out DIR

`gates` needs no run: it draws the analytic figures of the MASPO and DGPO papers and
computes their property table. A run folder of that name is ./gates.
"""

import argparse
import sys

from maspo_jax.cli.console import fail
from maspo_jax.reports.figures import gate_curves, gate_maps, style, tables
from maspo_jax.reports.figures.training_curves import draw_learning_curves
from maspo_jax.storage import created, results_folder

GATES = (
    gate_curves.maspo,
    gate_curves.dgpo,
    gate_curves.weights,
    gate_curves.relative_weights,
    gate_maps.maspo_maps,
    gate_maps.dac_bounds,
    gate_maps.bapo_search,
    gate_maps.utilization,
)


def main(words=None):
    """Runs the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="maspo figures", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "runs", nargs="+", metavar="gates | RUN", help="the gates, or folders of runs"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="for the pictures")
    arguments = parser.parse_args(words)
    try:
        folder = results_folder(arguments.out)
        with created(folder):
            if arguments.runs == ["gates"]:
                draw_gates(folder)
            else:
                path = folder / "learning_curves.png"
                print(draw_learning_curves(arguments.runs, path))
    except ValueError as error:
        return fail(error)
    return 0


def draw_gates(folder):
    """Draws every figure of the gates, and prints and writes the property table."""
    for draw in GATES:
        print(style.save(draw, folder))
    table = tables.property_table()
    path = folder / "gate_properties.md"
    path.write_text(table, encoding="utf-8")
    print(path, table, sep="\n\n")


if __name__ == "__main__":
    sys.exit(main())
