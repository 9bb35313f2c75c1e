"""Reads the experiment of a file, with leaves changed by words of a command line."""

import contextlib
import dataclasses
import difflib
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
from maspo_jax.data.prompts import templates
from maspo_jax.objectives import gates
from maspo_jax.refusals import Refusals
from maspo_jax.rewards import declaration, graders
from maspo_jax.settings import settings_in

PLAIN = (bool, int, float, str)  # what a word of a command line can be
OFF = ("none", "off")
GATE = "--objective.gate"  # the one part that the command line chooses by its name
# Part -> the class that it is a field of.
CLASSES = {
    "grading": "Grading",
    "objective": "Objective",
    "sampling": "Sampling",
    "sft": "Sft",
    "validation": "Validation",
}
# Part -> (module, what may be chosen of it).
CHOICES = {
    "grading.grader": ("graders", [declaration.name_of(each) for each in graders.ALL]),
    "objective.advantage": (
        "advantages",
        "group_normalized group_centered leave_one_out length_centered rare_success "
        "whitened group_whitened smoothed raw".split(),
    ),
    "objective.weight": (
        "token_weights",
        "token_mean sequence_mean sequence_sum only_token_mean SequenceSumOver".split(),
    ),
    "template": ("templates", [each.name.upper() for each in templates.ALL]),
}
READ = ("policy", "tokenizer", "train_set", "validation.source")  # of files
# Part -> what may be written for it.
EXAMPLES = {
    "objective.advantage_shaping": "advantages.EntropyAdvantage()",
    "objective.correction": "correction.TokenTruncated()",
    "objective.kl_in_reward": "kl.Penalty(0.001, kl.k1)",
    "objective.overlong_filter": "OverlongFilter()",
    "objective.overlong_penalty": "OverlongPenalty(buffer=...)",
    "objective.rejection": "correction.RejectTokens()",
    "objective.terms": "(kl.Penalty(0.001, kl.k3),)",
    "policy": "Checkpoint(...)",
    "sampling.dynamic": "DynamicSampling()",
    "sft.phases": "(Phase(ProblemFile(...), updates=...),)",
    "tokenizer": "FileTokenizer(...)",
    "train_set": "ProblemFile(...)",
    "validation.source": "ProblemFile(...)",
}
NOT_OURS = sys.stdlib_module_names | {"__main__", "maspo_jax"}  # names of modules


def load(path, overrides=()):
    """Returns the experiment of a file, with leaves overridden.

    The file is run anew, and with it the modules beside it; all of them stay imported,
    so that a record finds what they define.

    Args:
        path: a Python file with an `Experiment` named `experiment`. Its folder is
            on the import path while it runs, as for a script.
        overrides: command-line words, such as ["--objective.gate.alpha", "0.5"].

    Raises:
        ValueError, OSError: the file is none, does not run or has no experiment, or a
            word changes none of it.
    """
    with Refusals() as refusals:
        return read(path, overrides, refusals)


def read(path, overrides, refusals):
    """As `load`, but collects what is wrong with words, and takes the others.

    Args:
        path: as for `load`.
        overrides: likewise.
        refusals: the `Refusals`.
    """
    experiment = read_object(path, "experiment", Experiment)
    return overridden(experiment, overrides, f"maspo train {path}", refusals)


def read_object(path, name, kind):
    """Returns what a Python file calls by a name; the file is run anew, as by `load`.

    Args:
        path: of the file.
        name: such as "experiment".
        kind: the class that it is an instance of, or a union of some.

    Raises:
        ValueError, OSError: the file is none, does not run or has nothing of the kind.
    """
    path = pathlib.Path(path)
    storage.check_experiment_file(path)
    found = getattr(_run(path.absolute()), name, None)
    if not isinstance(found, kind):
        kinds = typing.get_args(kind) or (kind,)
        public = [f"maspo_jax.{_room(each)}.{each.__name__}" for each in kinds]
        raise ValueError(
            f"{path} has no `{name}`: name an instance of {' or '.join(public)} so"
        )
    return found


def _room(kind):
    return kind.__module__.split(".")[1]


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


