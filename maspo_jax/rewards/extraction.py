r"""Where in a response the final answer stands.

    response -> what is no reasoning -> last complete box, else last statement

The box and the statement are found in one pass from the right with `str.rfind`, and
brackets are counted by hand: time is linear in the text whatever it holds, and of the
answer no more than the last `TAIL` characters are looked at. A box that is empty or
never closes is no answer (a cut-off `\boxed{42` may be the head of 420), and neither is
the last number of a text that states none.
"""

import dataclasses
import re

from maspo_jax.rewards.mathematics.language import lexicon

# Around the reasoning of a response; the chat templates of `data` write the same.
THINK, THOUGHT = "<think>", "</think>"
TAIL = 1 << 16  # characters of the response that are searched for a box
STATEMENT = 2_000  # characters at its end that are searched for a statement
CLAUSE = 80  # characters of the clause before "answer", or after "answer to"
LONGEST = 2_000  # characters in an answer; anything longer is no answer
MOST_BOXES = 64  # boxes joined into one list

REASONING_MARK = re.compile(
    r"<(?i:(?P<end>/?)(?P<kind>think|thinking|thought|reasoning|seed:think)"
    r"|\|(?P<side>begin|end)_of_thought\|)>"
)
_BLANK = " \t\r\v\f\xa0"  # what is nothing before a mark at the start of a line
_BARE = re.compile(
    r"(?:[ \t]+(?:\d+(?:\.\d+)?|[A-Za-z])|[ \t]*\\[A-Za-z]+)(?![\w{^/\\([])"
)
_END_TOKENS = (
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "</s>",
    "<｜end▁of▁sentence｜>",
)
_SPACING = (
    "\\quad",
    "\\qquad",
    "\\,",
    "\\;",
    "\\ ",
    "\\text",
    "\\mbox",
    "\\left",
    "\\(",
)
_MARKS = ("*", " ", "_", "\t")  # between "answer" and its verb
_VERBS = ("is:", "is", ":", "：", "=", "equals", "s are:", "s are", "是", "为", "选")
_HEADINGS = ("", "final", "the final", "my final")  # before "answer", alone on a line
_ADVERBS = ("thus ", "therefore ", "hence ", "then ", "indeed ", "simply ")
_HEDGES = lexicon.HEDGES | {"whether", "suppose", "no"}
_CLAUSES = (", which ", ", because ", ", since ")  # after the value
_CONNECTORS = frozenset({"", "and", "or", ",", ";"})


@dataclasses.dataclass(frozen=True, slots=True)
class Extraction:
    """The text of an answer, or None, and the rule that found (or refused) it."""

    text: str | None
    rule: str


class AnswerText(str):
    """What `strip_reasoning` left of a response, so that nobody strips it again."""


def strip_reasoning(response):
    """Returns what of a response is not reasoning; "" if it ends inside reasoning.

    This is the one rule of what is graded: the verifier and every grader go by it.

    The first `<think>` opens reasoning wherever it stands, and what is before it is no
    answer either; the next `</think>` closes it. A `</think>` that nothing in the text
    opened closes the reasoning that the prompt opened: all before it is reasoning. Once
    reasoning was closed, both count at the start of a line alone, and again mean the
    same: within a line they are quoted, as in an answer about them. Other tags,
    `<reasoning>` or `<|begin_of_thought|>`, do the same, each with its own end.
    """
    if isinstance(response, AnswerText):
        return response
    kept, begin, inside, closed = [], 0, None, False
    last, fresh = 0, True  # where the mark before ended, and whether it closes
    for mark in REASONING_MARK.finditer(response):
        gap, kind = response[last : mark.start()].rstrip(_BLANK), mark["kind"] or "of"
        opens = mark["end"] == "" or (mark["side"] or "").lower() == "begin"
        at_start = gap.endswith("\n") or (fresh and not gap)
        end, last, fresh = last + len(gap), mark.end(), not opens
        if inside:
            if not opens and kind.lower() == inside:
                inside, closed, begin = None, True, last
        elif closed and not at_start:
            fresh = False  # quoted
        elif opens:
            kept += [response[begin:end]] if closed else []
            inside = kind.lower()
        else:
            kept, closed, begin = [], True, last
    return AnswerText("" if inside else "".join(kept) + response[begin:])


