"""Where a run comes from: its files, the code that is the user's own, its machine.

A part of an experiment that reads files says so with two properties, both of dicts:
`digests`, from the name of each file to a text that another content would not give,
and `revisions`, from a name on the hub to the commit that was fetched. Weights are not
among the files: they are large, and a run that goes on does not read them again.

Gates, graders, advantages and templates of one's own are code: each has a digest of its
source without comments, and of what it calls in files that are the user's as well.
"""

import ast
import dataclasses
import datetime
import functools
import importlib.metadata
import inspect
import json
import pathlib
import platform
import shlex
import subprocess
import sys
import textwrap
import types

import jax

from maspo_jax.config import serialization
from maspo_jax.storage import digest_file, digest_values

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


# Code.


def code(part):
    """Returns {name: digest} of the classes and functions that are the user's own.

    That is what is neither of this package nor of an installed one: their versions are
    recorded.

    Args:
        part: of an experiment.
    """
    found = {}
    named = isinstance(part, type | types.FunctionType)
    thing = part if named else type(part)
    if _is_own(thing):
        found[serialization.public_name(thing)] = digest_values(sorted(_sources(thing)))
    for one in _inside(part):
        found |= code(one)
    return found


def _is_own(thing):
    if not isinstance(thing, type | types.FunctionType):
        return False
    return _is_own_module(sys.modules.get(thing.__module__), thing.__module__)


def _is_own_module(module, name):
    root = name.partition(".")[0]
    if root == PACKAGE or root in sys.stdlib_module_names - {"__main__"}:
        return False
    file = getattr(module, "__file__", None) or ""
    return not {"site-packages", "dist-packages"} & set(pathlib.Path(file).parts)


def _sources(thing, seen=None):
    """Returns the sources of a class or function, and of those of one's own it uses."""
    seen = {} if seen is None else seen
    if thing in seen:
        return seen.values()
    seen[thing] = ""
    name, used = f"{thing.__module__}:{thing.__qualname__}", []
    if isinstance(thing, type):
        used += [base for base in thing.__bases__ if _is_own(base)]
        members = [_function(member) for member in vars(thing).values()]
        functions = [member for member in members if member is not None]
    else:
        functions = [thing]
    constants = {}
    for function in functions:
        for value_name, value in _used(function):
            value = inspect.unwrap(value) if callable(value) else value
            if _is_own(value):
                used.append(value)
            elif isinstance(value, str | int | float | tuple):
                constants[value_name] = repr(value)
    seen[thing] = f"{name} {_written(thing, functions)} {sorted(constants.items())}"
    for one in used:
        _sources(one, seen)
    return seen.values()


def _function(member):
    """Returns the function behind a member of a class that the user wrote, or None."""
    member = getattr(member, "fget", None) or getattr(member, "__func__", member)
    member = inspect.unwrap(member) if callable(member) else member
    return member if isinstance(member, types.FunctionType) else None


def _used(function):
    """Yields (name, value) of the globals of a function, and of own modules in them."""
    names = _names(function.__code__)
    for name in names:
        value = function.__globals__.get(name)
        yield name, value
        if isinstance(value, types.ModuleType) and _is_own_module(
            value, value.__name__
        ):
            inside = names & vars(value).keys()
            yield from ((f"{name}.{each}", getattr(value, each)) for each in inside)


def _names(compiled):
    """Returns the global names that a code object uses, and those within it."""
    found = set(compiled.co_names)
    for constant in compiled.co_consts:
        if isinstance(constant, types.CodeType):
            found |= _names(constant)
    return found


def _written(thing, functions):
    """Returns the source of a class or function without comments and layout."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(thing)))
    except (OSError, TypeError, SyntaxError):  # of an interpreter that keeps no source
        return repr([(f.__code__.co_code, f.__code__.co_consts) for f in functions])
    return ast.dump(_Bare().visit(tree))


class _Bare(ast.NodeTransformer):
    """Drops docstrings."""

    def visit_Expr(self, node):
        """Drops a text that stands alone."""
        is_text = isinstance(node.value, ast.Constant) and isinstance(
            node.value.value, str
        )
        return ast.Pass() if is_text else node


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
        "package_git": git(pathlib.Path(__file__).parent),
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


def git(folder):
    """Returns {"commit", "clean"} of the repository around a folder; None without."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "clean": changed == ""}


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
        A line for each thing that is not as it was at the start before.
    """
    file, before = pathlib.Path(folder) / FILE, None
    if file.is_file():
        lines = file.read_text("utf-8").splitlines()
        before = json.loads(lines[-1]) if lines else None
    with file.open("a", encoding="utf-8") as opened:
        opened.write(json.dumps(started) + "\n")
    return [] if before is None else _changes(before, started)


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
