"""`maspo data`."""

import collections
import dataclasses
from typing import Annotated

import tyro

from maspo_jax.cli.console import command
from maspo_jax.settings import setting

INDENT = " " * 4


@dataclasses.dataclass(frozen=True)
class Data:
    """Shows what is understood of a file of problems, before anything is trained.

    Prints the schema and the columns it reads, the number of problems, a few prompts
    as a policy is asked, their reference answers as the checker reads them, and the
    shares of rows without an answer, of answers that the checker cannot read, and of
    those whose spelling has another reading that would earn a reward as well.
    """

    file: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FILE")]
    """file of problems: .jsonl, .json, either with .gz, or .parquet"""
    schema: Annotated[
        str | None,
        tyro.conf.arg(metavar="NAME", help_behavior_hint="(default: by its columns)"),
    ] = None
    """convention of columns, of `data.sources.schemas`"""
    columns: Annotated[
        tuple[str, str] | None,
        tyro.conf.arg(
            metavar="QUESTION ANSWER", help_behavior_hint="(instead of a schema)"
        ),
    ] = None
    """columns of the question and of the answer, where no schema fits"""
    template: Annotated[str, tyro.conf.arg(metavar="NAME")] = "boxed"
    """instructions around a question, of `data.prompts.templates`"""
    checkpoint: Annotated[
        str | None,
        tyro.conf.arg(metavar="NAME", help_behavior_hint="(default: plain text)"),
    ] = None
    """folder or hub name of a checkpoint, to ask in its chat template"""
    show: int = setting(3, "[0, inf)")
    """problems to show, evenly spaced"""

    def run(self):
        """Reads the file, and prints what it holds."""
        from maspo_jax.data.sources import containers
        from maspo_jax.data.sources.file import read_rows

        template = self._template()
        found = read_rows(containers.rows(self.file), self.file, self._schema())
        if not (found.problems or found.unanswered):
            raise ValueError(f"{self.file} is empty: it holds no problem")
        print("\n".join(report(self.file, found, template, self.show)))

    def _schema(self):
        from maspo_jax.data.sources import Columns, ProblemFile

        if self.schema and self.columns:
            raise ValueError("give --schema or --columns, one of the two")
        return ProblemFile(
            self.file, Columns(*self.columns) if self.columns else self.schema
        ).schema

    def _template(self):
        from maspo_jax.data.prompts import template_of, templates

        style = templates.template_named(self.template)
        return template_of(self.checkpoint, style) if self.checkpoint else style


def report(name, found, template, shown):
    """Returns the lines of what a file holds.

    Args:
        name: of the file.
        found: the `ReadRows` of it.
        template: a `Template` or a `ChatTemplate`.
        shown: how many of its problems to show.
    """
    from maspo_jax.rewards import golds

    problems, missing = found.problems, found.unanswered
    faults = {answer: golds.fault(answer) for answer in {p.answer for p in problems}}
    unread = [problem.answer for problem in problems if faults[problem.answer]]
    solved = sum(problem.solution is not None for problem in problems)
    columns = ", ".join(found.columns)
    lines = [
        f"{name}: {len(problems)} problems, {solved} of them with a worked solution",
        f"schema: {found.schema}, reading {columns or 'nothing'}",
    ]
    for index in range(min(shown, len(problems))):
        problem = problems[index * len(problems) // min(shown, len(problems))]
        lines += ["", f"{problem.id}", "  prompt"]
        lines += _indented(template.render(problem.question))
        lines += ["  reference answer", *_indented(problem.answer)]
        fault = faults[problem.answer]
        lines += [f"  {'cannot be read' if fault else 'is read as'}"]
        lines += _indented(fault or golds.shown(problem.answer))
    lines += ["", _share(missing, len(missing) + len(problems), "rows have no answer")]
    lines += [f"{INDENT}{each}" for each in missing[:shown]]
    what = "answers cannot be read: only their own spelling would earn a reward"
    lines += [_share(unread, len(problems), what)]
    lines += _most_common(unread, shown)
    read = [problem.answer for problem in problems if not faults[problem.answer]]
    others = {answer: golds.other_reading(answer) for answer in set(read)}
    double = [f"{answer}, {others[answer]}" for answer in read if others[answer]]
    what = "answers have another reading, which would earn as well"
    lines += [_share(double, len(problems), what), *_most_common(double, shown)]
    return lines


def _most_common(answers, shown):
    """Returns a line for each of the answers that occur most often."""
    lines = []
    for answer, times in collections.Counter(answers).most_common(shown):
        line = " ".join(answer.split())
        lines += [f"{INDENT}{line:.70}" + f" ({times} times)" * (times > 1)]
    return lines


def _indented(text):
    return [f"{INDENT}{line}" for line in text.split("\n")]


def _share(part, whole, what):
    share = len(part) / whole if whole else 0.0
    return f"{len(part)} of {whole} ({share:.1%}) {what}"


main = command(Data)
