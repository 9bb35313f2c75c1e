"""What a gold answer is, and what only stands in its place.

Sets mark rows without an answer by a word, keep the answer as JSON text, or mix in the
tests of programs. As golds, each would be an answer that no response could give, or one
that any could.
"""

import json
import re
from typing import Any

from maspo_jax.data.prompts.chat import THINK, THOUGHT

BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s*")
# Words that sets have in the place of an answer: NuminaMath the first two.
_NO_ANSWER = frozenset(
    "proof,notfound,not found,n/a,nan,null,no answer,unanswered,see solution,see proof,"
    "omitted,qed,not available,not provided".split(",")
)
_EMPTY = re.compile(r"(?:\\(?:boxed|text|mbox)\s*\{\s*\}|\$|\\[\[\]()]|\s)*")
_CODE = re.compile(
    r"```|^\s*(?:def \w+\(|class \w+[:(]|import [\w.]+(?: as \w+)?\n|from \S+ import "
    r"|#include|assert |print\(|for \w+ in .*:)",
    re.MULTILINE,
)
_WORD = re.compile(r"[^\W\d_]{2,}")
_MATH = re.compile(r"\$[^$]*\$|\\\(.*?\\\)|\\[A-Za-z]+", re.DOTALL)
_SENTENCE_ENDS = re.compile(
    r"[a-z)]{2}(?<!\b(?:Mr|Dr|St|vs|no|No|sq|cu|ft|in|yr|hr|lb|oz))"
    r"[.!?][\"')]?\s+[\"'(]?[A-Z$\\]"
)
_LONGEST = 20  # words of a final answer; of 20,000 real ones the longest has 12
SHORT = 3  # of what a turn may say without a box; one of those has more


class Unanswered(ValueError):
    """A row has no answer: its field is missing, null, blank or says so."""


class SeveralAnswers(ValueError):
    """A field lists several answers, which may be forms of one."""


def unwrapped(value: Any, field: str) -> Any:
    """Returns the element of a list of one, which may be JSON text of such a list."""
    held = _decoded(value.strip(), field) if isinstance(value, str) else value
    if not isinstance(held, list) or len(held) != 1:
        return held
    return unwrapped(held[0], field) if _is_text(held[0]) else held[0]


def _decoded(gold: str, field: str) -> Any:
    """Returns what JSON text stands for, and any other text as it is.

    `[0, 1]` and `{1, 2}` are mathematics: JSON is what has a text or a name in it.
    """
    if not re.match(r"\"|[\[\s]*\[\s*[\"'{\]]|\{\s*[\"']", gold):
        return gold
    try:
        value = json.loads(gold)
    except ValueError as error:
        if re.match(r"\[\s*[\"']|\[?\s*\{\s*[\"'][^\"']*[\"']\s*:", gold):
            raise ValueError(
                f"`{field}` looks like a list or an object and is no JSON "
                f"({gold[:40]!r}): write the answer alone"
            ) from error
        return gold
    if isinstance(value, dict) and "target" in value:
        return value
    objects = value if isinstance(value, list) else [value]
    if objects and all(isinstance(each, dict) for each in objects):
        names = {name for each in objects for name in each}
        raise ValueError(
            f"`{field}` is no final answer but JSON with {', '.join(sorted(names)[:5])}"
            ", such as the tests of a program"
        )
    if re.search(r"[\x00-\x1f]", "".join(filter(_is_text, objects))):
        raise ValueError(
            f"`{field}` is JSON text whose backslashes are not doubled "
            f"({gold[:40]!r}): write the answer alone"
        )
    return value


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def final(gold: str, field: str) -> str:
    """Returns a final answer; refuses what marks its absence, code and prose.

    Raises:
        Unanswered: it is a word such as `proof` or `notfound`.
        ValueError: it is the source of a program, reasoning or several sentences.
    """
    bare = re.sub(r"\\(?:text|mbox|mathrm|textbf|boxed)\b|[${}\\()\[\]]", "", gold)
    if bare.strip(" .").casefold() in _NO_ANSWER or _EMPTY.fullmatch(gold):
        raise Unanswered(f"`{field}` is {gold[:40]!r}, which is no answer")
    if _CODE.search(gold):
        raise ValueError(f"`{field}` is code, not a final answer: {gold[:40]!r}")
    if THINK in gold or THOUGHT in gold or is_prose(gold):
        raise ValueError(f"`{field}` is prose, not a final answer: {gold[:60]!r}")
    return gold


def is_prose(gold: str) -> bool:
    """Returns whether a text is sentences, and not an answer in words.

    One that boxes its answer says where it is.
    """
    words = words_of(gold)
    if words < SHORT or BOX.search(gold):
        return False
    whole = words >= SHORT and gold.rstrip().endswith((".", "!", "?"))
    return whole or words > _LONGEST or bool(_SENTENCE_ENDS.search(gold))


def words_of(gold: str) -> int:
    """Returns the number of words outside of formulas."""
    return len(_WORD.findall(_MATH.sub(" ", gold)))
