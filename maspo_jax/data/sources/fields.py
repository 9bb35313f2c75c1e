"""What one field of a row says: a question, a gold answer, a worked solution.

Every function takes a value as a file holds it, of any type, and the name of its
field. It returns text, or raises a ValueError that names the field at fault.
"""

import json
import math
import re
from typing import Any

from maspo_jax.data.prompts import templates

_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s*")


class Unanswered(ValueError):
    """A row has no answer: its field is missing, null or blank."""


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


def question(value: Any, field: str) -> str:
    """Returns a bare question, from text, a chat, or JSON text of a chat.

    A system turn and the instructions of known templates are left out: how a problem
    is asked is the experiment's choice, and asking twice confuses a policy.
    """
    return templates.strip_instructions(text(_asked(value, field), field))


def _asked(value: Any, field: str) -> Any:
    """Returns what the user of a chat says; anything else as it is."""
    if isinstance(value, str) and value.lstrip().startswith("[{"):
        try:
            value = json.loads(value)
        except ValueError:
            return value  # text that only looks like a chat
    if not isinstance(value, list):
        return value
    turns = [turn for turn in value if isinstance(turn, dict)]
    asked = [turn.get("content") for turn in turns if turn.get("role") == "user"]
    if len(asked) != 1:
        raise ValueError(f"`{field}` has {len(asked)} user turns instead of one")
    return asked[0]


def answer(value: Any, field: str) -> str:
    """Returns a gold answer as text.

    The number 27.0 is `27`, a list of one is its element, `025` of AIME is `25`, and
    numbers and target of Countdown are JSON. Any other text stays as it is written.
    """
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, list) and len(value) > 1:
        raise ValueError(
            f"`{field}` is a list of {len(value)} answers, expected one: write them "
            "as one, or use schema 'forms' if they are forms of the same answer"
        )
    if isinstance(value, dict) and "target" in value:
        return countdown(value)
    if isinstance(value, float) and math.isfinite(value):
        value = repr(int(value) if value.is_integer() else value)
    elif isinstance(value, int) and not isinstance(value, bool):
        value = repr(value)
    if value is None or value == [] or (isinstance(value, str) and not value.strip()):
        raise Unanswered(f"`{field}` is missing, null or empty")
    gold = text(value, field).strip()
    if "####" in gold:
        raise ValueError(f"`{field}` is a worked solution, not a final answer")
    return str(int(gold)) if re.fullmatch(r"0[0-9]{2}", gold) else gold


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
    _, marker, gold = text(value, field).rpartition("####")
    gold = re.sub(r"(?<=\d),(?=\d{3})", "", gold).strip()
    if not (marker and gold and "\n" not in gold):
        raise ValueError(f"`{field}` does not end in `#### N`")
    return gold


def last_box(value: Any, field: str) -> str:
    r"""Returns what the last complete `\boxed{...}` holds.

    A box that is never closed is not complete. TeX lets the braces around a short
    argument be left out, and some solutions of MATH do: `\boxed 3` holds `3`.
    """
    solution = text(value, field)
    for start in reversed([match.end() for match in _BOX.finditer(solution)]):
        rest = solution[start:]
        content = _braced(rest) if rest[:1] == "{" else re.match(r"[^\s$}]*", rest)[0]
        if content is not None and content.strip():
            return content.strip()
    raise ValueError(f"`{field}` holds no complete \\boxed{{}} with an answer")


def _braced(written: str) -> str | None:
    """Returns what stands between the first brace and the one that closes it."""
    depth = 0
    # A backslash and its neighbor are one token: `\{` opens nothing.
    for token in re.finditer(r"\\.|[{}]", written, re.DOTALL):
        depth += {"{": 1, "}": -1}.get(token[0], 0)
        if depth == 0 and token[0] == "}":
            return written[1 : token.start()]
    return None
