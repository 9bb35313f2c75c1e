"""What every command does at its door. Loads nothing that takes time."""

import contextlib
import pathlib
import signal
import sys
import threading
import time

SILENCE = 4.0  # seconds


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


def check_new(folder):
    """Refuses a place for a new folder where something is already.

    Raises:
        ValueError: it holds something, or is a file.
    """
    folder = pathlib.Path(folder)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        what = "is not empty" if folder.is_dir() else "is no folder"
        raise ValueError(f"{folder} {what}; give a new folder")


def refuse(error, status=2):
    """Says why there is nothing to do. Returns the exit status."""
    print(f"error: {error}", file=sys.stderr)
    return status
