"""Problems with answers that can be checked, and the files they come from.

    file --layout--> Problem --templates, tokenizer, pipeline--> Prompts

A *source* of problems has a length and gives a `Problem` for every index below it;
`ProblemFile` reads one from JSON lines, `arithmetic.Chains` makes one on the spot.
Sources are frozen dataclasses: an experiment holds them and writes them as JSON.

Files of many origins are read as they are. What distinguishes them is a `Layout`:
how to recognize a row, and how to read one. Supporting another is a row of `LAYOUTS`.
"""

import dataclasses
import functools
import gzip
import json
import math
import pathlib
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from maspo_jax.data import templates

_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s*")


@dataclasses.dataclass(frozen=True)
class Problem:
    """A question, its checkable answer and, where known, a worked solution."""

    id: str
    question: str
    answer: str
    solution: str | None = None


class Source(Protocol):
    """Anything that holds problems: the only thing a pipeline asks of its data."""

    def __len__(self) -> int:
        """Returns the number of problems, at least one."""

    def __getitem__(self, index: int) -> Problem:
        """Returns the same problem for the same index, always."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """One convention of columns.

    `detect` says whether a row follows it; `read` returns question, answer and
    solution of a row, or raises a ValueError that names the field at fault.
    """

    detect: Callable[[dict], bool]
    read: Callable[[dict], tuple[str, str, str | None]]


@dataclasses.dataclass(frozen=True)
class ProblemFile:
    """Problems of a JSON lines file, plain or compressed with gzip.

    The file is read, and every row of it checked, when its length or a problem is
    first asked for. All rows have one layout, that of the first unless named.

    Attributes:
        path: a `.jsonl` or `.jsonl.gz` file.
        layout: a key of `LAYOUTS`; None recognizes it by the columns.
        first: read only so many problems, from the start of the file.
    """

    path: str
    layout: str | None = None
    first: int | None = None

    def __post_init__(self):
        if self.layout is not None and self.layout not in LAYOUTS:
            raise ValueError(
                f"layout {self.layout!r} is unknown: give one of "
                f"{', '.join(LAYOUTS)}, or None to recognize it by the columns"
            )
        if self.first is not None and self.first < 1:
            raise ValueError(f"first={self.first}: give at least 1, or None for all")

    def __len__(self) -> int:
        return len(self._problems)

    def __getitem__(self, index: int) -> Problem:
        return self._problems[index]

    @functools.cached_property
    def _problems(self) -> tuple[Problem, ...]:
        problems, layout, file = [], self.layout, pathlib.Path(self.path).name
        for number, row in _rows(self.path):
            place = f"{self.path}, line {number}"
            layout = layout or _recognize(row, place)
            try:
                question, answer, solution = LAYOUTS[layout].read(row)
            except ValueError as error:
                raise ValueError(
                    f"{place}: {error} (read as layout {layout!r}). Correct or remove "
                    f"this row, or name another layout: {', '.join(LAYOUTS)}"
                ) from error
            name = _identifier(row) or f"{file}:{number}"
            problems.append(Problem(name, question, answer, solution))
            if len(problems) == self.first:
                break
        if not problems:
            raise ValueError(f"{self.path} is empty: it holds no problem")
        return tuple(problems)


def _rows(path: str) -> Iterator[tuple[int, dict]]:
    """Yields the number and the object of every line that is not blank."""
    if not pathlib.Path(path).is_file():
        raise FileNotFoundError(f"no file of problems at {path}: correct the path")
    open_bytes = gzip.open if str(path).endswith(".gz") else open
    number = 0
    try:
        # Lines of bytes end at "\n" only. A row of GSM8K contains U+2028, which
        # ends a line for `str.splitlines`.
        with open_bytes(path, "rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield number, _parse(line, f"{path}, line {number}")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(
            f"{path}: damaged gzip file after line {number} ({error}). Copy it again"
        ) from error


def _parse(line: bytes, place: str) -> dict:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except ValueError as error:  # of the encoding, or of the JSON in it
        raise ValueError(
            f"{place}: malformed JSON ({error}). Expected is one JSON object per line"
        ) from error
    if not isinstance(row, dict):
        raise ValueError(
            f"{place}: found a JSON {type(row).__name__}, expected one object per line"
        )
    return row


def _recognize(row: dict, place: str) -> str:
    """Returns the name of the first layout that a row follows."""
    for name, layout in LAYOUTS.items():
        if layout.detect(row):
            return name
    raise ValueError(
        f"{place}: unknown layout. Columns found: {', '.join(row) or 'none'}. Layouts "
        f"known: {', '.join(LAYOUTS)}. Rename the columns to `problem` and `answer`"
    )


def _identifier(row: dict) -> str | None:
    extra = row.get("extra_info")
    index = extra.get("index") if isinstance(extra, dict) else None
    known = (row.get("id"), row.get("unique_id"), index)
    return next((str(value) for value in known if value not in (None, "")), None)


def _text(value: Any, field: str) -> str:
    """Returns the text of a field; refuses null, blank and anything but text."""
    if value is None:
        raise ValueError(f"`{field}` is missing or null")
    if not isinstance(value, str):
        raise ValueError(f"`{field}` is not text but {json.dumps(value)[:80]}")
    if not value.strip():
        raise ValueError(f"`{field}` is empty")
    return value


def _answer(value: Any, field: str) -> str:
    """Returns a gold answer as text; 27.0 is `27`, a list of one is its element."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, float) and math.isfinite(value):
        value = repr(int(value) if value.is_integer() else value)
    elif isinstance(value, int) and not isinstance(value, bool):
        value = repr(value)
    answer = _text(value, field).strip()
    if "####" in answer:
        raise ValueError(f"`{field}` is a worked solution, not a final answer")
    return answer


