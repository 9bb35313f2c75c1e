"""What one field of a row says: a question, a gold answer, a worked solution.

Every function takes a value as a file holds it, of any type, and the name of its
field. It returns text, or raises a ValueError that names the field at fault.
"""

import json
import math
import re
from typing import Any

from maspo_jax.data.prompts import markup, templates
from maspo_jax.data.prompts.chat import THINK, THOUGHT
from maspo_jax.data.sources import chats, golds

_HASHES = templates.HASHES
# The beginning of a chat that Python, not JSON, has written.
_REPR = re.compile(r"(?:array\()?\[?\s*\{\s*['\"](?:role|content|from|value)['\"]\s*:")


# The place of a picture in a text.
_PICTURE = re.compile(
    r"<(?:image|video)(?:_?\d+)?>|<\|(?:image|video)[a-z_]*\|>|<\|vision_start\|>|<img\b"
)


def text(value: Any, field: str) -> str:
    """Returns the text of a field; refuses null, blank and anything but text."""
    if value is None:
        raise ValueError(f"`{field}` is missing or null")
    if not isinstance(value, str):
        shown = json.dumps(value, default=str)[:80]
        raise ValueError(f"`{field}` is not text but {shown}")
    if not value.strip():
        raise ValueError(f"`{field}` is empty")
    return value


def record(value: Any, field: str, needed: bool = True) -> dict:
    """Returns a struct, which may be JSON text; {} where there is none.

    Text that is no struct is refused, unless it need not be one.
    """
    is_text = isinstance(value, str) and value.strip()
    if is_text and (needed or value.lstrip()[0] == "{"):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise ValueError(
                f"`{field}` is text that is no JSON object: {value[:40]!r}"
            ) from error
    return value if isinstance(value, dict) else {}


def question(value: Any, field: str) -> str:
    """Returns a bare question, from text, a chat, or JSON text of a chat.

    A system turn, the markup of a rendered chat and the instructions of known templates
    are left out: how a problem is asked is the experiment's choice, and asking twice
    confuses a policy.
    """
    asked = text(_asked(value, field), field)
    if _REPR.match(asked.lstrip()) or _is_json_object(asked):
        raise ValueError(
            f"`{field}` is text that looks like a chat and is no JSON list of "
            f"turns ({asked[:40]!r}): write it with json.dumps, or the question alone"
        )
    bare = templates.strip_instructions(asked)
    mark = markup.find_markup(bare)
    if mark:
        raise ValueError(
            f"`{field}` holds `{mark}` of a rendered chat, which a template would "
            "render again: give the bare question"
        )
    picture = _PICTURE.search(bare)
    if picture:
        raise ValueError(f"`{field}` asks about `{picture[0]}`, which text cannot show")
    return bare


def _asked(value: Any, field: str) -> Any:
    """Returns what the user of a chat says; anything else as it is."""
    is_chat = isinstance(value, list) or (
        isinstance(value, str) and _is_chat_text(value)
    )
    return chats.said(value, field, chats.USERS)[0] if is_chat else value


def _is_chat_text(value: str) -> bool:
    if not value.lstrip().startswith("[{"):
        return False
    try:
        json.loads(value)
    except ValueError:
        return False  # text that only looks like a chat
    return True


def _is_json_object(asked: str) -> bool:
    try:
        return asked.lstrip()[:1] == "{" and isinstance(json.loads(asked), dict)
    except ValueError:
        return False


def answer(value: Any, field: str) -> str:
    """Returns a gold answer as text.

    The number 27.0 is `27`, a list of one is its element, `025` of AIME is `25`, and
    numbers and target of Countdown are JSON. JSON text of a list of texts, or of one
    text, is what it holds. Any other text stays as it is written.
    """
    value = golds.unwrapped(value, field)
    if isinstance(value, list) and len(value) > 1:
        raise golds.SeveralAnswers(
            f"`{field}` is a list of {len(value)} answers, expected one"
        )
    if isinstance(value, dict) and "target" in value:
        return countdown(value)
    if isinstance(value, float) and math.isfinite(value):
        value = repr(int(value) if value.is_integer() else value)
    elif isinstance(value, int) and not isinstance(value, bool):
        value = repr(value)
    if value is None or value == [] or (isinstance(value, str) and not value.strip()):
        raise golds.Unanswered(f"`{field}` is missing, null or empty")
    gold = text(value, field).strip()
    if _HASHES in gold:
        raise ValueError(f"`{field}` is a worked solution, not a final answer")
    gold = golds.final(gold, field)
    return str(int(gold)) if re.fullmatch(r"0[0-9]{2}", gold) else gold


