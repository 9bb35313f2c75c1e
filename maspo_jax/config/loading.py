"""Reads the experiment of a file, with leaves changed by words of a command line."""

import contextlib
import dataclasses
import importlib.util
import inspect
import operator
import pathlib
import sys
import traceback
import types
import typing

from maspo_jax import arguments, storage
from maspo_jax.config.experiment import Experiment
from maspo_jax.objectives import gates

OFF = ("none", "off")
NOT_OURS = sys.stdlib_module_names | {"__main__", "maspo_jax"}  # names of modules


def load(path, overrides=()):
    """Returns the experiment of a file, with leaves overridden.

    The file is run anew, and with it the modules beside it; all of them stay imported,
    so that a record finds what they define.

    Args:
        path: a Python file with an `Experiment` named `experiment`. Its folder is
            on the import path while it runs, as for a script.
        overrides: command-line words, see `overridden`.

    Raises:
        ValueError, OSError: the file is none, does not run or has no experiment, or a
            word changes none of it.
    """
    path = pathlib.Path(path)
    storage.check_experiment_file(path)
    experiment = getattr(_run(path.absolute()), "experiment", None)
    if not isinstance(experiment, Experiment):
        raise ValueError(
            f"{path} has no `experiment`: name an instance of "
            "maspo_jax.config.Experiment so"
        )
    prog = f"maspo train {path}"
    return overridden(experiment, overrides, prog)


def _run(path):
    """Returns the module of a Python file.

    It is imported by the name of the file, unless that is the name of another module,
    such as `random`, which it must not hide.
    """
    importlib.invalidate_caches()
    files, packages = path.parent.glob("*.py"), path.parent.glob("*/__init__.py")
    for name in {file.stem for file in files} | {file.parent.name for file in packages}:
        if name in NOT_OURS:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)  # what is imported, no file can hide
        elif _origin(name) is None:
            _forget(name)  # of the folder of another experiment, or of an earlier run
    found = pathlib.Path(_origin(path.stem) or path)
    is_free = path.stem not in NOT_OURS and found.resolve() == path.resolve()
    name = path.stem if is_free else f"experiment_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, Exception):
            raise ValueError(_fault(path, error)) from error
        raise
    finally:
        sys.path.remove(str(path.parent))
    return module


def _origin(name):
    """Returns the file that the import path has for a module, or None."""
    finders = (finder.find_spec(name, None) for finder in sys.meta_path)
    return next((spec.origin for spec in finders if spec and spec.origin), None)


def _forget(name):
    for each in [*sys.modules]:
        if each.partition(".")[0] == name:
            del sys.modules[each]


def _fault(path, error):
    """Returns what to say of an exception that a file raised, or what it called."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    line = lines[-1] if lines else getattr(error, "lineno", None)  # of a SyntaxError
    if isinstance(error, ValueError | OSError):  # of a part that refused: says enough
        return f"{path}, line {line}: {error}"
    return f"{path} does not run: {type(error).__name__} in line {line}: {error}"


def overridden(default, words, prog):
    """Returns a dataclass with leaves changed as words of a command line say.

    Args:
        default: the dataclass. A field of several classes holds one: the command line
            offers its settings. Functions stay as they are.
        words: for example ["--objective.gate.alpha", "0.5"]. `--objective.gate dgpo`
            chooses another gate by its name, and `--sft off` leaves out a part that
            may be None. `--help` ends the program with a page of all options.
        prog: the command before the words.

    Raises:
        ValueError: an option that is not there, with the closest that is, or a value
            that does not fit.
    """
    default, words = _with_parts(default, [str(word) for word in words])
    named = _with_functions(default, _Named)
    changed = arguments.parse(type(default), words, prog, default=named)
    return _with_functions(changed, lambda named: getattr(named, "function", named))


def _with_parts(default, words):
    """Returns the dataclass with whole parts replaced, and the words that are left."""
    left, words = [], iter(words)
    for word in words:
        option, equals, value = word.partition("=")
        names = option[2:].replace("-", "_").split(".")
        field = _field(default, names) if option.startswith("--") else None
        if field is None or not dataclasses.is_dataclass(field[1]):
            left.append(word)
            continue
        value = value if equals else next(words, "")
        default = _replaced(default, names, _part(option, *field, value))
    return default, left


def _part(option, field, part, value):
    """Returns the part that a word such as `dgpo` or `off` stands for.

    Raises:
        ValueError: it stands for none.
    """
    optional = field.default is None or type(None) in typing.get_args(field.type)
    if value.lower() in OFF and optional:
        return None
    if option != "--objective.gate":
        off = f"; {option} off leaves it out" * optional
        raise ValueError(
            f"{option} {value}: give one of its settings, such as "
            f"{option}.{_first(part)}{off}"
        )
    known = {
        name: kind
        for name in gates.__all__
        if inspect.isclass(kind := getattr(gates, name))
        and dataclasses.is_dataclass(kind)
    }
    plain = value.lower().replace("-", "").replace("_", "")
    for name, kind in known.items():
        if name.lower() == plain:
            return kind()
    raise ValueError(
        f"{option} {value}: choose one of {', '.join(known)}. (The gate of PPO, GRPO, "
        "Dr.GRPO and DAPO is Clip.)"
    )


def _first(part):
    return next((field.name for field in _fields(part)), "").replace("_", "-")


def _field(part, names):
    """Returns the field and the value at a dotted name, or None if there is none."""
    for name in names[:-1]:
        part = getattr(part, name, None)
    known = {field.name: field for field in _fields(part)}
    return (known[names[-1]], getattr(part, names[-1])) if names[-1] in known else None


def _replaced(part, names, value):
    name, *rest = names
    inside = _replaced(getattr(part, name), rest, value) if rest else value
    return dataclasses.replace(part, **{name: inside})


class _Named:
    """A function that is shown by its name, not its address, where help is printed."""

    def __init__(self, function):
        self.function = function

    def __call__(self, *arguments):
        return self.function(*arguments)

    def __repr__(self):
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
    fields = dataclasses.fields(part) if dataclasses.is_dataclass(part) else ()
    return [field for field in fields if field.init]
