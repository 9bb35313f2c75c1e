"""What every command does at its door. Loads nothing that takes time."""

import contextlib
import dataclasses
import operator
import os
import pathlib
import signal
import sys
import threading
import time
import types

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


def overridden(default, words, prog):
    """Returns a dataclass with leaves changed as words of a command line say.

    Args:
        default: the dataclass. A field typed `Any` holds one of several: the command
            line offers the settings of the one it holds. Functions stay as they are.
        words: for example ["--objective.gate.alpha", "0.5"]; an unknown name ends the
            program with the closest known one, and `--help` with a page of all.
        prog: the command before the words.
    """
    import tyro  # which takes a moment

    changed = tyro.cli(
        type(default),
        default=_with_functions(default, _Named),
        args=list(words),
        prog=prog,
        config=(tyro.conf.AvoidSubcommands,),
    )
    return _with_functions(changed, lambda named: getattr(named, "function", named))


class _Named:
    """A function that is shown by its name, not its address, where help is printed."""

    def __init__(self, function):
        self.function = function

    def __call__(self, *arguments):
        return self.function(*arguments)

    def __str__(self):
        return f"{self.function.__module__}.{self.function.__qualname__}"


def _with_functions(part, change):
    """Returns a part of an experiment with every function in it changed."""
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        old = {field.name: getattr(part, field.name) for field in _fields(part)}
        new = {name: _with_functions(value, change) for name, value in old.items()}
        new = {name: value for name, value in new.items() if value is not old[name]}
        return dataclasses.replace(part, **new) if new else part
    if type(part) is tuple:
        new = tuple(_with_functions(item, change) for item in part)
        return part if all(map(operator.is_, new, part)) else new
    is_function = isinstance(part, types.FunctionType | type | _Named)
    return change(part) if is_function else part


def _fields(part):
    return [field for field in dataclasses.fields(part) if field.init]


def results_folder(path, option="--out"):
    """Returns the folder that results go to, which need not be there yet.

    Asked before the work, so that nothing is computed in vain.

    Args:
        path: of the folder.
        option: of the command line, that names it.

    Raises:
        ValueError: it cannot be one; the message names the option and the reason.
    """
    another = f"give another folder with {option}"
    if "://" in str(path):
        raise ValueError(
            f"{option} {path}: results go to a folder of the file system; mount the "
            "bucket, for example with gcsfuse, and give its path"
        )
    folder = place = pathlib.Path(path)
    try:
        while not place.exists():
            place = place.parent
    except OSError as error:  # of a name that is too long, or a folder that is closed
        reason = error.strerror or str(error)
        raise ValueError(f"{option} {folder}: {reason}; {another}") from error
    if not place.is_dir():
        where = "" if place == folder else f"{place} "
        raise ValueError(f"{option} {folder}: {where}is no folder; {another}")
    if not os.access(place, os.W_OK | os.X_OK):
        raise ValueError(f"{option} {folder}: {place} cannot be written to; {another}")
    return folder


@contextlib.contextmanager
def created(folder, option="--out"):
    """Creates a folder to write to; an OSError becomes a ValueError of the option."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        where = f" at {error.filename}" if error.filename else ""
        raise ValueError(
            f"{option} {folder}: {reason}{where}; give another folder with {option}"
        ) from error


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
