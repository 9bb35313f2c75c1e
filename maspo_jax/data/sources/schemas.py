"""The conventions of columns that files of problems follow.

    row --detect--> Schema --parse--> question, answer, solution

Supporting another is a row of `SCHEMAS`; a file that follows none can name its
columns with `Columns`.
"""

import contextlib
import dataclasses
from collections.abc import Callable

from maspo_jax.data.sources import chats, fields, golds

# Question, gold answer and, where known, a worked solution.
Parts = tuple[str, str, str | None]


@dataclasses.dataclass(frozen=True)
class Schema:
    """One convention of columns.

    `detect` says whether a row follows it; `parse` returns the parts of a row, or
    raises a ValueError that names the field at fault.
    """

    detect: Callable[[dict], bool]
    parse: Callable[[dict], Parts]


@dataclasses.dataclass(frozen=True)
class Columns:
    """The columns of a file that follows no known schema.

    The question may be text or a chat, the answer text or a number.
    """

    question: str
    answer: str
    solution: str = "solution"  # may be absent

    def parse(self, row: dict) -> Parts:
        """Returns the parts of a row."""
        asked = fields.question(row.get(self.question), self.question)
        written = row.get(self.answer)
        gold = fields.answer(written, self.answer)
        solution = fields.worked(row.get(self.solution), self.solution)
        if solution is None and fields.is_worked(written):
            solution = written
        return asked, gold, solution


def recognize(row: dict) -> str | None:
    """Returns the name of the first schema that a row follows, None for none."""
    return next((name for name, known in SCHEMAS.items() if known.detect(row)), None)


def columns_asked(row: dict, parser: "Schema | Columns") -> set[str]:
    """Returns the columns that the parts of a row are looked for in."""
    asked = _Asked(row)
    with contextlib.suppress(ValueError):  # of a row without an answer
        parser.parse(asked)
    return asked.names


class _Asked(dict):
    """A row that remembers which of its columns were asked for."""

    def __init__(self, row: dict):
        super().__init__(row)
        self.names = set()

    def __getitem__(self, column):
        self.names.add(column)
        return super().__getitem__(column)

    def forms(self):
        """Returns the row with the first of each list of forms, which remembers too."""
        self.names.clear()
        first = _Asked(_first_forms(self))
        first.names = self.names
        return first

    def get(self, column, default=None):
        self.names.add(column)
        return super().get(column, default)


def _has(*columns: str) -> Callable[[dict], bool]:
    return lambda row: row.keys() >= set(columns)


def _follows(first: str, second: str) -> Schema:
    """The schema of a question and a final answer in two columns."""
    return Schema(_has(first, second), Columns(first, second).parse)


def _parse_verl(row: dict) -> Parts:
    """Rows prepared for verl: a chat, and the gold of a rule."""
    rule = fields.record(row.get("reward_model"), "reward_model")
    extra = fields.record(row.get("extra_info"), "extra_info", needed=False)
    bare = next((name for name in ("raw_problem", "question") if extra.get(name)), None)
    if bare:
        chats.check_prompt(row.get("prompt"), "prompt")
        asked = fields.question(extra[bare], f"extra_info.{bare}")
    else:
        asked = fields.question(row.get("prompt"), "prompt")
    gold = fields.answer(rule.get("ground_truth"), "reward_model.ground_truth")
    return asked, gold, fields.worked(extra.get("answer"), "extra_info.answer")


def _parse_countdown(row: dict) -> Parts:
    """Countdown: any expression of the numbers that makes the target is right."""
    gold = fields.countdown(row)
    asked = row.get("problem") or (
        f"Write an expression that equals {row['target']}. Use each of the numbers "
        f"{row['nums']} exactly once, and nothing else but +, -, *, / and brackets."
    )
    return fields.text(asked, "problem"), gold, None


def _parse_boba(row: dict) -> Parts:
    """AReaL's boba set: a rendered prompt, and a list of one boxed solution."""
    written = fields.worked(row.get("solutions"), "solutions")
    boxed = written or fields.answer(row.get("solutions"), "solutions")
    gold = fields.last_box(boxed, "solutions")
    return fields.question(row.get("prompt"), "prompt"), gold, None


def _parse_dialog(column: str) -> Callable[[dict], Parts]:
    """A chat whose assistant says the gold: alone, or in the box of a solution."""

    def parse(row):
        said = chats.said(row.get(column), column)
        asked = fields.question(row.get(column), column)
        if len(said) != 1:
            raise ValueError(
                f"`{column}` has {len(said)} assistant turns instead of one: name the "
                f"column of the answer with Columns(question={column!r}, answer=...)"
            )
        return asked, *fields.turn(said[0], column)

    return parse


def _parse_worked(question: str, answer: str) -> Callable[[dict], Parts]:
    """GSM8K as released: the answer is a worked solution that ends `#### N`."""

    def parse(row):
        gold = fields.after_hashes(row.get(answer), answer)
        return fields.question(row.get(question), question), gold, row[answer]

    return parse


def _parse_output(question: str, answer: str) -> Callable[[dict], Parts]:
    """What a model has answered: a worked solution, or a final answer alone."""

    def parse(row):
        asked = fields.question(row.get(question), question)
        return asked, *fields.turn(row.get(answer), answer)

    return parse


