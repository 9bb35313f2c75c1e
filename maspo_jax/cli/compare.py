"""`maspo compare`."""

import dataclasses
import json
import pathlib
from typing import Annotated

import tyro

from maspo_jax.cli.console import command, status
from maspo_jax.refusals import Refusals
from maspo_jax.storage import check_folder, created, results_folder


@dataclasses.dataclass(frozen=True)
class Compare:
    """Compares two evaluations of the same problems: which differences are real.

    For each benchmark and for their average: the difference with its 95% interval, the
    p-value of a paired permutation test, with Holm's correction over benchmarks, and
    the smallest difference that the data could have shown.
    """

    mine: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR_A")]
    """folder of an evaluation, as `maspo evaluate` wrote it"""
    theirs: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR_B")]
    """folder of another one, of the same benchmarks"""
    out: Annotated[
        str | None,
        tyro.conf.arg(
            metavar="DIR", help_behavior_hint="(default: comparisons/DIR_A-DIR_B)"
        ),
    ] = None
    """folder for the tables and the picture"""

    def run(self):
        """Compares, and writes the tables and the picture."""
        names = self.mine, self.theirs
        places = [pathlib.Path(name).resolve() for name in names]
        usual = "-".join(place.name for place in places)
        folder = results_folder(self.out or pathlib.Path("comparisons", usual))
        with Refusals() as refusals:
            for name in names:
                with refusals.of():
                    check_folder(name, "an evaluation")
        if places[0] == places[1]:
            print(f"warning: A and B are one folder, {names[0]}: nothing can differ")
        with status("loading JAX"):
            from maspo_jax.evaluation.compare_folders import compare_folders
            from maspo_jax.reports.figures.evaluations import draw_comparison
            from maspo_jax.reports.tables import comparison_markdown

        compared = compare_folders(*names)
        tables = comparison_markdown(names, compared)
        print(tables)
        with created(folder):
            data = json.dumps(compared, indent=2) + "\n"
            (folder / "comparison.json").write_text(data)
            (folder / "comparison.md").write_text(tables, encoding="utf-8")
            picture = draw_comparison(names, compared, folder / "comparison.png")
        print(f"The picture is {picture}; the tables are in {folder}/comparison.md")


main = command(Compare)
