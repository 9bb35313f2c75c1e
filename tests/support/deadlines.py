"""A limit for what must not hang."""

import contextlib
import signal

import pytest


@contextlib.contextmanager
def cpu_deadline(seconds=20):
    """Fails a test whose body goes on for so long, in seconds of this process's CPU.

    Far more than the body takes: it finds what never ends, and says nothing of speed.
    """

    def fail(number, frame):
        # No `Exception`, which the code under test may take for its own.
        pytest.fail(f"still going on after {seconds} seconds of the CPU")

    before = signal.signal(signal.SIGPROF, fail)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
