"""Where a run comes from: its files, the code that is the user's own, its machine.

A part of an experiment that reads files says so with two properties, both of dicts:
`digests`, from the name of each file to a text that another content would not give,
and `revisions`, from a name on the hub to the commit that was fetched. Weights are not
among the files: they are large, and a run that goes on does not read them again.

The code of one's own that is part of an experiment has digests, see `own_code`.
"""

import contextlib
import dataclasses
import datetime
import functools
import importlib.metadata
import json
import pathlib
import platform
import shlex
import subprocess
import sys

import jax

from maspo_jax.runs import own_code
from maspo_jax.storage import Appender, digest_file

PACKAGE = __name__.partition(".")[0]
FILE = "provenance.jsonl"  # of a run: a line for each time it was started
LIBRARIES = (
    "jax jaxlib flax optax orbax-checkpoint grain numpy sympy tokenizers".split()
)
GIT_SECONDS = 5.0


def digests(part):
    """Returns {file: digest} of all files that a part of an experiment is read from."""
    return _collected(part, "digests")


def revisions(part):
    """Returns {name on the hub: commit} of all that a part was fetched from."""
    return _collected(part, "revisions")


def _collected(part, attribute):
    found = dict(getattr(part, attribute, {}))
    for one in _inside(part):
        found |= _collected(one, attribute)
    return found


def _inside(part):
    """Returns the parts of a part of an experiment."""
    if isinstance(part, tuple | list):
        return part
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        return [getattr(part, field.name) for field in dataclasses.fields(part)]
    return ()


def code(part):
    """Returns {name: digest} of the code of a part that is the user's own.

    Args:
        part: of an experiment.
    """
    found = own_code.digest(part)
    for one in _inside(part):
        found |= code(one)
    return found


# The machine.


def start(experiment, source=None):
    """Returns what is recorded of a start of a run, plain data.

    Args:
        experiment: the `Experiment`.
        source: the file it was read from, if it was.
    """
    kinds = [device.device_kind for device in jax.devices()]
    place = pathlib.Path(source).parent if source else pathlib.Path()
    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join(sys.argv),
        "experiment": {str(source): digest_file(source)} if source else {},
        "code": code(experiment),
        "git": git(place),
        "package_git": git(pathlib.Path(__file__).parent, pathlib.Path(__file__).name),
        "versions": versions(),
        "platform": platform.platform(),
        "devices": {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)},
        "processes": jax.process_count(),
    }


@functools.cache
def versions():
    """Returns {library: version} of what computes."""
    found = {name: importlib.metadata.version(name) for name in LIBRARIES}
    found[PACKAGE] = sys.modules[PACKAGE].__version__  # installed or not
    return found | {"python": platform.python_version()}


def git(folder, file=None):
    """Returns {"commit", "clean"} of the repository around a folder; None without.

    Args:
        folder: within it.
        file: a name in the folder; a repository that does not track it, as that of a
            user whose installed packages lie in it, is none.

    Returns:
        The commit is a text; clean is None if git did not say so in time.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    if file and _git(folder, "ls-files", "--error-unmatch", file) is None:
        return None
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "clean": None if changed is None else changed == ""}


def _git(folder, *words):
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words],
            capture_output=True,
            text=True,
            timeout=GIT_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def write(folder, started):
    """Appends a start to the record of a run.

    Args:
        folder: of the run.
        started: from `start`.

    Returns:
        What there is to say, in lines: what is not as it was at the start before, and
        which lines since then are damaged.

    Raises:
        WriteError: it cannot be written.
    """
    file = pathlib.Path(folder) / FILE
    content = file.read_bytes() if file.is_file() else b""
    before, damaged = _last(content)
    appender = Appender(file)
    with contextlib.closing(appender):
        cut_off = content and not content.endswith(b"\n")
        appender.append(b"\n" * bool(cut_off) + json.dumps(started).encode() + b"\n")
    said = [] if before is None else _changes(before, started)
    said = [f"other than when it was started before: {line}" for line in said]
    return said + [
        f"{file}: line {number} is damaged; this start is not compared with it"
        for number in damaged
    ]


def _last(content):
    """Returns the last start that can be read, or None, and the lines behind it."""
    damaged = []
    for number, line in reversed([*enumerate(content.splitlines(), start=1)]):
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            return found, damaged
        damaged.insert(0, number)
    return None, damaged


def _changes(before, now):
    """Returns what differs between two starts, in words."""
    lines = []
    for name in ("versions", "devices"):
        old, new = before.get(name) or {}, now[name]
        lines += [
            f"{key} {old.get(key, 'absent')} before, {new.get(key, 'absent')} now"
            for key in sorted(old.keys() | new.keys())
            if old.get(key) != new.get(key)
        ]
    old, new = before.get("package_git") or {}, now["package_git"] or {}
    if old.get("commit") != new.get("commit"):
        known = [(each.get("commit") or "no commit")[:10] for each in (old, new)]
        lines.append(f"{PACKAGE} at {known[0]} before, at {known[1]} now")
    return lines
