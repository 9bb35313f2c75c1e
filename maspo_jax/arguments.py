"""Words of a command line, read into a dataclass; wrong ones are one clear line."""

import contextlib
import dataclasses
import difflib
import io
import re
from typing import Annotated

import tyro
from tyro.constructors import (
    ConstructorRegistry,
    StructConstructorSpec,
    StructTypeInfo,
)

from maspo_jax.settings import check_intervals

HELP = {"-h", "--help"}


def parse(kind, words, prog, *, default=None, unknown=False):
    """Returns a dataclass, read from words of a command line.

    Args:
        kind: the dataclass. Comments or docstrings of its fields are the help, where
            intervals of `settings.setting` show, too.
        words: a list of str. `--help` among them prints a page and ends the program.
        prog: the command before the words.
        default: an instance that says what is not given, and which parts there are.
        unknown: whether words that name no option are returned, not refused.

    Returns:
        The instance; with `unknown`, the instance and the list of the other words.

    Raises:
        ValueError: an unknown option, a missing or a malformed value.
    """
    page = bool(HELP & set(words))
    told = {} if default is None else {"default": default}
    output = io.StringIO()
    with contextlib.ExitStack() as held:
        if not page:
            held.enter_context(contextlib.redirect_stdout(output))
            held.enter_context(contextlib.redirect_stderr(output))
        try:
            found = tyro.cli(
                kind,
                args=list(words),
                prog=prog,
                config=(tyro.conf.AvoidSubcommands,),
                registry=_registry(),
                return_unknown_args=True,
                **told,
            )
        except SystemExit as end:
            if page:
                raise
            raise ValueError(_line(output.getvalue(), prog)) from end
    found, others = found
    if unknown:
        return found, others
    if others:
        options = _options(kind, prog, default)
        raise ValueError(_unknown(others, options, prog))
    if default is None:
        check_intervals(found, "--")
    return found


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
    hint = lambda default: (
        f"(in {interval}, required)"
        if default is None
        else f"(in {interval}, default: {default})"
    )
    shown = tyro.conf.arg(help_behavior_hint=hint)
    return dataclasses.replace(field, type=Annotated[field.type, shown])


def _line(page, prog):
    """Returns what tyro says in a box, as a line: without what repeats the help."""
    lines = [line.strip("│╭╮╰╯|+ ") for line in page.splitlines()[1:]]
    is_rule = [not line.strip("─-") for line in lines]
    begin = is_rule.index(False)
    end = is_rule.index(True, begin) if True in is_rule[begin:] else None
    return f"{' '.join(lines[begin:end]).rstrip('.')}; {prog} --help says more"


def _options(kind, prog, default):
    """Returns the options there are, from the page of help."""
    page = io.StringIO()
    with contextlib.redirect_stdout(page), contextlib.suppress(SystemExit):
        parse(kind, ["--help"], prog, default=default)
    listed = re.findall(r"^\W*(?:-h, )?(--[a-z][\w.-]*)", page.getvalue(), re.M)
    return sorted({*listed} - HELP)


def _unknown(words, options, prog):
    """Returns what to say of words that name no option."""
    word = next((word for word in words if word.startswith("-")), words[0])
    name, equals, value = word.partition("=")
    more = f"; {prog} --help lists all"
    if not word.startswith("-"):
        option = f"--{name.replace('_', '-')}"
        if equals and option in options:
            return f"{word!r}: write {option} {value}{more}"
        return f"{word!r} is no option, nor the value of one{more}"
    name = name.replace("_", "-")
    ending = [option for option in options if option.endswith(f".{name[2:]}")]
    close = ending or difflib.get_close_matches(name, options, n=1, cutoff=0.6)
    hint = f"; the closest is {' or '.join(close[:3])}" if close else ""
    return f"no option {name}{hint}{more}"
