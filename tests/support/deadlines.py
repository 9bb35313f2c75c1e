"""A limit for what must not hang."""

import contextlib
import signal


@contextlib.contextmanager
def cpu_deadline(seconds=20):
    """Fails a test whose body hangs.

    Args:
        seconds: of this process, not of the clock on the wall, and a hundred times
            what the body takes: this finds what grows with the square of a text, and
            says nothing of speed.
    """

    def fail(number, frame):
        raise AssertionError(f"still going on after {seconds} seconds of the CPU")

    before = signal.signal(signal.SIGPROF, fail)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
