"""What one field of a row says: a question, a gold answer, a worked solution.

Every function takes a value as a file holds it, of any type, and the name of its
field. It returns text, or raises a ValueError that names the field at fault.
"""

import decimal
import json
import math
import re
from typing import Any

from maspo_jax.data.prompts import markup, templates
from maspo_jax.data.sources import chats, golds

_HASHES = templates.HASHES
_BROKEN = re.compile("[\0\ud800-\udfff]")  # which no tokenizer can write
# MetaMath says its answer once more, behind a solution.
_ANSWER_IS = re.compile(r"(?:\A|\n)\s*The answer is:?[ \t]*(\S[^\n]*?)\s*\Z")
# The beginning of a chat that Python, not JSON, has written.
_REPR = re.compile(r"(?:array\()?\[?\s*\{\s*['\"](?:role|content|from|value)['\"]\s*:")


# The place of a picture in a text.
_PICTURE = re.compile(
    r"<(?:image|video)(?:_?\d+)?>|<\|(?:image|video)[a-z_]*\|>|<\|vision_start\|>|<img\b"
    r"|data:image/"
)
# A picture that the question around it may do without: counted, and said.
_LINK = re.compile(
    r"!\[[^\]]*\]\s*(?:\([^)]*\)|\[[^\]]*\])|\\includegraphics(?:\[[^\]]*\])?\{[^}]*\}"
)


def text(value: Any, field: str) -> str:
    """Returns the text of a field; refuses null, blank and anything but text."""
    if value is None:
        raise ValueError(f"`{field}` is missing or null")
    if not isinstance(value, str):
        shown = json.dumps(value, default=repr)[:80]
        raise ValueError(f"`{field}` is not text but {shown}")
    if not value.strip():
        raise ValueError(f"`{field}` is empty")
    odd = _BROKEN.search(value)
    if odd:
        what = "a NUL character" if odd[0] == "\0" else "half of a surrogate pair"
        raise ValueError(
            f"`{field}` has {what} (U+{ord(odd[0]):04X}) in it, which is no text: "
            f"{value[max(odd.start() - 20, 0) : odd.start()]!r} stands before it"
        )
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
    chats.check_prompt(value, field)
    asked = text(_asked(value, field), field)
    if _REPR.match(asked.lstrip()) or _is_json_object(asked):
        raise ValueError(
            f"`{field}` is text that looks like a chat and is no JSON list of "
            f"turns ({asked[:40]!r}): write it with json.dumps, or the question alone"
        )
    bare = templates.strip_instructions(asked.removeprefix("\ufeff"))
    if any(tag.match(bare.lstrip()) for tag in (golds.OPENS, golds.CLOSES)):
        raise ValueError(
            f"`{field}` begins with the reasoning of a response "
            f"({bare.strip()[:20]!r}): give the bare question"
        )
    mark = markup.find_markup(bare)
    if mark:
        raise ValueError(
            f"`{field}` holds `{mark}` of a rendered chat, which a template would "
            "render again: give the bare question"
        )
    picture = _PICTURE.search(bare)
    if picture:
        raise ValueError(f"`{field}` asks about `{picture[0]}`, which text cannot show")
    if links_to_picture(bare) and not re.search(r"\w", _LINK.sub("", bare)):
        raise ValueError(f"`{field}` is a picture alone, which text cannot show")
    return bare


def links_to_picture(asked: str) -> bool:
    """Returns whether a question has the link to a picture in it, unseen in text."""
    return bool(_LINK.search(asked))


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
    text, is what it holds, a solution that ends `#### N` is N. Any other text stays as
    it is written.
    """
    value = golds.unwrapped(value, field)
    if isinstance(value, list) and len(value) > 1:
        raise golds.SeveralAnswers(
            f"`{field}` is a list of {len(value)} answers, expected one"
        )
    if isinstance(value, dict) and "target" in value:
        return countdown(value)
    if isinstance(value, decimal.Decimal) and value.is_finite():
        value = str(value)
    if isinstance(value, float) and math.isfinite(value):
        value = repr(int(value) if value.is_integer() else value)
    elif isinstance(value, int) and not isinstance(value, bool):
        value = repr(value)
    if isinstance(value, float) and math.isnan(value):  # of a table with gaps
        raise golds.Unanswered(f"`{field}` is NaN, which is no answer")
    if value is None or value == [] or (isinstance(value, str) and not value.strip()):
        raise golds.Unanswered(f"`{field}` is missing, null or empty")
    gold = text(value, field).strip()
    if is_worked(gold):
        return after_hashes(gold, field)
    gold = golds.final(gold, field)
    return str(int(gold)) if re.fullmatch(r"0[0-9]{2}", gold) else gold


def is_worked(value: Any) -> bool:
    """Returns whether a text is a worked solution that marks its answer with ####."""
    return isinstance(value, str) and _HASHES in value and not golds.BOX.search(value)


