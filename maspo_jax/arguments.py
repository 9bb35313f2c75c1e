"""Words of a command line, read into a dataclass; wrong ones are one clear line."""

import contextlib
import dataclasses
import difflib
import inspect
import io
import re
import shutil
import sys
import textwrap
import typing
import warnings
from typing import Annotated

import tyro
from tyro.constructors import (
    ConstructorRegistry,
    StructConstructorSpec,
    StructTypeInfo,
)

from maspo_jax.refusals import Refusals
from maspo_jax.settings import check_interval, settings_in

HELP = {"-h", "--help"}
# What TRL and verl call a setting -> what the name of our option ends in.
ELSEWHERE = {
    "gradient-accumulation-steps": "updates.microbatches",
    "lr": "learning-rate",
    "max-completion-length": "response-length",
    "max-prompt-length": "prompt-length",
    "max-response-length": "response-length",
    "num-generations": "sampling.responses",
    "num-iterations": "updates.epochs",
    "ppo-epochs": "updates.epochs",
    "ppo-max-token-len-per-gpu": "updates.microbatch-tokens",
    "ppo-mini-batch-size": "updates.minibatches",
    "rollout.n": "sampling.responses",
    "train-batch-size": "sampling.prompts",
}
REMARKS = {"ppo-mini-batch-size": "how many of them, not how large they are"}
# Of what there is no setting, and why.
NOWHERE = {
    name: "training samples from the whole distribution: with top-p or top-k the ratio "
    "would be wrong (maspo evaluate has --top-p)"
    for name in ("top-p", "top-k", "min-p")
}


def parse(kind, words, prog, *, default=None, unknown=False):
    """Returns a dataclass, read from words of a command line.

    Args:
        kind: the dataclass. Its docstring and the comments or docstrings of its fields
            are the help, where intervals of `settings.setting` show, too.
        words: a list of str. `--help` among them prints a page and ends the program.
        prog: the command before the words.
        default: an instance that says what is not given, and which parts there are.
        unknown: whether words that name no option are returned, not refused.

    Returns:
        The instance; with `unknown`, the instance and the list of the other words.

    Raises:
        ValueError: an unknown option, a missing or a malformed value.
    """
    with Refusals() as refusals:
        return read(kind, words, prog, refusals, default=default, unknown=unknown)


def read(kind, words, prog, refusals, *, default=None, unknown=False, parts=None):
    """As `parse`, but collects what is wrong with some words, and reads the others.

    Args:
        kind: as for `parse`; so are `words`, `prog`, `default` and `unknown`.
        words: see there.
        prog: see there.
        refusals: the `Refusals`.
        default: see there.
        unknown: see there.
        parts: {option: what to say of it}, of options that look like those there are.

    Returns:
        As `parse`; the instance is None if the other words do not make one.
    """
    words, found, others = list(words), None, []
    while found is None:
        try:
            found, others = _read(kind, words, prog, default)
        except ValueError as error:
            left = None if HELP & set(words) else _without(str(error), words)
            options = _unknown_options(words, kind, prog, default)
            if left is None and options and not unknown:
                others = options
                break
            with refusals.of():
                raise
            if left is None:
                break
            words = left
    if unknown:
        return found, others
    if others:
        options = _options(kind, prog, default)
        for word in _first_words(others):
            with refusals.of():
                raise ValueError(_unknown(word, options, prog, parts or {}))
    if default is None and found is not None:
        for _, field, owner in settings_in(found):
            option = f"--{field.name.replace('_', '-')}"
            with refusals.of():
                check_interval(field, getattr(owner, field.name), option)
    return found


def _read(kind, words, prog, default):
    """Returns the instance and the words that name no option."""
    page = bool(HELP & set(words))
    told = {} if default is None else {"default": default}
    output = _Page()
    try:
        with (
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(output),
            warnings.catch_warnings(),
        ):
            # Of a default of a wrong type, which whoever reads the instance refuses.
            warnings.simplefilter("ignore", UserWarning)
            return tyro.cli(
                kind,
                args=list(words),
                prog=prog,
                config=(tyro.conf.AvoidSubcommands,),
                registry=_registry(),
                return_unknown_args=True,
                **told,
            )
    except SystemExit as end:
        if page and not end.code:  # else the page was not reached
            print(_wrapped(output.getvalue(), kind))
            raise
        raise ValueError(_line(output.getvalue(), kind, prog)) from end