def _solution(row: dict) -> str | None:
    value = row.get("solution")
    return value if isinstance(value, str) and value.strip() else None


def _after_hashes(solution: str) -> str | None:
    """Returns N of a solution that ends `#### N`, without thousands commas."""
    _, marker, answer = solution.rpartition("####")
    answer = re.sub(r"(?<=\d),(?=\d{3})", "", answer).strip()
    return answer if marker and answer and "\n" not in answer else None


def _last_box(solution: str) -> str | None:
    r"""Returns what the last complete `\boxed{...}` holds.

    A box that is never closed is not complete. TeX lets the braces around a short
    argument be left out, and some solutions of MATH do: `\boxed 3` holds `3`.
    """
    for start in reversed([match.end() for match in _BOX.finditer(solution)]):
        rest = solution[start:]
        content = _braced(rest) if rest[:1] == "{" else re.match(r"[^\s$}]*", rest)[0]
        if content is not None and content.strip():
            return content.strip()
    return None


def _braced(text: str) -> str | None:
    """Returns what stands between the first brace and the one that closes it."""
    depth = 0
    # A backslash and its neighbor are one token: `\{` opens nothing.
    for token in re.finditer(r"\\.|[{}]", text, re.DOTALL):
        depth += {"{": 1, "}": -1}.get(token[0], 0)
        if depth == 0 and token[0] == "}":
            return text[1 : token.start()]
    return None


def _has(*columns: str) -> Callable[[dict], bool]:
    return lambda row: row.keys() >= set(columns)


def _is_gsm8k(row: dict) -> bool:
    """Other sets keep a final answer in the same two columns."""
    return _has("question", "answer")(row) and "####" in str(row["answer"])


def _read_verl(row: dict) -> tuple[str, str, str | None]:
    """Rows prepared for verl: a chat, and the gold of a rule."""
    rule, extra = row.get("reward_model"), row.get("extra_info")
    gold = rule.get("ground_truth") if isinstance(rule, dict) else None
    extra = extra if isinstance(extra, dict) else {}
    prompt = row.get("prompt")
    if isinstance(prompt, list):
        turns = [turn for turn in prompt if isinstance(turn, dict)]
        asked = [turn.get("content") for turn in turns if turn.get("role") == "user"]
        if len(asked) != 1:
            raise ValueError(f"`prompt` has {len(asked)} user turns instead of one")
        prompt = asked[0]
    question = extra.get("raw_problem") or extra.get("question")
    question = question or templates.bare(_text(prompt, "prompt"))
    solution = _solution({"solution": extra.get("answer")})
    answer = _answer(gold, "reward_model.ground_truth")
    return _text(question, "extra_info.question"), answer, solution


def _read_gsm8k(row: dict) -> tuple[str, str, str | None]:
    """GSM8K as released: the answer is a worked solution that ends `#### N`."""
    solution = _text(row.get("answer"), "answer")
    answer = _after_hashes(solution)
    if answer is None:
        raise ValueError("`answer` does not end in `#### N`")
    return _text(row.get("question"), "question"), answer, solution


def _read_math(row: dict) -> tuple[str, str, str | None]:
    """MATH as released: the answer is boxed in the solution."""
    solution = _text(row.get("solution"), "solution")
    answer = _last_box(solution)
    if answer is None:
        raise ValueError("`solution` holds no complete \\boxed{} with an answer")
    return _text(row.get("problem"), "problem"), answer, solution


def _read_columns(question: str) -> Callable[[dict], tuple[str, str, str | None]]:
    """Rows with the final answer in a column of its own, normalized or not."""

    def read(row):
        answer = "answer_norm" if "answer_norm" in row else "answer"
        text = _text(row.get(question), question)
        return text, _answer(row.get(answer), answer), _solution(row)

    return read


# Earlier rows win: the first layout that recognizes a file reads it.
LAYOUTS = {
    "verl": Layout(_has("prompt", "reward_model"), _read_verl),
    "gsm8k": Layout(_is_gsm8k, _read_gsm8k),
    "problem": Layout(_has("problem", "answer"), _read_columns("problem")),
    "question": Layout(_has("question", "answer"), _read_columns("question")),
    "math": Layout(_has("problem", "solution"), _read_math),
}