def _parse_alpaca(row: dict) -> Parts:
    """Alpaca: an instruction, and what it is about in a column of its own."""
    asked, gold, solution = _parse_output("instruction", "output")(row)
    context = fields.optional(row.get("input"), "input")
    return (f"{asked}\n\n{context}" if context else asked), gold, solution


def _parse_boxed(row: dict) -> Parts:
    """MATH as released: the answer is boxed in the solution."""
    gold = fields.last_box(row.get("solution"), "solution")
    return fields.question(row.get("problem"), "problem"), gold, row["solution"]


def _parse_trl(row: dict) -> Parts:
    """TRL: the solution is a worked one with a box, or only the final answer."""
    asked = fields.question(row.get("prompt"), "prompt")
    written = fields.worked(row.get("solution"), "solution")
    if written and golds.BOX.search(written):
        return asked, fields.last_box(written, "solution"), written
    solution = fields.answer(row.get("solution"), "solution")
    if "\n" in solution:
        raise ValueError("`solution` has several lines and no \\boxed{} answer")
    return asked, solution, None


def _parse_olympiad(row: dict) -> Parts:
    """OlympiadBench: some questions refer to a context in a column of its own."""
    asked, gold, solution = Columns("question", "final_answer").parse(row)
    context = fields.optional(row.get("context"), "context")
    return (f"{context}\n{asked}" if context else asked), gold, solution


def _parse_problem(row: dict) -> Parts:
    """A final answer, or where there is one its normalized form."""
    answer = "answer_norm" if "answer_norm" in row else "answer"
    return Columns("problem", answer).parse(row)


def _parse_forms(row: dict) -> Parts:
    """The first of several forms of one answer, in the columns of any other schema."""
    name = recognize(row)
    if name is None:
        raise ValueError(f"no schema has the columns {', '.join(row)}")
    first = row.forms() if isinstance(row, _Asked) else _first_forms(row)
    return SCHEMAS[name].parse(first)


def _first_forms(row):
    first = {column: _first(value) for column, value in row.items()}
    rule = first.get("reward_model")
    if isinstance(rule, dict):
        first["reward_model"] = {key: _first(value) for key, value in rule.items()}
    return first


def _first(value):
    """Returns the first of a list of texts or numbers; anything else as it is."""
    plain = isinstance(value, list) and all(
        isinstance(v, str | int | float) for v in value
    )
    return value[:1] if plain else value


def _ends_in_hashes(*columns: str) -> Callable[[dict], bool]:
    """Other sets keep a final answer in the same two columns."""
    return lambda row: _has(*columns)(row) and "####" in str(row[columns[1]])


def _has_output(*columns: str) -> Callable[[dict], bool]:
    """Of columns that other sets use otherwise: what a model writes is one text."""
    return lambda row: _has(*columns)(row) and isinstance(row[columns[1]], str)


def _is_dialog(column: str) -> Callable[[dict], bool]:
    return lambda row: chats.is_chat(row.get(column))


def _never(row: dict) -> bool:
    """For what no row says about itself: such a schema is only ever named."""
    del row
    return False


# Earlier rows win: the first schema that recognizes a file reads it.
SCHEMAS = {
    "countdown": Schema(_has("target", "nums"), _parse_countdown),
    "verl": Schema(_has("prompt", "reward_model"), _parse_verl),
    "areal_boba": Schema(_has("prompt", "solutions"), _parse_boba),
    "roll": _follows("prompt", "ground_truth"),
    "open_reasoner": _follows("prompt", "final_answer"),
    "slime": _follows("prompt", "label"),
    "prompt": _follows("prompt", "answer"),  # TTRL, SimpleRL, verifiers
    "trl": Schema(_has("prompt", "solution"), _parse_trl),
    "open_instruct": _follows("messages", "ground_truth"),
    "areal": Schema(
        _ends_in_hashes("messages", "answer"), _parse_worked("messages", "answer")
    ),
    "messages": _follows("messages", "answer"),
    "nemo": _follows("problem", "expected_answer"),
    "gsm8k": Schema(
        _ends_in_hashes("question", "answer"), _parse_worked("question", "answer")
    ),
    # MATH-500, DeepScaleR, AMC, and what this package writes.
    "problem": Schema(_has("problem", "answer"), _parse_problem),
    "aime": Schema(
        _has("Problem", "Answer"), Columns("Problem", "Answer", "Solution").parse
    ),
    "olympiadbench": Schema(_has("question", "final_answer"), _parse_olympiad),
    "question": _follows("question", "answer"),  # OpenRLHF, verifiers, Minerva
    "math": Schema(_has("problem", "solution"), _parse_boxed),  # NuminaMath, Minerva
    # NeMo-RL, Mixture-of-Thoughts, Nemotron.
    "nemo_dialog": Schema(_has("messages"), _parse_dialog("messages")),
    # ShareGPT, and rows of Open-Reasoner-Zero, which are chats themselves.
    "sharegpt": Schema(_is_dialog("conversations"), _parse_dialog("conversations")),
    "alpaca": Schema(_has_output("instruction", "output"), _parse_alpaca),
    "nemotron": Schema(
        _has_output("input", "output"), _parse_output("input", "output")
    ),
    "metamath": Schema(
        _has_output("query", "response"), _parse_output("query", "response")
    ),
    "completion": Schema(  # TRL, for supervised learning
        _has_output("prompt", "completion"), _parse_output("prompt", "completion")
    ),
    "forms": Schema(_never, _parse_forms),
}
