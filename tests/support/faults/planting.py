"""Plants one fault at a time in a copy of the tree, and runs the tests of it there."""

import contextlib
import dataclasses
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

PARTS = ("maspo_jax", "tests", "experiments", "docs", "colab")
FILES = ("README.md", "setup.cfg", "pyproject.toml")
UNNOTICED = "NOT NOTICED"
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+?)(?: - .*)?$", re.MULTILINE)


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


def run_tests(root, tests, limit, first=True):
    """Runs tests in a copy of the tree. Returns the `Outcome`.

    Args:
        root: of the copy.
        tests: below `tests/`: files, or `FILE::NAME`.
        limit: seconds; what takes longer has noticed nothing.
        first: whether the first failure ends it.
    """
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider"]
    command += ["-x"] * first + [f"tests/{test}" for test in tests]
    environment = os.environ | {
        "PYTHONPATH": str(root),
        "JAX_PLATFORMS": "cpu",
        # A file that changes twice within a second would be taken for what it was.
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    begun = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # so that all of its processes can be ended
    )
    try:
        output, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return Outcome(False, f"{UNNOTICED}: {limit} s", limit, output)
    seconds = time.perf_counter() - begun
    if process.returncode == 0:
        return Outcome(False, UNNOTICED, seconds, output)
    failed = _FAILED.search(output)
    if process.returncode != 1 or failed is None:  # such as a test that is not there
        return Outcome(False, f"{UNNOTICED}: pytest failed", seconds, output)
    return Outcome(True, failed[1], seconds, output)
