"""Trains a policy.

    maspo train EXPERIMENT.py [--a.b VALUE ...] [--run DIR] [--pod WHERE]

EXPERIMENT.py holds an `Experiment` named `experiment`; `--a.b VALUE` overrides a
leaf of it (`--help` after the file lists them). The run is the folder DIR, by
default `runs/` and the name of the file; if it holds this run already, it goes on.
WHERE is `auto` on a TPU pod, or HOST:PORT/INDEX/COUNT for other processes.
"""

import argparse
import sys

from maspo_jax.cli.console import signals_end_at_once, status


def main(words=None):
    """Runs the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="maspo train", allow_abbrev=False, add_help=False
    )
    parser.add_argument("experiment", nargs="?")
    parser.add_argument("--run")
    parser.add_argument("--pod")
    arguments, overrides = parser.parse_known_args(words)
    if arguments.experiment is None:
        print(__doc__)
        return 0 if {"-h", "--help"} & set(overrides) else 2
    with signals_end_at_once():
        with status("loading JAX"):
            from maspo_jax.cli import train_job

        return train_job.start(
            arguments.experiment, overrides, arguments.run, arguments.pod
        )


if __name__ == "__main__":
    sys.exit(main())