def _without(said, words):
    """Returns words without the option that a message is about, and its values.

    None if it is about none of them.
    """
    option = re.search(r"--[\w.-]+", said.partition(";")[0])
    option = option and option[0]
    inside = re.match(r"Error parsing ([\w.]+): (\w+)=", said)  # refused by its class
    if inside:
        option = f"--{inside[1]}.{inside[2]}".replace("_", "-")
    names = [word.partition("=")[0].replace("_", "-") for word in words]
    if option not in names:
        return None
    begin = names.index(option)
    end = begin + 1
    while end < len(words) and not words[end].startswith("--"):
        end += 1
    return [*words[:begin], *words[end:]]


class _Page(io.StringIO):
    """Text for the standard output, with the characters that it takes."""

    encoding = property(lambda self: getattr(sys.__stdout__, "encoding", None))
    isatty = lambda self: bool(sys.__stdout__ and sys.__stdout__.isatty())


def _wrapped(page, kind):
    """Returns a page of help with its head wrapped to the width of the terminal.

    The head is the usage and the docstring, whose indented paragraphs stay as they are.
    """
    width = shutil.get_terminal_size().columns
    lines = page.rstrip().splitlines()
    usage, *plain = map(_uncolored, lines)
    is_box = re.compile(r"\W*(positional arguments|([\w.-]+ )?options)\W*").fullmatch
    box = next(number for number, line in enumerate(plain, 1) if is_box(line))
    pieces = re.findall(r"\[[^\]]*\](?!\S)|\S+", usage)
    units = [piece.replace(" ", "\0") for piece in pieces]
    head = [" ".join(units)]
    head += (inspect.getdoc(kind) or "").split("\n\n")
    filled = [
        part
        if part[:1].isspace()
        else textwrap.fill(
            part,
            width,
            subsequent_indent="    " * (number == 0),
            break_long_words=False,
            break_on_hyphens=False,
        ).replace("\0", " ")
        for number, part in enumerate(head)
    ]
    return "\n\n".join([*filled, "\n".join(lines[box:])])


def _uncolored(text):
    return re.sub(r"\x1b\[[\d;]*m", "", text)


def _registry():
    """Returns the rules that tyro is given beside its own."""
    registry, inside = ConstructorRegistry(), []

    @registry.struct_rule
    def rule(about):
        if any(each is about.type for each in inside):  # asked for by this rule
            return None
        if getattr(about.type, "_is_protocol", False):
            return _of_value(about)
        if not dataclasses.is_dataclass(about.type):
            return None
        inside.append(about.type)
        try:
            spec = ConstructorRegistry.get_struct_spec(about)
        finally:
            inside.pop()
        if not isinstance(spec, StructConstructorSpec):
            return spec
        stated = {
            field.name: field.metadata.get("interval", "(-inf, inf)")
            for field in dataclasses.fields(about.type)
        }
        fields = [_with_interval(one, stated.get(one.name)) for one in spec.fields]
        return dataclasses.replace(spec, fields=tuple(fields))

    return registry


def _of_value(about):
    """A field typed by a protocol offers the settings of the value it holds."""
    if not dataclasses.is_dataclass(about.default):
        return StructConstructorSpec(lambda: about.default, ())
    kind = type(about.default)
    return ConstructorRegistry.get_struct_spec(
        StructTypeInfo.make(kind, about.default, about.in_union_context)
    )


def _with_interval(field, interval):
    if interval in (None, "(-inf, inf)"):
        return field

    def hint(default):
        known = [
            part.help_behavior_hint
            for part in getattr(field.type, "__metadata__", ())
            if getattr(part, "help_behavior_hint", None)
        ]
        stated = f"default: {default}" if default else "required"
        return f"(in {interval}, {known[0].strip('()') if known else stated})"

    shown = tyro.conf.arg(help_behavior_hint=hint)
    return dataclasses.replace(field, type=Annotated[field.type, shown])