def turn(value: Any, field: str) -> tuple[str, str | None]:
    """Returns the gold and the worked solution of what an assistant says.

    It is a worked solution where it has a box or ends `#### N`, and may else only be a
    final answer: a gold of many words would be one that nobody can give.
    """
    if isinstance(value, str) and value.strip():
        if golds.OPENS.search(value) or golds.BOX.search(value):
            return last_box(value, field), value
        if _HASHES in value:
            return after_hashes(value, field), value
        said = _ANSWER_IS.search(value)
        if said and (said.start() or "is:" in said[0]):
            return golds.final(said[1].removesuffix("."), field), value
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


def worked(value: Any, field: str) -> str | None:
    """Returns a worked solution, None where there is none."""
    value = _alone(value)
    return optional(value, field) if isinstance(value, str) else None


def optional(value: Any, field: str) -> str | None:
    """Returns text that may be missing, None where it is; refuses anything else."""
    value = _alone(value)
    blank = value in (None, []) or (isinstance(value, str) and not value.strip())
    return None if blank else text(value, field)


def _alone(value: Any) -> Any:
    """Returns the element of a list of one, and anything else as it is."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def after_hashes(value: Any, field: str) -> str:
    """Returns N of a solution that ends `#### N`, without thousands commas."""
    written = text(value, field)
    _, marker, gold = written.rpartition(_HASHES)
    again = _ANSWER_IS.search(gold)
    if again and gold[: again.start()].strip():
        gold = gold[: again.start()]
        if gold.strip() != again[1].removesuffix(".") and gold.strip() != again[1]:
            raise ValueError(
                f"`{field}` has two answers, {gold.strip()[:40]!r} behind {_HASHES} "
                f"and {again[1][:40]!r} at its end"
            )
    gold = re.sub(r"(?<=\d),(?=\d{3})", "", gold).strip()
    if not (marker and gold and "\n" not in gold):
        raise ValueError(
            f"`{field}` does not end in `#### N`: it is no worked solution, and no "
            "final answer"
        )
    return golds.final(gold, field)


def last_box(value: Any, field: str) -> str:
    r"""Returns what the last complete `\boxed{...}` behind any reasoning holds.

    A box that is never closed is not complete.
    """
    whole = text(value, field)
    *_, closed = (None, *golds.CLOSES.finditer(whole))
    solution = whole[closed.end() :] if closed else whole
    opened = golds.OPENS.search(solution)
    if opened:
        raise ValueError(
            f"`{field}` ends within its reasoning: {opened[0]} never closes"
        )
    found = golds.boxes(solution)
    if found:
        return golds.final(found[-1], field)
    behind = f" behind {closed[0]}" if closed else ""
    raise ValueError(f"`{field}` holds no complete \\boxed{{}} with an answer{behind}")


# Columns that hold what a text cannot show, and those that say what a row is about.
_PICTURES = re.compile(r"(?:decoded_)?(?:image|picture|video|audio)s?(?:_\d+)?")
_SUBJECTS = (
    "ability", "task", "task_type", "task_name", "domain", "category", "dataset",
)  # fmt: skip
_PROGRAMMING = re.compile(
    r"(?:verifiable[_-])?cod(?:e|ing|egen)(?:[_-]\w+)?|programming"
)


_CHOICES = re.compile(r"(?:answer_|mc_)?(?:choices|options|alternatives)")


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
        about = worked(row.get(name), name) or ""
        if _PROGRAMMING.fullmatch(about.lower()):
            raise ValueError(
                f"`{name}` is {about!r}: the row is no math problem, and the tests "
                "of a program are no answer"
            )


def check_choices(row: dict, asked: str, gold: str) -> None:
    """Refuses a gold that is the number or the letter of a choice nobody is shown.

    Raises:
        ValueError: the message names the column of the choices, and the choice meant.
    """
    for name, value in row.items():
        offered = _offered(value) if _CHOICES.fullmatch(name.lower()) else []
        index = _index(gold, row, offered)
        if index is None or index >= len(offered):
            continue
        letter = chr(ord("A") + index)
        shown = all(choice in asked for choice in offered)
        if shown and gold.strip("().") == letter:
            continue
        raise ValueError(
            f"the answer {gold!r} is the place of {offered[index][:40]!r} in `{name}`, "
            + (
                ""
                if shown
                else "which the question does not show: write the choices "
                "into the question, each behind its letter, and "
            )
            + ("give " if shown else "")
            + f"the letter {letter} as the answer, or the choice itself"
        )


def _offered(value: Any) -> list[str]:
    """Returns the texts of choices: a list, or a struct of labels and texts."""
    if isinstance(value, dict):
        value = value.get("text", list(value.values()))
    texts = value if isinstance(value, list) else []
    return [str(text) for text in texts] if len(texts) > 1 else []


def _index(gold: str, row: dict, offered: list[str]) -> int | None:
    """Returns which choice a gold counts or names, None where it is one in words."""
    counted = any(type(value) is int and str(value) == gold for value in row.values())
    if gold in offered and not counted:
        return None
    if re.fullmatch(r"[0-9]", gold):
        return int(gold)
    letter = gold.strip("().")
    return ord(letter) - ord("A") if re.fullmatch("[A-J]", letter) else None


def _holds(value: Any) -> bool:
    """Returns whether a column of pictures has one."""
    if isinstance(value, dict):
        return any(map(_holds, value.values()))
    if isinstance(value, list):
        return any(map(_holds, value))
    return value not in (None, "", b"", False)
