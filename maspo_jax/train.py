"""Trains a policy.

    python -m maspo_jax.train EXPERIMENT.py [--a.b VALUE ...] [--run DIR] [--pod WHERE]

EXPERIMENT.py holds an `Experiment` named `experiment`; `--a.b VALUE` overrides a
leaf of it (`--help` after the file lists them). The run is the folder DIR, by
default `runs/` and the name of the file; if it holds this run already, it goes on.
WHERE is `auto` on a TPU pod, or HOST:PORT/INDEX/COUNT for other processes.
"""

import argparse
import contextlib
import signal
import sys
import threading
import time

SILENCE = 4.0  # seconds


def main(words=None):
    """Runs the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m maspo_jax.train", allow_abbrev=False, add_help=False
    )
    parser.add_argument("experiment", nargs="?")
    parser.add_argument("--run")
    parser.add_argument("--pod")
    arguments, overrides = parser.parse_known_args(words)
    if arguments.experiment is None:
        print(__doc__)
        return 0 if {"-h", "--help"} & set(overrides) else 2
    with signals_end_at_once():
        with said("loading JAX"):
            from maspo_jax import job  # which takes seconds

        return job.start(arguments.experiment, overrides, arguments.run, arguments.pod)


@contextlib.contextmanager
def said(what):
    """Says what is under way, again every few seconds."""
    done, begin = threading.Event(), time.monotonic()

    def repeat():
        while not done.wait(SILENCE):
            print(f"  ... {what} ({time.monotonic() - begin:.0f} s)", flush=True)

    print(what, flush=True)
    threading.Thread(target=repeat, daemon=True).start()
    try:
        yield
    finally:
        done.set()


@contextlib.contextmanager
def signals_end_at_once():
    """Lets Ctrl-C and SIGTERM end the process while there is nothing to save.

    The system does it, not Python: a `KeyboardInterrupt` would be lost where it
    happens to be raised in a callback of JAX, and would wait for compiled code.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