def overridden(default, words, prog, refusals):
    """Returns a dataclass with leaves changed as words of a command line say.

    Args:
        default: the dataclass. A field of several classes holds one: the command line
            offers its settings. Functions stay as they are.
        words: for example ["--objective.gate.alpha", "0.5"]. `--objective.gate dgpo`
            chooses another gate by its name, and `--sft off` leaves out a part that
            may be None. `--help` ends the program with a page of all options.
        prog: the command before the words.
        refusals: the `Refusals` that collect what is wrong with words: an option that
            is not there, with the closest that is, or a value that does not fit. The
            others are taken.
    """
    words = [str(word) for word in words]
    default, words = _with_parts(default, words, refusals)
    named = _with_functions(default, _Named)
    changed = arguments.read(
        type(default),
        words,
        prog,
        refusals,
        default=named,
        parts={"--run": "", "--pod": "", "--compilation-cache": "", **_parts(default)},
    )
    changed = default if changed is None else changed
    return _with_functions(changed, lambda named: getattr(named, "function", named))


def _with_parts(default, words, refusals):
    """Returns the dataclass with whole parts replaced, and the words that are left."""
    parts, left, words = _parts(default), [], list(words)
    while words:
        word = words.pop(0)
        option, equals, value = word.partition("=")
        option = option.replace("_", "-")
        names = option[2:].replace("-", "_").split(".")
        if option not in parts or _field(default, names) is None:
            left.append(word)
            continue
        if not equals and words and not words[0].startswith("-"):
            value = words.pop(0)
        with refusals.of():
            part = _part(option, *_field(default, names), value)
            default = _replaced(default, names, part)
    return default, left


def _parts(default):
    """Returns {option: how another is chosen} of what is more than a number or a word.

    The text is empty for what the command line chooses by a name.
    """
    parts = {}
    for name, field, owner in settings_in(default):
        value, option = getattr(owner, field.name), f"--{name.replace('_', '-')}"
        if option == GATE:
            parts[option] = ""
        elif _is_part(field, value):
            parts[option] = _in_file(name)
    return parts


def _is_part(field, value):
    """Returns whether what a field holds is no value of a command line."""
    if value is None:
        kinds = (typing.get_origin(k) or k for k in typing.get_args(field.type))
        return not {*kinds} <= {*PLAIN, typing.Literal, type(None)}
    if isinstance(value, tuple):
        return any(map(dataclasses.is_dataclass, value)) or not value
    return dataclasses.is_dataclass(value) or callable(value)


def _in_file(name, given=""):
    """Returns how the part of a dotted name is chosen, which the file does.

    Args:
        name: of the setting, such as "objective.advantage".
        given: the word on the command line, if it is known.
    """
    *outer, last = name.split(".")
    choice = _choice(name, given)
    choice, _, more = choice.partition(", where ")
    whole = f"{last}={choice}"
    if len(outer) == 1 and outer[0] in CLASSES:
        whole = f"{outer[0]}={CLASSES[outer[0]]}({whole})"
    return f"it is chosen in the file, as {whole}{more and ', where '}{more}"


def _choice(name, given):
    """Returns how a file writes the part that a word seems to mean."""
    if name not in CHOICES:
        example = EXAMPLES.get(name, "...")
        return (
            example.replace("...", repr(given)) if given and name in READ else example
        )
    module, known = CHOICES[name]
    plain = {each.casefold(): each for each in known}
    close = difflib.get_close_matches(given.casefold(), plain, n=1)
    if close:
        return f"{module}.{plain[close[0]]}"
    return f"{module}.NAME, where NAME is one of {', '.join(known)}"


def _part(option, field, part, value):
    """Returns the part that a word such as `dgpo` or `off` stands for.

    Raises:
        ValueError: it stands for none.
    """
    optional = field.default is None or type(None) in typing.get_args(field.type)
    if value.lower() in OFF and optional:
        return None
    if option == GATE:
        return _gate(value)
    name = option[2:].replace("-", "_")
    first = _first(part)
    settings = f"give one of its settings, such as {option}.{first}; " if first else ""
    off = f"{option} off leaves it out; " if optional and part is not None else ""
    raise ValueError(f"{_given(option, value)}{settings}{off}{_in_file(name, value)}")


def _given(option, value):
    """Returns how what is said of an option and its value begins."""
    return f"{option} {value}: " if value else f"{option}: its value is missing; "


def _gate(value):
    """Returns the gate of a name, in any spelling."""
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
    close = difflib.get_close_matches(value.title(), known, n=1)
    hint = f"the closest is {close[0]}; " if close else ""
    raise ValueError(
        f"{_given(GATE, value)}{hint}choose one of {', '.join(known)}. (The gate of "
        "PPO, GRPO, Dr.GRPO and DAPO is Clip.) One of yours is chosen in the file"
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
