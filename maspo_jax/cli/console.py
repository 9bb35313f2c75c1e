"""What every command says and does at its door. Loads nothing that takes time."""

import contextlib
import functools
import logging
import signal
import sys
import threading
import time

from maspo_jax import arguments

SILENCE = 4.0  # seconds


@contextlib.contextmanager
def status(what):
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


def fail(error, status=2):
    """Says why there is nothing to do. Returns the exit status."""
    print(f"error: {error}", file=sys.stderr)
    return status


def command(kind):
    """Returns the function that runs a subcommand from words, or those of the shell.

    Args:
        kind: a dataclass that `arguments.parse` reads. It may have a class method
            `parse(words)` of its own; `run()` does the work and may return the exit
            status.
    """

    def main(words=None):
        """Runs the subcommand. Returns the exit status."""
        prog = f"maspo {kind.__name__.lower()}"
        usual = functools.partial(arguments.parse, kind, prog=prog)
        words = sys.argv[1:] if words is None else words
        # Before a library sets its own format, with the names of modules in it.
        logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
        try:
            with signals_end_at_once():
                options = getattr(kind, "parse", usual)(words)
                return options.run() or 0
        except FloatingPointError as error:
            return fail(error, status=1)
        except (ValueError, OSError) as error:
            return fail(error)

    return main
