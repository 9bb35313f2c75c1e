"""Compares two evaluations, problem by problem: which differences are real.

    maspo compare DIR_A DIR_B [--out DIR]

DIR_A and DIR_B were written by `maspo evaluate`.
"""

import argparse
import json
import sys

from maspo_jax.cli.console import fail, signals_end_at_once, status
from maspo_jax.storage import created, results_folder


def main(words=None):
    """Runs the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="maspo compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("mine", metavar="DIR_A", help="an evaluation")
    add("theirs", metavar="DIR_B", help="another of the same benchmarks")
    add("--out", default="comparison", metavar="DIR", help="for results (comparison)")
    arguments = parser.parse_args(words)
    with signals_end_at_once():
        try:
            folder = results_folder(arguments.out)
        except ValueError as error:
            return fail(error)
        with status("loading JAX"):
            from maspo_jax.evaluation.compare_folders import compare_folders
            from maspo_jax.reports.figures.evaluations import draw_comparison
            from maspo_jax.reports.tables import comparison_markdown

        names = arguments.mine, arguments.theirs
        try:
            compared = compare_folders(*names)
            tables = comparison_markdown(names, compared)
            print(tables)
            with created(folder):
                data = json.dumps(compared, indent=2) + "\n"
                (folder / "comparison.json").write_text(data)
                (folder / "comparison.md").write_text(tables, encoding="utf-8")
                picture = draw_comparison(names, compared, folder / "comparison.png")
            print(f"The picture is {picture}; the tables are in {folder}/comparison.md")
        except (ValueError, OSError) as error:
            return fail(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
