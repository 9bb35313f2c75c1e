"""What every command says and does at its door. Loads nothing that takes time."""

import contextlib
import ctypes
import functools
import logging
import os
import signal
import sys
import threading
import time
import traceback

SILENCE = 4.0  # seconds, which double with every line, so that a log is not filled
LONGEST_SILENCE = 60.0


@contextlib.contextmanager
def status(what):
    """Says what is under way, again every few seconds, then less often."""
    done, begin = threading.Event(), time.monotonic()

    def repeat():
        silence = SILENCE
        while not done.wait(silence):
            print(f"  ... {what} ({time.monotonic() - begin:.0f} s)", flush=True)
            silence = min(2 * silence, LONGEST_SILENCE)

    print(what, flush=True)
    threading.Thread(target=repeat, daemon=True).start()
    try:
        yield
    finally:
        done.set()


@contextlib.contextmanager
def signals_end_at_once():
    """Lets Ctrl-C and SIGTERM end the process, in a line, while nothing is to be saved.

    A thread does it: a `KeyboardInterrupt` would be lost where it happens to be raised
    in a callback of JAX, would wait for compiled code, and would end in pages of text.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    noted = lambda number, frame: None  # the system has written its number already
    before = {
        number: signal.signal(number, noted)
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    woken = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    watch = threading.Thread(target=_watch, args=(reading, noted), daemon=True)
    watch.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(woken)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(writing)
        watch.join()
        os.close(reading)


def _watch(reading, noted):
    """Ends the process by the first signal that nobody else has asked to handle."""
    while received := os.read(reading, 1):
        number = received[0]
        if signal.getsignal(number) is noted:
            name = signal.Signals(number).name
            os.write(2, f"{chr(10) * os.isatty(2)}stopped by {name}\n".encode())
            # Python sets handlers in its main thread only, which may be at work.
            ctypes.CDLL(None).signal(number, signal.SIG_DFL.value)
            os.kill(os.getpid(), number)


def fail(error, status=2):
    """Says why there is nothing to do. Returns the exit status."""
    print(f"error: {error}", file=sys.stderr, flush=True)
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
        from maspo_jax import arguments  # it takes a tenth of a second

        prog = f"maspo {kind.__name__.lower()}"
        usual = functools.partial(arguments.parse, kind, prog=prog)
        words = sys.argv[1:] if words is None else words
        # Before a library sets its own format, with the names of modules in it.
        logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
        try:
            options = getattr(kind, "parse", usual)(words)
            return options.run() or 0
        except FloatingPointError as error:
            status = fail(error, status=1)
        except (ValueError, OSError) as error:
            status = fail(error)
        except Exception as error:
            status = fail_on_devices(error)
        leave_pod(status)
        return status

    return main


def fail_on_devices(error):
    """Says that devices have too little memory, or what `fail_in_pod` says.

    Returns:
        The exit status.

    Raises:
        Exception: the error, if it is another one and this process is on its own.
    """
    # By its name, for JAX may not be loaded.
    at_runtime = type(error).__name__ == "JaxRuntimeError"
    if not (at_runtime and "RESOURCE_EXHAUSTED" in str(error)):
        return fail_in_pod(error)
    return fail(
        f"a device has too little memory: {str(error).strip().splitlines()[0]}; draw "
        "fewer at a time (train: --sampling.slots, --sampling.wave, evaluate: "
        "--batch), update on fewer tokens (--updates.microbatch-tokens), or share the "
        "policy between more devices (--fsdp, --tensor); `maspo plan` says what fits"
    )


def fail_in_pod(error):
    """Says what has ended this process of a pod, where no user could have meant it.

    Returns:
        The exit status.

    Raises:
        Exception: the error, if this process is on its own.
    """
    if not in_pod():
        raise error
    from maspo_jax import distributed

    if distributed.lost_peer(error):
        return fail("another process of this pod has ended; see what it says")
    traceback.print_exception(error)
    return 1


def leave_pod(status):
    """Ends this process if others of its pod wait for it."""
    if in_pod():
        from maspo_jax import distributed

        distributed.leave(status)


def in_pod():
    """Returns whether this process has joined a pod. Does not load JAX for it."""
    return "jax" in sys.modules and sys.modules["jax"].distributed.is_initialized()
