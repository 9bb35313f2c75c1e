"""Problems of a file, in any of the schemas that published sets follow."""

import collections
import dataclasses
import difflib
import functools
import logging
import os
import pathlib
from collections.abc import Iterable

from maspo_jax import storage
from maspo_jax.data.sources import chats, containers, fields, schemas
from maspo_jax.data.sources.golds import SeveralAnswers, Unanswered
from maspo_jax.data.sources.problem import Problem
from maspo_jax.data.sources.schemas import SCHEMAS, Columns

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ProblemFile:
    """Problems of a file: JSON lines, a JSON array, either with gzip, or parquet.

    The file is read, and every row of it checked, when its length or a problem is
    first asked for. All rows follow one schema, that of the first unless named.

    Attributes:
        path: of the file; `.gz` and `.parquet` are known by their ending.
        schema: a key of `schemas.SCHEMAS`, or the `Columns` of a file that follows
            none; None recognizes it by the columns.
        first: read only so many problems, from the start of the file.
        unanswered: how many rows without an answer are known and left out; any
            other number of them is an error.
    """

    path: str
    schema: str | Columns | None = None
    first: int | None = None
    unanswered: int = 0

    def __post_init__(self):
        object.__setattr__(self, "path", os.fspath(self.path))  # for who gives a `Path`
        check_settings(self)

    def __len__(self) -> int:
        return len(self._problems)

    def __getitem__(self, index: int) -> Problem:
        return self._problems[index]

    @functools.cached_property
    def digests(self) -> dict[str, str]:
        """The content of the file, see `runs.provenance`."""
        return {self.path: storage.digest_file(self.path)}

    @functools.cached_property
    def _problems(self) -> tuple[Problem, ...]:
        return parse_rows(containers.rows(self.path), self.path, self)


def check_settings(source) -> None:
    """Refuses settings of a source of rows that name nothing to read."""
    if isinstance(source.schema, str) and source.schema not in SCHEMAS:
        raise ValueError(
            f"schema {source.schema!r} is unknown: give one of {', '.join(SCHEMAS)}, "
            "or Columns(question=..., answer=...), or None to recognize it"
        )
    if source.first is not None and source.first < 1:
        raise ValueError(f"first={source.first}: give at least 1, or None for all")
    if source.unanswered < 0:
        raise ValueError(f"unanswered={source.unanswered}: give at least 0")


def parse_rows(
    rows: Iterable[containers.Row], name: str, source
) -> tuple[Problem, ...]:
    """Returns the problems of rows, or says which row is at fault and why.

    Args:
        rows: places in words, and rows.
        name: of all of them together.
        source: has the attributes `schema`, `first` and `unanswered`, as described
            at `ProblemFile`.
    """
    found = read_rows(rows, name, source.schema, source.first)
    _account(found.unanswered, source.unanswered, name, found.schema)
    if not found.problems:
        raise ValueError(f"{name} is empty: it holds no problem")
    for note, times in found.notes.items():
        _log.warning("%s: %d %s", name, times, note)
    return tuple(found.problems)


@dataclasses.dataclass(frozen=True)
class ReadRows:
    """What rows hold.

    Attributes:
        schema: that all rows were read by; None if there are none.
        columns: of the first row, that the schema reads.
        problems: of the rows with an answer, in order.
        unanswered: places of the other rows, each with what is missing.
        ignored: columns of any row that the schema does not read.
        notes: what was left out of rows, in words, and of how many.
    """

    schema: str | Columns | None
    columns: list[str]
    problems: list[Problem]
    unanswered: list[str]
    ignored: list[str]
    notes: dict[str, int]


def read_rows(
    rows: Iterable[containers.Row],
    name: str,
    schema: str | Columns | None = None,
    first: int | None = None,
) -> ReadRows:
    """Reads rows one by one; the arguments are as for `parse_rows` and `ProblemFile`.

    Raises:
        ValueError: a row is at fault; the message names it, the field and a remedy.
    """
    problems, unanswered, columns, asked, present = [], [], [], set(), {}
    notes = collections.Counter()
    for number, (place, row) in enumerate(rows, 1):
        schema = schema or _schema_of(row, place)
        parser = SCHEMAS[schema] if isinstance(schema, str) else schema
        if not asked:
            asked = schemas.columns_asked(row, parser)
            columns = [column for column in row if column in asked]
        present.update(dict.fromkeys(row))
        try:
            _check_columns(row, schema, number)
            fields.check_row(row)
            question, answer, solution = parser.parse(row)
            fields.check_choices(row, question, answer)
            id = _identifier(row) or f"{pathlib.Path(name).name}:{number}"
        except Unanswered as error:
            unanswered.append(f"{place}: {error}")
            continue
        except SeveralAnswers as error:
            raise ValueError(
                f"{place}: {error} ({_read_as(schema)}). Write them as one"
                f"{_remedy_for_forms(row)}"
            ) from error
        except ValueError as error:
            raise ValueError(
                f"{place}: {error} ({_read_as(schema)}). {_remedy(row, schema)}"
            ) from error
        problems.append(Problem(id, question, answer, solution))
        notes.update(_notes(row, asked, question))
        if len(problems) == first:
            break
    ignored = [name for name in present if name not in asked and name not in _IDS]
    return ReadRows(schema, columns, problems, unanswered, ignored, dict(notes))