def _line(page, kind, prog):
    """Returns what tyro says in a box, as a line: without what repeats the help."""
    lines = [line.strip("│╭╮╰╯|+ ") for line in _uncolored(page).splitlines()[1:]]
    is_rule = [not line.strip("─-") for line in lines]
    begin = is_rule.index(False)
    end = is_rule.index(True, begin) if True in is_rule[begin:] else None
    said = " ".join(lines[begin:end]).rstrip(".")
    missing = re.match(r"Missing value for argument '(\w+)'", said)
    if missing:  # of an argument without a name on the page
        said = f"give {_metavar(kind, missing[1])}"
    kinds = re.match(
        r"Error parsing (\S+): no type matching (\S+) could be instantiated from "
        r"\['(.*)'\]",
        said,
    )
    if kinds:
        known = {"INT": "a whole number", "FLOAT": "a number", "STR": "a text"}
        parts = [part.strip("{}") for part in kinds[2].split("|")]
        parts = [known.get(part, part) for part in sorted(parts, key=len)[::-1]]
        said = f"{kinds[1]} {kinds[3]}: give {' or '.join(parts)}"
    return f"{said}; {prog} --help says more"


def _metavar(kind, name):
    """Returns what the page of help calls an argument of a dataclass."""
    hints = typing.get_type_hints(kind, include_extras=True)
    parts = getattr(hints.get(name), "__metadata__", ())
    return next(filter(None, (getattr(part, "metavar", "") for part in parts)), name)


def _unknown_options(words, kind, prog, default):
    """Returns the options among some words that there are not."""
    options = {*_options(kind, prog, default), *HELP}
    names = [word.partition("=")[0].replace("_", "-") for word in words]
    return [
        word
        for word, name in zip(words, names, strict=True)
        if name.startswith("--") and name not in options
    ]


def _first_words(words):
    """Returns words without the values that follow an option."""
    option, first = False, []
    for word in words:
        is_option = word.startswith("-") and not word[1:2].isdigit()
        if is_option or not option or "=" in word:
            first.append(word)
        option = option or is_option
    return first


def _options(kind, prog, default):
    """Returns the options there are, from the page of help."""
    page = io.StringIO()
    with contextlib.redirect_stdout(page), contextlib.suppress(SystemExit):
        parse(kind, ["--help"], prog, default=default)
    begin = r"^\W*(?:-h, )?(--[a-z][\w.-]*(?:, --[\w.-]+)*)"
    listed = re.findall(begin, _uncolored(page.getvalue()), re.M)
    return sorted({name for names in listed for name in names.split(", ")} - HELP)


def _unknown(word, options, prog, parts):
    """Returns what to say of a word that names no option."""
    name, equals, value = word.lstrip("+").partition("=")
    more = f"; {prog} --help lists all"
    if not word.startswith("-"):
        option = f"--{name.replace('_', '-')}"
        if equals and option in options:
            return f"{word!r}: write {option} {value}{more}"
        if equals and option in parts:
            return f"{word!r}: {parts[option] or f'write {option} {value}'}"
        return f"{word!r} is no option, nor the value of one{more}"
    name = name.replace("_", "-")
    reason = NOWHERE.get(name[2:].rpartition(".")[2])
    training = prog.startswith(("maspo train", "maspo sweep"))
    if reason and training and not any(option.endswith(name[1:]) for option in options):
        return f"no option {name}: {reason}"
    ours = ELSEWHERE.get(name[2:], name[2:])
    is_end = lambda option: f".{option[2:]}".endswith(f".{ours}")
    part = next(filter(is_end, parts), None)
    if part:
        about = parts[part] and f": {parts[part]}"
        return f"no option {name}; the closest is {part}{about}"
    ending = [option for option in options if is_end(option)]
    alike = difflib.get_close_matches(name, [*options, *parts], n=1, cutoff=0.6)
    close = ending or alike
    hint = f"; the closest is {' or '.join(close[:3])}" if close else ""
    if ending and name[2:] in REMARKS:
        hint += f", {REMARKS[name[2:]]}"
    return f"no option {name}{hint}{more}"