def extract(response, many=False):
    """Returns the `Extraction` of a response.

    Args:
        response: everything the model wrote, or what `strip_reasoning` left of it.
        many: whether the reference answer is a list, so that a run of boxes
            ("the roots are [1] and [2]") is one answer.
    """
    text = strip_reasoning(response)
    tail = text[-TAIL:]
    start = max(tail.rfind("\\boxed"), tail.rfind("\\fbox"))
    found = _boxed(tail, start, many) if start >= 0 else _stated(text[-STATEMENT:])
    if found.text is None or found.text.strip():
        return found
    return Extraction(None, "empty answer")


def reference(gold):
    """Returns the bare answer of a dataset's reference: unboxed, after any ####."""
    start = gold.rfind("\\boxed")
    if start >= 0:
        end = closing(gold, gold.find("{", start))
        if end > 0:
            return gold[gold.find("{", start) + 1 : end]
    mark = gold.rfind("####")
    return gold[mark + 4 :].strip() if mark >= 0 else gold.strip()


def boxes(text, start):
    """Yields (start, content, end) of complete boxes from `start` leftwards."""
    while start >= 0:
        brace = start + len("\\boxed") if text[start + 1] == "b" else start + 5
        spaced = _BARE.match(text, brace)
        if spaced:  # \boxed 5
            yield start, spaced[0].strip(), spaced.end()
        else:
            while text[brace : brace + 1].isspace():
                brace += 1
            end = closing(text, brace)
            if end < 0:
                return
            yield start, text[brace + 1 : end], end + 1
        start = max(text.rfind("\\boxed", 0, start), text.rfind("\\fbox", 0, start))


def closing(text, brace):
    """Returns the index of the brace that closes the one at `brace`, or -1."""
    if text[brace : brace + 1] != "{":
        return -1
    depth = 0
    position = brace
    limit = min(len(text), brace + LONGEST + 2)
    while position < limit:
        character = text[position]
        if character == "\\":
            position += 2  # an escaped brace groups nothing
            continue
        if character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                return position
        position += 1
    return -1


def _boxed(text, start, many):
    run = []
    for begin, content, end in boxes(text, start):
        if run and (not many or end > run[-1][0] or len(run) == MOST_BOXES):
            break
        if run and not _connects(text[end : run[-1][0]]):
            break
        run.append((begin, content))
    if not run:
        return Extraction(None, "box never closes")
    if len(run) == 1:
        return Extraction(run[0][1], "last box")
    return Extraction(
        ", ".join(content for _, content in reversed(run)), "run of boxes"
    )


def _connects(gap):
    """Whether the text between two boxes makes one list of them."""
    if len(gap) > 40:
        return False
    for mark in _SPACING:
        gap = gap.replace(mark, " ")
    name, equals, rest = gap.strip(" \n\t${}\\()[].").rpartition("=")
    words = (name if equals else rest).replace(",", " ").replace("$", " ").split()
    if equals and rest.strip(" $"):
        return False
    if equals and words:
        words.pop()  # "x_2 =" names the value in the next box
    return all(word.strip("{}$\\().") in _CONNECTORS for word in words)


