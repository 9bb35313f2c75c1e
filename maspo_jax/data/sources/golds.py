"""What a gold answer is, and what only stands in its place.

Sets mark rows without an answer by a word, keep the answer as JSON text, or mix in the
tests of programs. As golds, each would be an answer that no response could give, or one
that any could.
"""

import json
import re
from typing import Any

from maspo_jax.data.prompts import markup

BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s*")
# Around the reasoning of a response, of all the kinds that graders take off it.
_KINDS = "think|thinking|thought|reasoning|seed:think"
OPENS = re.compile(rf"<(?:(?:{_KINDS})|\|begin_of_thought\|)>", re.IGNORECASE)
CLOSES = re.compile(rf"</(?:{_KINDS})>|<\|end_of_thought\|>", re.IGNORECASE)

# What sets write in the place of an answer: NuminaMath the first two. Words that may
# also be an answer ("none", "undefined", "no solution", "impossible") are not there.
_SUBJECT = (
    r"(?:an? |the )?(?:final |correct |exact |short |reference |gold )?"
    r"(?:answer|ground truth|label|proof|solution|explanation|result|value)s?"
)
_NOT_GIVEN = (
    r"(?:(?:is |was )?not (?:yet )?(?:found|given|provided|available|stated|known|"
    r"specified|supplied|recorded|included|required|needed|applicable|solved|"
    r"answered|shown)|(?:is |was )?(?:omitted|missing|pending|unavailable|hidden|"
    r"unknown|withheld|redacted)|left (?:to|as|for) .{1,40})"
)
_NO_ANSWER = re.compile(
    r"proof|proved?|proven|proofs?|q\.? ?e\.? ?d|n/a|<na>|nan|<nan>|null|omitted|"
    r"notfound|unanswered|unsolved|unknown|unspecified|unavailable|missing|error|"
    r"exception|timeout|failed|tbd|tba|tbc|todo|to be (?:determined|done|added)|"
    r"placeholder|object object|<(?:unk|none|null|missing|empty|answer|unknown)>|"
    r"no (?:final |correct |valid |reference |short |numeric |gold )?"
    r"(?:answer|label|ground truth|final answer)s?"
    r"(?: (?:is |was )?(?:given|found|provided|available|required|needed|yet))?|"
    r"no (?:solution|proof)s? (?:given|provided|available)|"
    r"none (?:given|provided|available|found|stated)|"
    rf"{_NOT_GIVEN}|{_SUBJECT} {_NOT_GIVEN}|"
    r"(?:please |kindly )?(?:see|refer to|look at)(?: [a-z0-9.,'-]+){1,8}|"
    r"(?:as |shown |given )+(?:above|below)|same as (?:above|below)"
)
_WRAPPERS = re.compile(
    r"\\(?:text|mbox|mathrm|textbf|textit|boxed)\b|[${}\\()\[\]\"'`*]"
)
_PYTHON_NONE = re.compile(r"\s*None\.?\s*")  # as `str(None)` writes it
_EMPTY = re.compile(
    r"(?:\\(?:boxed|text|mbox)\s*\{\s*\}|\$|\\[\[\]()]|\\[lc]?dots\b"
    r"|[-‐-―_.…?!,;:#~'\"`“”‘’]|\{\s*\}|\[\s*\]|\s)*"
)

_CODE = re.compile(
    r"```|^\s*(?:def \w+\(|class \w+[:(]|import [\w.]+(?: as \w+)?\n|from \S+ import "
    r"|#include|#!/|assert |print\(|for \w+ in .*:|<\?php|package \w+;|using [\w.]+;"
    r"|import [\w.*]+;|(?:public|private|protected|static|void|final) [\w<>\[\], ]+[({]"
    r"|(?:int|void|float|double|bool|char|string|auto|long) \w+\s*\([^)]*\)\s*\{"
    r"|(?:async )?function\*? ?\w*\s*\([^)]*\)\s*\{|(?:func|fn|fun) \w+\s*\("
    r"|(?:const|let|var) \w+\s*=.*;|\w+ = lambda\b|lambda \w+\s*:"
    r"|(?i:select)\s.+?\s(?i:from)\s+\w|(?i:insert\s+into|delete\s+from)\s+\w"
    r"|(?i:create|drop|alter)\s+(?i:table|view|index)\s|(?i:update)\s+\w+\s+(?i:set)\s"
    r"|(?i:with)\s+\w+\s+(?i:as)\s*\("
    r")"
    r"|\b(?:console\.log|System\.out|printf|std::\w+|cout\s*<<|println!?)\b"
    r"|\breturn\b[^;\n]*;\s*\}",
    re.MULTILINE,
)
_FILE = r"[\w./\\:%~-]+\.(?:png|jpe?g|gif|svg|webp|bmp|tiff?|pdf|eps)"
_PICTURE = re.compile(
    r"!\[[^\]]*\]\s*[(\[]|<(?:img|svg|image|figure|picture)\b|\[/?asy\]|data:image/"
    r"|\\begin\{(?:asy|asydef|tikzpicture|picture|figure|pspicture)\}"
    r"|\\(?:includegraphics|tikz|psfig)\b|<\|?image[\w]*\|?>"
    rf"|\A{_FILE}\Z",
    re.IGNORECASE,
)
_LINK = re.compile(r"\A<?(?:https?|ftp|file|s3|gs)://\S+\Z|\Awww\.\S+\Z", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]{2,}")
_MATH = re.compile(r"\$[^$]*\$|\\\(.*?\\\)|\\[A-Za-z]+", re.DOTALL)
_SENTENCE_ENDS = re.compile(
    r"[a-z)]{2}(?<!\b(?:Mr|Dr|St|vs|no|No|sq|cu|ft|in|yr|hr|lb|oz))"
    r"[.!?][\"')]?\s+[\"'(]?[A-Z$\\]"
)
_LONGEST = 20  # words of a final answer; of 20,000 real ones the longest has 12
SHORT = 3  # of what a turn may say without a box; one of those has more
# JSON text of a list of one number or truth value; with a letter it is mathematics.
_SCALAR = re.compile(r"\[\s*(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false|null)\s*\]")
_TAGGED = re.compile(r"\s*<(answer|final_answer|ans)>(.*)</\1>\s*", re.DOTALL)