def turn(value: Any, field: str) -> tuple[str, str | None]:
    """Returns the gold and the worked solution of what an assistant says.

    It is a worked solution where it has a box or ends `#### N`, and may else only be a
    final answer: a gold of many words would be one that nobody can give.
    """
    if isinstance(value, str) and value.strip():
        if THINK in value or golds.BOX.search(value):
            return last_box(value, field), value
        if _HASHES in value:
            return after_hashes(value, field), value
        if (
            "\n" in value.strip()
            or golds.words_of(value) > golds.SHORT
            or golds.is_prose(value)
        ):
            raise ValueError(
                f"`{field}` holds a solution without a complete \\boxed{{}} around its "
                f"answer: {value[:40]!r}"
            )
    return answer(value, field), None


def countdown(row: dict) -> str:
    """Returns the gold of a Countdown task, which many expressions solve."""
    numbers = row.get("numbers", row.get("nums"))
    if not (isinstance(numbers, list) and numbers and row.get("target") is not None):
        raise ValueError("`nums` and `target` of a Countdown task are not both there")
    for number in (*numbers, row["target"]):
        if type(number) not in (int, float) or not math.isfinite(number):
            raise ValueError(
                f"{number!r} of a Countdown task is no number: no answer could be right"
            )
    for number in numbers:
        if number < 0 or number != int(number):
            raise ValueError(
                f"{number!r} of a Countdown task is not a whole number of at least 0, "
                "and no answer can write another"
            )
    return json.dumps({"numbers": numbers, "target": row["target"]})


def worked(value: Any) -> str | None:
    """Returns a worked solution, None where there is none."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, str) and value.strip() else None


def after_hashes(value: Any, field: str) -> str:
    """Returns N of a solution that ends `#### N`, without thousands commas."""
    _, marker, gold = text(value, field).rpartition(_HASHES)
    gold = re.sub(r"(?<=\d),(?=\d{3})", "", gold).strip()
    if not (marker and gold and "\n" not in gold):
        raise ValueError(f"`{field}` does not end in `#### N`")
    return golds.final(gold, field)


def last_box(value: Any, field: str) -> str:
    r"""Returns what the last complete `\boxed{...}` behind any reasoning holds.

    A box that is never closed is not complete. TeX lets the braces around a short
    argument be left out, and some solutions of MATH do: `\boxed 3` holds `3`.
    """
    whole = text(value, field)
    _, closed, solution = whole.rpartition(THOUGHT)
    if THINK in solution:
        raise ValueError(f"`{field}` ends within its reasoning: {THINK} never closes")
    for start in reversed([match.end() for match in golds.BOX.finditer(solution)]):
        rest = solution[start:]
        content = _braced(rest) if rest[:1] == "{" else re.match(r"[^\s$}]*", rest)[0]
        if content is not None and content.strip():
            return golds.final(content.strip(), field)
    behind = f" behind {THOUGHT}" if closed else ""
    raise ValueError(f"`{field}` holds no complete \\boxed{{}} with an answer{behind}")


def _braced(written: str) -> str | None:
    """Returns what stands between the first brace and the one that closes it."""
    depth = 0
    # A backslash and its neighbor are one token: `\{` opens nothing.
    for token in re.finditer(r"\\.|[{}]", written, re.DOTALL):
        depth += {"{": 1, "}": -1}.get(token[0], 0)
        if depth == 0 and token[0] == "}":
            return written[1 : token.start()]
    return None


# Columns that hold what a text cannot show, and those that say what a row is about.
_PICTURES = re.compile(r"(?:decoded_)?(?:image|picture|video|audio)s?(?:_\d+)?")
_SUBJECTS = (
    "ability", "task", "task_type", "task_name", "domain", "category", "dataset",
)  # fmt: skip
_PROGRAMMING = re.compile(
    r"(?:verifiable[_-])?cod(?:e|ing|egen)(?:[_-]\w+)?|programming"
)


def check_row(row: dict) -> None:
    """Refuses a row that is no problem of mathematics in text.

    Raises:
        ValueError: it has pictures, or asks for a program; the message names the field.
    """
    for name, value in row.items():
        if _PICTURES.fullmatch(name.lower()) and _holds(value):
            raise ValueError(
                f"the row has pictures in `{name}`, which text cannot show"
            )
    for name in _SUBJECTS:
        about = worked(row.get(name)) or ""
        if _PROGRAMMING.fullmatch(about.lower()):
            raise ValueError(
                f"`{name}` is {about!r}: the row is no math problem, and the tests "
                "of a program are no answer"
            )


def _holds(value: Any) -> bool:
    """Returns whether a column of pictures has one."""
    if isinstance(value, dict):
        return any(map(_holds, value.values()))
    if isinstance(value, list):
        return any(map(_holds, value))
    return value not in (None, "", b"", False)
