"""JAX's persistent compilation cache: where it is, and what a run found in it."""

import contextlib
import logging
import os
import pathlib
import re
import tempfile
import warnings

import jax
from etils import epath

from maspo_jax.runs import programs

OFF = {"none", "None", "off"}
MIN_COMPILE_TIME = "jax_persistent_cache_min_compile_time_secs"
# Of what JAX warns where an entry could not be read or written, with its program.
WARNED = r"Error (reading|writing) persistent compilation cache entry for '"
FAILURE = re.compile(rf"{WARNED}([^']*)': (.*)")  # the verb, the program, the reason

log = logging.getLogger(__name__)


def enable(folder=None):
    """Lets JAX keep what it compiles on disk, for other processes and later ones.

    What JAX is told already stays: a folder, by JAX_COMPILATION_CACHE_DIR or in the
    program, or JAX_ENABLE_COMPILATION_CACHE=false. Where the folder cannot be written
    to, a warning says so, and nothing is kept. To be called once the backend may be
    chosen, which a process of a pod may only when it has joined.

    Args:
        folder: or a `gs://` path; "none" or "off" to keep nothing; None for that of
            the user, one for each platform.
    """
    configured = jax.config.jax_compilation_cache_dir
    if OFF & {folder, configured}:
        jax.config.update("jax_enable_compilation_cache", False)
    if not jax.config.jax_enable_compilation_cache or configured == "":
        return
    folder = os.path.expanduser(configured or folder or user_folder())
    reason = _not_writable(folder)
    if reason:
        log.warning(
            f"compiled programs are not kept: {folder} cannot be written to "
            f"({reason}); name another folder with --compilation-cache"
        )
        jax.config.update("jax_enable_compilation_cache", False)
        return
    jax.config.update("jax_compilation_cache_dir", folder)
    if MIN_COMPILE_TIME.upper() not in os.environ:
        # By default programs that take less than a second are not kept. A run has
        # tens of them, which take most of its time to compile.
        jax.config.update(MIN_COMPILE_TIME, 0)


def user_folder():
    """Returns the folder of the user for the programs of this platform."""
    caches = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(caches):  # as its specification says
        caches = os.path.expanduser("~/.cache")
    return os.path.join(caches, "maspo_jax", "jax", jax.default_backend())


def _not_writable(folder):
    """Returns why nothing can be written to a folder, which is made; or ""."""
    try:
        if "://" in folder:
            epath.Path(folder).mkdir(parents=True, exist_ok=True)
        else:
            # For the user alone: what is read from there is executed.
            pathlib.Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
    except Exception as error:  # a file system behind a library has its own kinds
        return getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
    return ""


def in_use():
    """Returns the folder where compiled programs are kept; None where they are not."""
    on = jax.config.jax_enable_compilation_cache
    return (jax.config.jax_compilation_cache_dir or None) if on else None


@contextlib.contextmanager
def reported(display):
    """Says where compiled programs are kept, and at the end which there were.

    In the block, failures are said as by `failures_said`.

    Args:
        display: a `Display`, entered.
    """
    folder, compilations = in_use(), programs.compilations()
    kept = f"compiled programs are kept in {folder}"
    display.note(kept if folder else "compiled programs are not kept")
    begin = compilations.finished
    with failures_said(lambda text: display.note(f"warning: {text}")):
        yield
    display.note(programs.describe(compilations.since(begin)))


@contextlib.contextmanager
def failures_said(say=log.warning):
    """Says in a line what JAX cannot read or write; removes what it cannot read.

    In the block nothing of it is an error, even if warnings are. Of entries that are
    not written only the first is said.

    Args:
        say: called with the line, in the thread that compiles.
    """
    folder, written = in_use(), True

    def show(message, *where):
        nonlocal written
        failure = FAILURE.match(str(message))
        if not failure:
            return others(message, *where)
        verb, program, reason = failure.groups()
        if verb == "reading":
            _remove(folder, program)
            say(
                f"{program} is compiled again, for its entry in the compilation cache "
                f"cannot be read ({reason})"
            )
        elif written:
            written = False
            say(
                f"{program} is not kept in the compilation cache, nor may others be "
                f"({reason})"
            )

    with warnings.catch_warnings():
        warnings.filterwarnings("always", WARNED, UserWarning)
        others, warnings.showwarning = warnings.showwarning, show
        yield


def _remove(folder, program):
    """Removes the entries of a program, for JAX never writes over one.

    Of all that have its name, since a warning says no more.
    """
    if folder and "://" not in folder:
        for entry in pathlib.Path(folder).glob(f"{program}-*-cache"):
            with contextlib.suppress(OSError):
                entry.unlink()
