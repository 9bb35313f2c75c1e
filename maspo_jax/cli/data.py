"""`maspo data`."""

import collections
import dataclasses
from typing import Annotated

import tyro

from maspo_jax.cli.console import command
from maspo_jax.settings import setting

INDENT = " " * 4
_LONG = 300  # characters of an answer that is shown whole


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
    """folder or hub name of a checkpoint, to ask in its chat template, and to check its
    config.json and its tokenizer"""
    show: int = setting(3, "[0, inf)")
    """problems to show, evenly spaced"""

    def run(self):
        """Reads the file, and prints what it holds."""
        from maspo_jax.data.sources import containers
        from maspo_jax.data.sources.file import read_rows

        template = self._template()
        lengths = self._lengths(template)
        found = read_rows(containers.rows(self.file), self.file, self._schema())
        if not (found.problems or found.unanswered):
            raise ValueError(f"{self.file} is empty: it holds no problem")
        print("\n".join(report(self.file, found, template, self.show)))
        if lengths and found.problems:
            print(lengths(found.problems))
        if not found.problems:
            raise ValueError(
                f"{self.file} has no problem with an answer: correct its answers, or "
                "name their column with --columns QUESTION ANSWER"
            )

    def _lengths(self, template):
        """Returns what tells the lengths of prompts, after a look at the checkpoint."""
        from maspo_jax import hub
        from maspo_jax.data.prompts import FileTokenizer
        from maspo_jax.models.huggingface import architecture

        if self.checkpoint is None:
            return None
        folder, size = hub.folder_of(self.checkpoint), None
        architecture.refuse_adapter(folder)
        if (folder / "config.json").is_file():
            size = architecture.read_file(folder / "config.json")["vocabulary"]
        else:
            print(f"{folder} has no config.json: only its template is used")
        if not (folder / "tokenizer.json").is_file():
            print(f"{folder} has no tokenizer.json: prompts are not counted in tokens")
            return None
        tokenizer = FileTokenizer(self.checkpoint)
        return lambda problems: _prompt_lengths(problems, template, tokenizer, size)

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
        f"schema: {_name(found.schema)}, reading {columns or 'nothing'}",
    ]
    if found.ignored:
        lines += [f"not read: {', '.join(found.ignored)}"]
    for index in range(min(shown, len(problems))):
        problem = problems[index * len(problems) // min(shown, len(problems))]
        lines += ["", f"{problem.id}", "  prompt"]
        lines += _indented(template.render(problem.question))
        lines += ["  reference answer", *_indented(_cut(problem.answer))]
        fault = faults[problem.answer]
        lines += [f"  {'cannot be read' if fault else 'is read as'}"]
        lines += _indented(fault or golds.shown(problem.answer))
    lines += ["", *(f"{times} {note}" for note, times in found.notes.items())]
    lines += _repeats(problems, shown)
    lines += [_share(missing, len(missing) + len(problems), "rows have no answer")]
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


def _name(schema):
    return schema if isinstance(schema, str) else "the columns that were named"


def _cut(answer):
    """Returns an answer, of a long one its end: the box of a worked solution."""
    return answer if len(answer) <= _LONG else f"... {answer[-_LONG:]}"


def _repeats(problems, shown):
    """Returns lines on questions and ids that occur more than once, if any do."""
    asked = collections.defaultdict(list)
    for problem in problems:
        asked[problem.question].append(problem)
    repeated = [group for group in asked.values() if len(group) > 1]
    differing = [group for group in repeated if len({p.answer for p in group}) > 1]
    ids = collections.Counter(problem.id for problem in problems)
    lines = []
    if repeated:
        lines += [
            f"{sum(map(len, repeated)) - len(repeated)} of {len(problems)} questions "
            "repeat an earlier one: leave them out with Distinct(...)"
        ]
    if differing:
        lines += [
            f"{len(differing)} questions have answers that differ: correct them, or "
            "leave the rows out"
        ]
        for first, *others in differing[:shown]:
            other = next(p for p in others if p.answer != first.answer)
            lines += [
                f"{INDENT}{first.id}: {' '.join(first.answer.split()):.30}; "
                f"{other.id}: {' '.join(other.answer.split()):.30}"
            ]
    twice = [id for id, times in ids.items() if times > 1]
    if twice:
        lines += [
            f"{len(twice)} ids name several problems, such as {twice[0]!r}: give every "
            "row an id of its own"
        ]
    return lines


def _prompt_lengths(problems, template, tokenizer, size):
    """Returns a line on the prompts in tokens of a checkpoint.

    Raises:
        ValueError: it cannot write one, or has a token beyond its own `size`.
    """
    from maspo_jax.data.prompts import render

    tokenizer.eos_tokens  # noqa: B018  refuses a tokenizer that cannot end a response
    rows = [render.prompt_tokens(each, template, tokenizer) for each in problems]
    largest = max(map(max, rows))
    if size is not None and largest >= size:
        raise ValueError(
            f"{tokenizer.file} writes token {largest}, and by its config.json the "
            f"checkpoint has vocab_size={size}: the two are not from one checkpoint"
        )
    lengths = list(map(len, rows))
    longest = problems[lengths.index(max(lengths))].id
    return (
        f"prompts in tokens: {sum(lengths) / len(lengths):.0f} in the mean, the "
        f"longest {max(lengths)} ({longest}): the least --prompt-length"
    )


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