class Unanswered(ValueError):
    """A row has no answer: its field is missing, null, blank or says so."""


class SeveralAnswers(ValueError):
    """A field lists several answers, which may be forms of one."""


def unwrapped(value: Any, field: str) -> Any:
    """Returns the element of a list of one, which may be JSON text of such a list.

    Text loses the tag `<answer>` around it, and the end tokens of a policy behind it.
    """
    if isinstance(value, str):
        value = _bare(value)
    held = _decoded(value, field) if isinstance(value, str) else value
    if not isinstance(held, list) or len(held) != 1:
        return held
    return unwrapped(held[0], field) if _is_text(held[0]) else held[0]


def _bare(gold: str) -> str:
    gold = markup.without_ends(gold)
    tagged = _TAGGED.fullmatch(gold)
    return (tagged[2] if tagged else gold).strip()


def _decoded(gold: str, field: str) -> Any:
    """Returns what JSON text stands for, and any other text as it is.

    `[0, 1]` and `{1, 2}` are mathematics: JSON is what has a text or a name in it, or
    is a list of one.
    """
    scalar = _SCALAR.fullmatch(gold)
    if scalar:
        return None if scalar[1] == "null" else scalar[1]
    if re.match(r"(?:np\.)?(?:array|list|tuple)\(\s*[\[(]", gold):
        raise ValueError(
            f"`{field}` is a list as Python prints it ({gold[:40]!r}): write the "
            "answer alone"
        )
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
            ", such as the tests of a program: write the answer alone"
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
    """Returns a final answer; refuses what marks its absence, code, pictures and prose.

    Raises:
        Unanswered: it is a word such as `proof` or `notfound`.
        ValueError: it is the source of a program, a picture, several boxes, several
            sentences, or has a tag of reasoning.
    """
    if marks_absence(gold):
        raise Unanswered(f"`{field}` is {gold[:40]!r}, which is no answer")
    picture = _PICTURE.search(gold)
    if picture or _LINK.match(gold.strip()):
        what = "a picture" if picture else "a link"
        raise ValueError(
            f"`{field}` is {what}, which no text can answer: {gold[:40]!r}"
        )
    if _CODE.search(gold):
        raise ValueError(f"`{field}` is code, not a final answer: {gold[:40]!r}")
    tag = OPENS.search(gold) or CLOSES.search(gold)
    if tag:
        raise ValueError(
            f"`{field}` has the reasoning tag {tag[0]} in it ({gold[:60]!r}): write "
            "the answer alone"
        )
    if is_prose(gold):
        raise ValueError(f"`{field}` is prose, not a final answer: {gold[:60]!r}")
    boxed = dict.fromkeys("".join(each.split()) for each in boxes(gold))
    if len(boxed) > 1:
        raise ValueError(
            f"`{field}` has {len(boxed)} boxes with different contents "
            f"({', '.join(boxed):.60}): write the answer alone"
        )
    return gold


def marks_absence(gold: str) -> bool:
    """Returns whether a text stands where an answer is missing."""
    if _PYTHON_NONE.fullmatch(gold) or _EMPTY.fullmatch(gold):
        return True
    bare = _WRAPPERS.sub("", gold).strip(" .:;!?-\n\t").casefold()
    return bool(_NO_ANSWER.fullmatch(" ".join(re.split(r"[\s_]+", bare))))


def boxes(written: str) -> list[str]:
    r"""Returns what the complete `\boxed{...}` of a text hold, in order, none blank.

    TeX lets the braces around a short argument be left out, and some solutions of MATH
    do: `\boxed 3` holds `3`.
    """
    found, end = [], 0
    for match in BOX.finditer(written):
        start = match.end()
        if start < end:  # a box in a box
            continue
        rest = written[start:]
        if rest[:1] == "{":
            content = _braced(rest)
        else:
            content = re.match(r"[^\s$}]*", rest)[0]
        if content is not None and content.strip():
            found.append(content.strip())
            end = start + len(content)
    return found


def _braced(written: str) -> str | None:
    """Returns what stands between the first brace and the one that closes it."""
    depth = 0
    # A backslash and its neighbor are one token: `\{` opens nothing.
    for token in re.finditer(r"\\.|[{}]", written, re.DOTALL):
        depth += {"{": 1, "}": -1}.get(token[0], 0)
        if depth == 0 and token[0] == "}":
            return written[1 : token.start()]
    return None


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
