"""`maspo compare`."""

import dataclasses
import json
import pathlib
from typing import Annotated

import tyro

from maspo_jax.cli.console import command, status
from maspo_jax.refusals import Refusals
from maspo_jax.storage import check_folder, created, read_json_object, results_folder

RECORD = "comparison.json"


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
            with refusals.of():
                check_same(folder, places)
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
            data = json.dumps(record_of(places) | compared, indent=2) + "\n"
            (folder / RECORD).write_text(data)
            (folder / "comparison.md").write_text(tables, encoding="utf-8")
            picture = draw_comparison(names, compared, folder / "comparison.png")
        print(f"The picture is {picture}; the tables are in {folder}/comparison.md")


def record_of(places):
    """Returns what a comparison says of itself: the folders of both evaluations."""
    return {"evaluations": [str(place) for place in places]}


def check_same(folder, places):
    """Refuses a folder for results that holds another comparison.

    Args:
        folder: of the results.
        places: of both evaluations, absolute.

    Raises:
        ValueError: it does, or one that does not say of what.
    """
    if not (folder / RECORD).is_file():
        return
    held, wanted = read_json_object(folder / RECORD), record_of(places)
    if {name: held.get(name) for name in wanted} != wanted:
        of = held.get("evaluations") or ["evaluations that it does not name"]
        raise ValueError(
            f"{folder} holds the comparison of {' and '.join(map(str, of))}, not of "
            f"{' and '.join(map(str, places))}: give another folder with --out"
        )


main = command(Compare)
