"""What every command says and does at its door. Loads nothing that takes time."""

import contextlib
import signal
import sys
import threading
import time

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
