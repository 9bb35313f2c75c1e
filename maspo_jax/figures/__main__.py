"""Draws the curves of runs into one picture.

    python -m maspo_jax.figures RUN [RUN ...] --out DIR
"""

import argparse
import pathlib
import sys

from maspo_jax.figures.training_curves import draw_learning_curves


def main(words=None):
    """Runs the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m maspo_jax.figures", description=__doc__.splitlines()[0]
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of a run")
    parser.add_argument("--out", required=True, metavar="DIR", help="for the pictures")
    arguments = parser.parse_args(words)
    folder = pathlib.Path(arguments.out)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        print(draw_learning_curves(arguments.runs, folder / "learning_curves.png"))
    except (FileNotFoundError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
