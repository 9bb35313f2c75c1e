r"""Other graders, because the strength of a verifier is an experimental variable.

Each is a function of (response, gold) that returns a `Verdict`, like `grade`, and
declares what it reads and takes (see `declaration`):

    dapo       text after the last "Answer:", normalized strings equal
    gsm8k      the number after the last ####, strings equal
    hendrycks  the last box, strings equal after fixing fractions, roots, units
    prime      the last box, floats to a relative 1e-4 up to a factor of 100
    countdown  an expression of given numbers whose value is the target
    Tolerant   `grade`, and numbers within a relative tolerance (Minerva: 1 %)

All but `countdown` state the rules of the graders they are named after, with their
known weaknesses, which is the point of comparing them; none executes any text.
"""

import dataclasses
import math
from fractions import Fraction

from maspo_jax.rewards import countdown as expressions
from maspo_jax.rewards import extraction
from maspo_jax.rewards.countdown import is_no_task
from maspo_jax.rewards.declaration import ANSWER_LINE, BOX, HASHES, grader, takes
from maspo_jax.rewards.mathematics.algebra import values
from maspo_jax.rewards.mathematics.algebra.normal import rational_value
from maspo_jax.rewards.mathematics.language import expression as ex
from maspo_jax.rewards.mathematics.language.tokens import Unreadable
from maspo_jax.rewards.mathematics.meaning import meanings, reading
from maspo_jax.rewards.verdict import Verdict
from maspo_jax.rewards.verifier import grade

TAIL = 300  # characters at the end of a response that dapo and gsm8k look at
_DROPPED = (
    "\\left", "\\right", "\\!", "\\,", "\\;", "\\ ", "\\$", "$", "^\\circ",
    "^{\\circ}", "\\%", "%", "\\displaystyle", "\n",
)  # fmt: skip
_UNITS = (
    "square units", "units", "degrees", "dollars", "cents", "points", "percent",
    "feet", "inches", "meters", "cm", "miles", "hours", "minutes", "seconds",
)  # fmt: skip


@grader(reads=(ANSWER_LINE,), takes=is_no_task)
def dapo(response, gold):
    """Compares the line after the last "Answer:" as a string."""
    tail = extraction.strip_reasoning(response)[-TAIL:]
    start = tail.lower().rfind("answer:")
    if start < 0:
        return Verdict("no_answer", None, "no Answer:")
    answer = tail[start + len("answer:") :].strip().split("\n")[0]
    return _as_strings(_dapo_form, answer, extraction.reference(gold), "dapo")


def _dapo_form(text):
    text = _without_text(_bare(text.split("=")[-1]))
    for word in (*_UNITS, " an ", " a "):
        text = text.replace(word, "")
    number = text.replace(",", "").strip()
    return number if number.lstrip("-").isdigit() else _fixed(text)


@grader(reads=(HASHES,), takes=is_no_task)
def gsm8k(response, gold):
    """Compares the number after the last #### as a string."""
    tail = extraction.strip_reasoning(response)[-TAIL:]
    start = tail.rfind("####")
    if start < 0:
        return Verdict("no_answer", None, "no ####")
    words = tail[start + 4 :].split()
    if not words:
        return Verdict("no_answer", None, "nothing after ####")
    return _as_strings(_gsm8k_form, words[0], extraction.reference(gold), "gsm8k")


def _gsm8k_form(text):
    return text.replace(",", "").replace("$", "").rstrip(".")


@grader(reads=(BOX,), takes=is_no_task)
def hendrycks(response, gold):
    """Compares the content of the last box as a string."""
    answer = _last_box(response)
    if answer is None:
        return Verdict("no_answer", None, "no box")
    return _as_strings(_fixed, answer, extraction.reference(gold), "hendrycks")


def _as_strings(form, answer, gold, rule):
    correct = form(answer) == form(gold)
    return Verdict("correct" if correct else "wrong", answer, rule)


def _last_box(response):
    response = extraction.strip_reasoning(response)
    start = max(response.rfind("\\boxed"), response.rfind("\\fbox"))
    for _, content, _ in extraction.boxes(response, start):
        return content
    return None


def _bare(text):
    for sign in _DROPPED:
        text = text.replace(sign, "")
    return text.replace("dfrac", "frac").replace("tfrac", "frac").strip(" .")


def _without_text(text):
    """Drops what stands in text commands after something else, as a unit."""
    for command in ("\\text{", "\\mbox{", "\\mathrm{"):
        start = text.find(command)
        while start >= 0:
            end = text.find("}", start)
            if end < 0:
                return text
            inner = text[start + len(command) : end]
            text = text[:start] + ("" if start else inner) + text[end + 1 :]
            start = text.find(command)
    return text


