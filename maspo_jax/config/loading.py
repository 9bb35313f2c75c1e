"""Reads the experiment of a file, with leaves changed by words of a command line."""

import dataclasses
import importlib.util
import operator
import pathlib
import sys
import traceback
import types

from maspo_jax.config.experiment import Experiment


def load(path, overrides=()):
    """Returns the experiment of a file, with leaves overridden.

    Args:
        path: a Python file with an `Experiment` named `experiment`. Its folder is
            on the import path while it runs, as for a script.
        overrides: command-line words, see `commands.overridden`.
    """
    path = pathlib.Path(path)
    if not path.is_file() or path.suffix != ".py":
        raise FileNotFoundError(
            f"no experiment file {path}: give a Python file that ends in .py"
        )
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(spec.name)
    sys.modules[spec.name] = module  # where dataclasses look their annotations up
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except (ValueError, OSError):  # of a part of it that refused: says enough
        raise
    except Exception as error:
        line = getattr(error, "lineno", None)
        line = line or traceback.extract_tb(error.__traceback__)[-1].lineno
        raise ValueError(
            f"{path} does not run: {type(error).__name__} in line {line}: {error}"
        ) from error
    finally:
        sys.path.remove(str(path.parent))
        if before is None:
            del sys.modules[spec.name]
        else:
            sys.modules[spec.name] = before
    experiment = getattr(module, "experiment", None)
    if not isinstance(experiment, Experiment):
        raise ValueError(
            f"{path} has no `experiment`: name an instance of "
            "maspo_jax.config.Experiment so"
        )
    prog = f"maspo train {path}"
    return overridden(experiment, overrides, prog)


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
