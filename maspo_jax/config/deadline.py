"""A call that has to end in time, in the thread that a run will make it in."""

import contextlib
import signal
import threading
import time

# Two that nobody uses: SIGALRM is left to whoever is called. The first comes from a
# thread, the second from the system, also where something holds the lock of threads.
_SIGNALS = ("SIGURG", "SIGVTALRM")


class _Late(BaseException):
    """Raised within what takes too long; nobody's `except Exception` stops it."""


def within(seconds, function):
    """Calls a function, or raises TimeoutError if it takes longer.

    It is called here, as whoever sets an alarm needs the main thread: a signal ends
    what takes too long. In another thread, and where there is no such signal, it is
    called in one of its own, which is left behind then. What is neither written in
    Python nor looks for signals cannot be ended.

    Args:
        seconds: that it may take.
        function: without arguments; what it raises is raised.
    """
    here = threading.current_thread() is threading.main_thread()
    if here and all(hasattr(signal, name) for name in _SIGNALS):
        late = _called_here(seconds, function)
    else:
        late = _called_aside(seconds, function)
    if late:
        raise TimeoutError(f"it takes more than {seconds:g} s for one response")


def _called_here(seconds, function):
    """Calls a function. Returns whether it took too long."""
    ended, end, late = threading.Event(), time.monotonic() + seconds, True
    main = threading.get_ident()

    def watch():
        while not ended.wait(seconds):  # again, if it goes on all the same
            signal.pthread_kill(main, signal.SIGURG)

    def interrupt(number, frame):
        if not ended.is_set() and time.monotonic() > end:
            raise _Late

    watcher = threading.Thread(target=watch, daemon=True)
    before = {name: signal.getsignal(getattr(signal, name)) for name in _SIGNALS}
    try:
        for name in _SIGNALS:
            signal.signal(getattr(signal, name), interrupt)
        watcher.start()
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds, seconds)
        with contextlib.suppress(_Late):
            try:
                function()
            finally:
                late = time.monotonic() > end
                ended.set()
    finally:
        ended.set()
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        watcher.join()
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler or signal.SIG_DFL)
    return late


def _called_aside(seconds, function):
    """Calls a function in another thread. Returns whether it took too long."""
    raised = []

    def call():
        try:
            function()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=call, daemon=True)  # it may never end
    thread.start()
    thread.join(seconds)
    for error in raised:
        raise error
    return thread.is_alive()