def _notes(row: dict, columns: set[str], question: str) -> list[str]:
    """Returns what of a row no prompt will show, in words."""
    notes = []
    if fields.links_to_picture(question):
        notes.append("questions link to a picture, unseen in text")
    roles = set().union(*(chats.roles_left_out(row.get(column)) for column in columns))
    for role in sorted(roles - {*chats.ASSISTANTS}):
        remedy = ": set one in the template" if role in ("system", "developer") else ""
        notes.append(f"chats have a {role} turn, which is left out{remedy}")
    return notes


def _read_as(schema: str | Columns) -> str:
    if isinstance(schema, str):
        return f"read as schema {schema!r}"
    return f"read as columns {schema.question}, {schema.answer}"


def _check_columns(row: dict, schema: str | Columns, number: int) -> None:
    """Refuses columns that were named and that the first row has not."""
    if isinstance(schema, str) or number > 1:
        return
    for name in (schema.question, schema.answer):
        if name not in row:
            near = difflib.get_close_matches(name, map(str, row), n=1)
            hint = f" (did you mean `{near[0]}`?)" if near else ""
            raise ValueError(
                f"the column `{name}` is missing{hint}; found are {_listed(row)}"
            )


def _listed(row: dict) -> str:
    """Returns the columns of a row, in quotes where blanks would not be seen."""
    plain = all(name and name.isprintable() and name == name.strip() for name in row)
    return ", ".join(row if plain else map(repr, row)) or "none"


def _remedy(row: dict, schema: str | Columns) -> str:
    """Returns what to do about a row at fault; names other schemas that fit it."""
    remedy = "Correct or remove this row"
    others = [
        name
        for name, other in SCHEMAS.items()
        if name != schema and other.detect(row) and _reads(other, row)
    ]
    if others:
        remedy += f", or read it as another schema ({', '.join(others)})"
    parser = SCHEMAS[schema] if isinstance(schema, str) else schema
    if row.keys() - schemas.columns_asked(row, parser) - {*_IDS}:
        remedy += (
            ", or name other columns (--columns QUESTION ANSWER, in Python "
            "Columns(question=..., answer=...))"
        )
    return remedy


def _reads(schema, row: dict) -> bool:
    try:
        schema.parse(row)
    except ValueError:
        return False
    return True


def _remedy_for_forms(row: dict) -> str:
    """Returns the advice to read the first of several forms, where that works."""
    try:
        SCHEMAS["forms"].parse(row)
    except ValueError:
        return ""
    return ", or use schema 'forms' if they are forms of the same answer"


def _account(unanswered: list[str], expected: int, name: str, schema) -> None:
    """Refuses rows without an answer that nobody knows of; says which are left out."""
    if len(unanswered) != expected:
        first = unanswered[0] if unanswered else name
        raise ValueError(
            f"{first} ({_read_as(schema)}). {len(unanswered)} rows have no "
            f"answer, unanswered={expected} are expected. Correct or remove this row, "
            f"or leave such rows out with unanswered={len(unanswered)}"
        )
    if unanswered:
        _log.warning(
            "%s: %d rows without an answer are left out", name, len(unanswered)
        )


def _schema_of(row: dict, place: str) -> str:
    """Returns the name of the first schema that a row follows."""
    name = schemas.recognize(row)
    if name is None:
        raise ValueError(
            f"{place}: unknown schema. Columns found: {_listed(row)}. Name those of "
            "the question and of the answer: --columns QUESTION ANSWER, or in Python "
            "schema=Columns(question=..., answer=...). "
            f"Schemas known: {', '.join(SCHEMAS)}"
        )
    return name


_IDS = ("id", "unique_id", "ID", "query_id", "example_id")


def _identifier(row: dict) -> str | None:
    extra = row.get("extra_info")
    known = [(column, row.get(column)) for column in _IDS]
    if isinstance(extra, dict):
        known.append(("extra_info.index", extra.get("index")))
    given = ((str(value), column) for column, value in known if value is not None)
    return next((fields.text(id, column) for id, column in given if id.strip()), None)
