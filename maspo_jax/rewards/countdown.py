r"""Countdown: make the target out of the numbers, each used exactly once.

    {"numbers": [44, 19, 35], "target": 98}        44 + 19 + 35        3 * (7 - 5) = 6

An answer is an expression of whole numbers with +, -, * and /, signs and brackets, as
text or as LaTeX (\times, \cdot, \div, \frac{}{}). It is right if the numbers in it are
those of the task, in any order, each as often as it is given, and its value is the
target, computed exactly, in fractions. What follows an equals sign has to have that
value too. There is no power, no decimal point and no product without its sign. Nothing
is executed.
"""

import json
import operator
import re
from fractions import Fraction

from maspo_jax.rewards.mathematics.language.tokens import Unreadable

DEEPEST = 50  # brackets and signs within each other
LONGEST = 2_000  # characters, and so about the most digits of a value
_OPERATIONS = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
_SYMBOLS = {
    **dict.fromkeys(("×", "·", "⋅", "∗", "\\times", "\\cdot", "\\ast"), "*"),
    **dict.fromkeys(("÷", "\\div"), "/"),
    **dict.fromkeys(("−", "–"), "-"),
    **dict.fromkeys(("\\dfrac", "\\tfrac"), "\\frac"),
    **dict.fromkeys(("\\left", "\\right", "$", "\\(", "\\)", "\\[", "\\]"), ""),
    **dict.fromkeys(("\\,", "\\;", "\\!", "\\ "), ""),
}
_LEXEME = re.compile(r"\s+|[0-9]+|\\[a-z]+|\\.|.", re.DOTALL)
_CLOSERS = {"(": ")", "[": "]", "{": "}"}


def task_of(gold):
    """Returns the numbers and the target of a Countdown task, None for another gold.

    They are fractions, for any number of JSON.
    """
    if not gold.startswith("{"):
        return None
    try:
        task = json.loads(gold)
        numbers, target = task["numbers"], task["target"]
        if not all(type(number) in (int, float) for number in (*numbers, target)):
            return None
        return [Fraction(number) for number in numbers], Fraction(target)
    except (ValueError, KeyError, TypeError, OverflowError):
        return None


def is_task(gold):
    """Whether a reference answer is a Countdown task."""
    return task_of(gold) is not None


def is_no_task(gold):
    """Whether a reference answer is an answer, and not a Countdown task."""
    return task_of(gold) is None


def solves(text, numbers, target):
    """Returns whether an expression solves a task, and the rule that says so.

    Args:
        text: the expression.
        numbers: those it has to use.
        target: the value it has to have.

    Raises:
        Unreadable: it is no expression of the kind this module's docstring states.
    """
    if len(text) > LONGEST:
        raise Unreadable("too long")
    (value, used), *claims = map(_read, _members(text))
    if sorted(used) != sorted(numbers):
        return False, "not each number exactly once"
    if value is None:
        return False, "division by zero"
    return all(each == target for each in (value, *(v for v, _ in claims))), "value"


def _members(text):
    """Returns the symbols of what stands between equals signs, a list of lists."""
    members = [[]]
    for match in _LEXEME.finditer(text):
        symbol = _SYMBOLS.get(match[0], match[0].strip())
        if symbol == "=":
            members.append([])
        elif symbol:
            members[-1].append(symbol)
    return members


def _read(symbols):
    """Returns the value of an expression, and the numbers in it.

    The value is a fraction, or None where something is divided by zero.
    """
    reader = _Reader(symbols)
    value = reader.sum()
    if reader.here:
        raise Unreadable(f"did not expect {reader.here!r}")
    return value, reader.numbers


class _Reader:
    """Reads an expression by recursive descent and computes it on the way."""

    def __init__(self, symbols):
        self.symbols, self.depth, self.numbers = [*symbols, ""], 0, []

    @property
    def here(self):
        return self.symbols[0]

    def take(self):
        return self.symbols.pop(0)

    def sum(self):
        value = self.product()
        while self.here in ("+", "-"):
            value = _computed(self.take(), value, self.product())
        return value

    def product(self):
        value = self.factor()
        while self.here in ("*", "/"):
            value = _computed(self.take(), value, self.factor())
        return value

    def factor(self):
        self.depth += 1
        if self.depth > DEEPEST:
            raise Unreadable("nested too deeply")
        symbol = self.take()
        if symbol in ("+", "-"):
            value = _computed(symbol, Fraction(0), self.factor())
        elif symbol == "\\frac":
            value = _computed("/", self.group("{"), self.group("{"))
        elif symbol in _CLOSERS:
            value = self.group(symbol, opened=True)
        elif re.fullmatch("[0-9]+", symbol):
            value = Fraction(int(symbol))
            self.numbers.append(value)
        else:
            raise Unreadable(f"did not expect {symbol or 'the end'!r}")
        self.depth -= 1
        return value

    def group(self, opener, opened=False):
        if not opened and self.take() != opener:
            raise Unreadable(f"expected {opener!r}")
        value = self.sum()
        if self.take() != _CLOSERS[opener]:
            raise Unreadable(f"expected {_CLOSERS[opener]!r}")
        return value


def _computed(sign, left, right):
    if left is None or right is None or (sign == "/" and right == 0):
        return None
    return _OPERATIONS[sign](left, right)