def _stated(text):
    for token in _END_TOKENS:
        text = text.replace(token, "")
    low = text.lower()
    hashes, tag, phrase = low.rfind("####"), low.rfind("<answer>"), _phrase(low)
    if hashes >= 0 and hashes > max(tag, phrase[0]):
        line = text[hashes + 4 :].strip(" \t").split("\n")[0]
        return _statement(line, "after ####")
    if tag >= 0 and tag > phrase[0]:
        end = low.find("</answer>", tag)
        inner = text[tag + len("<answer>") : end if end >= 0 else None]
        return _statement(inner.strip(), "answer tag")
    if phrase[0] >= 0 and phrase[1] < 0:
        return Extraction(None, "a guess")
    if phrase[0] >= 0:
        return _statement(_sentence(text[phrase[1] :]), "stated answer")
    whole = text.strip().strip("*")
    if len(whole) <= 100 and _is_bare(whole):
        return Extraction(whole, "nothing but an answer")
    return Extraction(None, "no answer stated")


def _phrase(low):
    """Returns (start, end) of the last "answer is", "answer:" or their like.

    Both are -1 where there is none; the end is -1 where it is but a guess.
    """
    end = len(low)
    while (end := max(low.rfind("answer", 0, end), low.rfind("答案", 0, end))) >= 0:
        start = end
        after = start + len("answer" if low[start] == "a" else "答案")
        if low[start - 1 : start] not in ("<", "/"):
            stop = _verb(low, start, after)
            if stop >= 0:
                return start, -1 if _is_hedged(low[:start]) else stop
    return -1, -1


def _is_hedged(before):
    """Whether the clause that leads to a statement takes it back: "perhaps the"."""
    clause = before[-CLAUSE:]
    for mark in ".!?;,\n":
        clause = clause.rpartition(mark)[2]
    return not _HEDGES.isdisjoint(clause.split())


def _verb(low, start, position):
    """Returns where the value begins that is stated of the word before, or -1."""
    while low[position : position + 1] in _MARKS and position < len(low):
        position += 1
    for verb in _VERBS:
        if low.startswith(verb, position):
            return position + len(verb)
    if low.startswith(("to ", "for ", "of "), position):  # "to the problem is"
        clause = low[position : position + CLAUSE].split("\n")[0].split(".")[0]
        verb = clause.find(" is ")
        return position + verb + 4 if verb >= 0 else -1
    line = low[low.rfind("\n", 0, start) + 1 : start].strip("#*_ ")
    heading = low[position : position + 1] == "\n" and line in _HEADINGS
    return position if heading else -1


def _sentence(text):
    """Returns the rest of a sentence: to its full stop or the end of its line."""
    text = text.lstrip(" \t*:：_").lstrip("\n")
    line, _, rest = text.partition("\n")
    if line.strip() in ("$$", "\\[", "\\("):
        line = rest.split("\n", 1)[0]
    for adverb in _ADVERBS:
        if line[: len(adverb)].lower() == adverb:
            line = line[len(adverb) :]
    for clause in _CLAUSES:
        line = line.partition(clause)[0]
    for position, character in enumerate(line):
        after = line[position + 1 : position + 2]
        if character in ".。" and (not after or after.isspace()):
            return line[:position]
    return line


def _unmarked(text):
    """Returns a statement without Markdown around it; what is within it stays whole."""
    bare = text.strip("*_").strip()
    return f"{bare}**" if text.endswith("**") and bare.count("**") % 2 else bare


def _statement(text, rule):
    text = _unmarked(text.strip())
    head, verb, value = text.rpartition(" is ")
    if verb and head[:4].lower() == "the ":
        text = value
    if len(text) > LONGEST or text.count("{") != text.count("}"):
        return Extraction(None, "statement is cut off")
    if not text.strip(" $*\\()[].:"):
        return Extraction(None, "empty answer")
    return Extraction(text, rule)


def _is_bare(text):
    """Whether a whole response is an answer and nothing else."""
    words = text.strip("$*. ").split()
    if len(words) == 1:
        return True
    math = text.startswith("$") and text.endswith("$")
    prose = any(word.isalpha() and len(word) > 1 for word in words)
    return bool(words) and (math or not (prose or "=" in text))
