"""Plants one fault at a time in a copy of the tree, and runs the tests of it there.

Loading the libraries takes longer than most tests: they are loaded once, and every run
is a fork. So whoever calls `run_tests` must not have used JAX, nor have threads.
"""

import contextlib
import dataclasses
import importlib
import os
import pathlib
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback

import pytest

PARTS = ("maspo_jax", "tests", "experiments", "docs", "colab")
FILES = ("README.md", "setup.cfg", "pyproject.toml")
UNNOTICED = "NOT NOTICED"
LIBRARIES = (
    *("jax", "flax.nnx", "optax", "orbax.checkpoint", "grain", "chex", "sympy"),
    *("pyarrow.parquet", "tensorboardX", "rich.console", "matplotlib.figure", "tyro"),
    *("safetensors.numpy", "scipy.special", "tokenizers", "jinja2"),
)
_TESTS = str(pathlib.Path(__file__).parents[2])
_OWN = ("maspo_jax", "support", "conftest")
_FAILED = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a run of tests."""

    noticed: bool  # a test failed
    by: str  # the first test that failed, or why none did
    seconds: float
    output: str


def copy_tree(root, to):
    """Copies what the tests need, but for `../shared`; compiled programs are shared.

    Args:
        root: of the checkout.
        to: a folder that does not exist yet.
    """
    root, to = pathlib.Path(root), pathlib.Path(to)
    to.mkdir(parents=True)
    for part in PARTS:
        if (root / part).is_dir():
            shutil.copytree(root / part, to / part)
    for file in FILES:
        if (root / file).is_file():
            shutil.copy2(root / file, to / file)
    (root / ".cache").mkdir(exist_ok=True)
    (to / ".cache").symlink_to(root.absolute() / ".cache")


def spoiled(fault, text):
    """Returns the text of a file with a fault in it.

    Raises:
        ValueError: the file does not hold the old text exactly once.
    """
    for old, new in ((fault.old, fault.new), *fault.also):
        found = text.count(old)
        if found != 1:
            raise ValueError(
                f"{fault.name}: {fault.file} holds {old!r} {found} times, expected "
                "once: correct the fault in tests/support/faults"
            )
        text = text.replace(old, new)
    return text


@contextlib.contextmanager
def planted(fault, root):
    """Holds a fault in the file it belongs to, in a copy of the tree."""
    file = pathlib.Path(root, "maspo_jax", fault.file)
    text, times = file.read_text("utf-8"), file.stat()
    file.write_text(spoiled(fault, text), "utf-8")
    try:
        yield
    finally:
        file.write_text(text, "utf-8")
        # Or what was compiled of it would be compiled again.
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def preload():
    """Loads the libraries that tests need, once for all of the processes forked later.

    None of the package, and nothing that starts a thread of Python.
    """
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def run_tests(root, tests, limit, first=True):
    """Runs tests in a copy of the tree, in a fork of this process.

    Args:
        root: of the copy.
        tests: below `tests/`: files, or `FILE::NAME`.
        limit: seconds; what takes longer has noticed nothing.
        first: whether the first failure ends it.

    Returns:
        The `Outcome`.
    """
    words = ["-n0", "-p", "no:cacheprovider", *["-x"] * first]
    words += [f"tests/{test}" for test in tests]
    begun = time.perf_counter()
    with tempfile.TemporaryFile() as shown:
        child = os.fork()
        if not child:
            _become_pytest(root, words, shown, first)
        status = _wait(child, begun + limit)
        seconds = time.perf_counter() - begun
        shown.seek(0)
        output = shown.read().decode(errors="replace")
    if status is None:
        return Outcome(False, f"{UNNOTICED}: {limit} s", seconds, output)
    failed = _FAILED.search(output)
    if status == 0:
        return Outcome(False, UNNOTICED, seconds, output)
    if status != 1 or failed is None:  # such as a test that is not there
        return Outcome(False, f"{UNNOTICED}: pytest ended otherwise", seconds, output)
    return Outcome(True, failed[1], seconds, output)


def _become_pytest(root, words, shown, first):
    """Makes this process, which was just forked, one that runs tests and ends."""
    status = 70  # not one of pytest's
    try:
        os.setsid()  # so that whatever it starts ends with it
        for stream in (1, 2):
            os.dup2(shown.fileno(), stream)
        os.chdir(root)
        os.environ |= {"PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu"}
        sys.path[:] = [str(root), *(path for path in sys.path if path != _TESTS)]
        for name in [name for name in sys.modules if name.partition(".")[0] in _OWN]:
            del sys.modules[name]
        # A file that changes twice within a second would be taken for what it was.
        sys.dont_write_bytecode = first
        status = int(pytest.main(words))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _wait(child, end):
    """Returns the exit status of a process; None if it had to be ended."""
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done or time.perf_counter() > end:
            break
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # with what it left behind
    if done:
        return os.waitstatus_to_exitcode(status)
    os.waitpid(child, 0)
    return None