def _fixed(text):
    """Writes fractions, roots and decimals in one way, without spaces."""
    text = _without_text(_bare(text)).replace(" ", "")
    text = _with_braces(_with_braces(text, "\\frac", 2), "\\sqrt", 1)
    name, equals, value = text.partition("=")
    if equals and len(name) <= 2:
        text = value
    top, slash, bottom = text.partition("/")
    if slash and top.lstrip("-").isdigit() and bottom.isdigit():
        text = f"\\frac{{{top}}}{{{bottom}}}"
    if text.startswith("."):
        text = "0" + text
    return "\\frac{1}{2}" if text == "0.5" else text


def _with_braces(text, command, arguments):
    """Puts braces around the arguments of a command that are single characters."""
    head, *rest = text.split(command)
    return head + "".join(command + _braced(part, arguments) for part in rest)


def _braced(text, arguments):
    done = ""
    for _ in range(arguments):
        end = extraction.closing(text, 0)
        if end > 0:
            done, text = done + text[: end + 1], text[end + 1 :]
        elif text and text[0] not in "{[\\":
            done, text = f"{done}{{{text[0]}}}", text[1:]
        else:
            break
    return done + text


@grader(reads=(BOX,), takes=is_no_task)
def prime(response, gold):
    """Compares floats loosely, sequences member by member, expressions exactly."""
    answer, gold = _last_box(response), extraction.reference(gold)
    if answer is None:
        return Verdict("no_answer", None, "no box")
    if _fixed(answer).lower() == _fixed(gold).lower():
        return Verdict("correct", answer, "prime: same text")
    try:
        correct = _loosely_equal(*map(reading.read_meaning, (gold, answer)))
    except Unreadable as refusal:
        return Verdict("unparsed", answer, f"prime: {refusal}")
    return Verdict("correct" if correct else "wrong", answer, "prime: value")


def _loosely_equal(gold, answer):
    first, second = _number(gold), _number(answer)
    if first is not None and second is not None:
        return any(_near(first * scale, second, 1e-4) for scale in (0.01, 1, 100))
    parts = _parts(gold), _parts(answer)
    if all(parts):
        pairs = zip(*parts, strict=False)
        return len(parts[0]) == len(parts[1]) and all(
            _loosely_equal(*pair) for pair in pairs
        )
    gold, answer = _value(gold), _value(answer)
    return values.quick(gold, answer) is True


def _parts(meaning):
    if isinstance(meaning, meanings.Many):
        return meaning.members
    return meaning.items if isinstance(meaning, ex.Bracket) else ()


def _value(meaning):
    while isinstance(meaning, meanings.Named | ex.Quantity):
        meaning = meaning.value
    return meaning.arg if isinstance(meaning, ex.Percent | ex.Degrees) else meaning


def _number(meaning):
    """Returns the float of a meaning that is a number of ordinary size."""
    value = _value(meaning)
    exact = rational_value(value) if isinstance(value, values.VALUES) else None
    if exact is not None and abs(exact) < Fraction(10) ** 300:
        return float(exact)
    return None


def _near(gold, answer, relative):
    return math.isclose(gold, answer, rel_tol=relative, abs_tol=0.0)


@grader(reads=(BOX, ANSWER_LINE, HASHES), takes=expressions.is_task)
def countdown(response, gold):
    """Evaluates an expression, by the rules of `rewards.countdown`."""
    task = expressions.task_of(gold)
    if task is None:
        return Verdict("error", None, f"countdown: {gold:.40} is no task of it")
    found = extraction.extract(response)
    if found.text is None:
        return Verdict("no_answer", None, found.rule)
    try:
        correct, rule = expressions.solves(found.text, *task)
    except Unreadable as refusal:
        return Verdict("unparsed", found.text, f"countdown: {refusal}")
    return Verdict("correct" if correct else "wrong", found.text, f"countdown: {rule}")


@dataclasses.dataclass(frozen=True)
class Tolerant:
    """`grade`, except that numbers need only agree within `relative` of the gold."""

    relative: float = 0.01

    reads = grade.reads
    takes = staticmethod(grade.takes)

    def __call__(self, response, gold):
        """Returns the `Verdict` on one response."""
        return self.amend(grade(response, gold), gold)

    def amend(self, verdict, gold):
        """Returns the `Verdict` that takes the place of one by `grade`."""
        if verdict.outcome != "wrong":
            return verdict
        try:
            expected = _number(reading.read_meaning(extraction.reference(gold)))
            given = _number(reading.read_meaning(verdict.answer))
        except Unreadable:
            return verdict
        if expected is None or given is None:
            return verdict
        if abs(given - expected) > self.relative * abs(expected):
            return verdict
        return Verdict("correct", verdict.answer, f"within {self.relative:g}")


ALL = (grade, dapo, gsm8k, hendrycks, prime, countdown, Tolerant())


def grader_for(gold):
    """Returns the grader that a reference answer calls for, None where `grade` does."""
    if takes(grade, gold):
        return None
    return next((each for each in ALL if takes(each, gold)), None)
