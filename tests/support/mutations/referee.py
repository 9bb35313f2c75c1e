r"""What an answer means, read by other rules than the checker's.

The referee of the mutations shares no code with `maspo_jax.rewards`: it evaluates a
text in exact fractions, or at points where every name has a value, and compares the
numbers. It reads less than the checker and never guesses: where a text has two
readings, `meaning` is None, and then it says neither `differ` nor `agree`.
"""

import cmath
import dataclasses
import functools
import itertools
import math
import re
import zlib
from fractions import Fraction

POINTS = (1, 2, 3)
BIG = 4_000  # bits of the largest exact power
WORDS = r"\\(?:text|mathrm|mbox|textrm|textbf|operatorname)\s*\{([^{}]*)\}"
SPACES = re.compile(r"\\[,;!: ]|~|\\q?quad\b|\s+")
SPELLINGS = {
    r"\dfrac": r"\frac", r"\tfrac": r"\frac", r"\cfrac": r"\frac", "\u2212": "-",
    "\u00d7": r"\times ", "\u00b7": r"\cdot ", "\u03c0": r"\pi ", "\u221e": r"\infty ",
    r"\left": "", r"\right": "", r"\displaystyle": "", r"\{": r"\lbrace ",
    r"\}": r"\rbrace ", "{,}": "", r"\lvert": "|", r"\rvert": "|", r"\vert": "|",
    "\u222a": r"\cup ", "\u2264": r"\le ", "\u2265": r"\ge ", r"\leq": r"\le ",
    r"\geq": r"\ge ", r"\lt": "<", r"\gt": ">", r"^\circ": r"\degree ",
    r"^{\circ}": r"\degree ", "\u00b0": r"\degree ", "**": "^", r"\%": "%",
}  # fmt: skip
COMMAND = r"\\[a-zA-Z]+(?![a-zA-Z])"
TOKEN = re.compile(rf"\s*({COMMAND}|\d+\.\d+|\.\d+|\d+\.?(?!\d)|[a-zA-Z]|\S)")
FUNCTIONS = {
    r"\sin": cmath.sin, r"\cos": cmath.cos, r"\tan": cmath.tan, r"\ln": cmath.log,
    r"\log": cmath.log, r"\exp": cmath.exp, r"\arctan": cmath.atan,
    r"\arcsin": cmath.asin, r"\arccos": cmath.acos, r"\sinh": cmath.sinh,
    r"\cosh": cmath.cosh, r"\cot": lambda x: 1 / cmath.tan(x),
    r"\sec": lambda x: 1 / cmath.cos(x), r"\csc": lambda x: 1 / cmath.sin(x),
}  # fmt: skip
GREEK = {
    "\\" + name
    for name in "alpha beta gamma delta epsilon varepsilon theta lambda mu nu omega "
    "phi varphi psi rho sigma tau Delta Gamma Lambda Omega Sigma zeta eta kappa chi "
    "xi ell".split()
}
CONSTANTS = {r"\pi": complex(math.pi), "e": complex(math.e), "i": 1j}
PAIRS = {"(": ")", "[": "]", "{": "}", r"\lfloor": r"\rfloor", r"\lceil": r"\rceil"}
OPENING = {"(", "[", "{", r"\lbrace", r"\lfloor", r"\lceil", r"\begin"}
CLOSING = {")", "]", "}", r"\rbrace", r"\rfloor", r"\rceil", r"\end"}
RELATIONS = ("=", "<", ">", r"\le", r"\ge")
NAME = re.compile(r"\s*(?:[a-zA-Z]|\\[a-zA-Z]+)\s*(?:_\s*(?:\w|\{\s*\w+\s*\}))?\s*$")
UNBOUND = r"\sum", r"\int", r"\lim", r"\prod", r"\bmod", r"\pmod", r"\mid", r"\in"


class Unsure(Exception):
    """A text that the referee does not read, or could read in two ways."""


@dataclasses.dataclass(frozen=True)
class Meaning:
    """What was read: a kind, its numbers or members, and its signs."""

    kind: str  # value, named, equation, set, tuple, matrix, region, based
    parts: tuple
    sign: str = ""  # unit, name, brackets


def differ(gold, other):
    """Whether two texts certainly mean different things."""
    try:
        one, two = meaning(gold), meaning(other)
        return one is not None and two is not None and _differ(one, two)
    except (Unsure, ArithmeticError, RecursionError):
        return False


def agree(gold, other):
    """Whether two texts certainly mean the same."""
    one, two = meaning(gold), meaning(other)
    try:
        return one is not None and two is not None and _agree(one, two)
    except (Unsure, ArithmeticError):
        return False


@functools.lru_cache(maxsize=1 << 12)
def meaning(text):
    """Returns the `Meaning` of a text, or None where it has none for certain."""
    try:
        return _meaning(cleaned(text))
    except (
        Unsure, ArithmeticError, ValueError, RecursionError, IndexError, TypeError
    ):  # fmt: skip
        return None


def cleaned(text):
    """Returns a text with one spelling of each sign, and without what only frames."""
    text = text.strip().strip("$").strip()
    for opener, closer in ((r"\(", r"\)"), (r"\[", r"\]")):
        if text.startswith(opener) and text.endswith(closer):
            text = text[2:-2].strip()
    text = re.sub(r"\\(left|right)(?![a-zA-Z])", "", text)
    for spelling, sign in SPELLINGS.items():
        end = r"(?![a-zA-Z])" if spelling[-1].isalpha() else ""
        text = re.sub(re.escape(spelling) + end, lambda _, s=sign: s, text)
    text = re.sub(r"(?<=\d)[eE]([+-]?\d+)(?!\w)", r" \\times 10^{\1}", text)
    return text.removesuffix(".").strip()


def _meaning(text):
    if any(re.search(re.escape(sign) + r"(?![a-z])", text) for sign in UNBOUND):
        raise Unsure
    if text.startswith(r"\begin"):
        return _matrix(text)
    if r"\pm" in text:
        if text.count(r"\pm") > 1:
            raise Unsure
        ends = [_meaning(text.replace(r"\pm", sign)) for sign in "+-"]
        return Meaning("set", tuple(ends))
    if r"\cup" in text:
        return Meaning("region", _pieces(text.split(r"\cup")))
    parts = _split(text, [",", ";"])
    plain = re.sub(r"^\\\$|%$", "", text)
    if re.fullmatch(r"-?\d{1,3}(,\d{3})+(\.\d+)?", plain):
        parts = [text.replace(",", "")]
    return _list(parts) if len(parts) > 1 else _single(*parts)


def _list(parts):
    return Meaning("set", tuple(map(_meaning, parts)))


def _single(text):
    """Returns the meaning of a text that no comma divides."""
    if re.match(r"\\lbrace.*\\rbrace$", text):
        inside = text[7:-7]
        if r"\lbrace" in inside or "|" in inside or ":" in inside:
            raise Unsure
        return _list(_split(inside, [",", ";"]))
    relations = _relations(text)
    if relations:
        return _related(*relations)
    if text[:1] in ("(", "[") and text[-1:] in (")", "]"):
        inside = _split(text[1:-1], [","])
        mixed = text[0] + text[-1] in ("(]", "[)")
        if len(inside) == 2 and (mixed or r"\infty" in text):
            return Meaning("region", _pieces([text]))
        if len(inside) > 1:
            return Meaning("tuple", tuple(map(_meaning, inside)), text[0] + text[-1])
    return _quantity(text)


def _split(text, signs):
    """Returns the parts of a text between signs that no bracket holds."""
    parts, depth, start = [], 0, 0
    for match in TOKEN.finditer(text):
        token = match[1]
        depth += (token in OPENING) - (token in CLOSING)
        if depth < 0:
            raise Unsure
        if depth == 0 and token in signs:
            parts.append(text[start : match.start(1)].strip())
            start = match.end(1)
    if depth:
        raise Unsure
    return [*parts, text[start:].strip()]


def _relations(text):
    """Returns the relations of a statement and its sides, or None."""
    found = [
        token for token in TOKEN.findall(text) if token in RELATIONS or token == r"\ne"
    ]
    if not found:
        return None
    sides = _split(text, RELATIONS)
    if r"\ne" in found or len(sides) != len(found) + 1:
        raise Unsure
    return found, sides


def _related(found, sides):
    if set(found) == {"="}:
        if NAME.match(sides[0]) and "=" not in sides[1:]:
            value = _meaning(sides[-1])
            if len(sides) > 2 or value.kind not in ("value", "tuple", "set", "region"):
                raise Unsure
            name = re.sub(r"[\s{}]", "", sides[0])
            if name in _names(sides[-1]):
                raise Unsure
            return Meaning("named", (value,), name)
        if len(sides) != 2:
            raise Unsure
        left, right = (_numbers(side, always=True) for side in sides)
        gaps = tuple(a - b for a, b in zip(left, right, strict=True))
        return Meaning("equation", gaps)
    return Meaning("region", _bounds(found, sides), "of a name")


def _bounds(found, sides):
    """Returns the interval that an inequality in one name bounds."""
    names = [place for place, side in enumerate(sides) if NAME.match(side)]
    if "=" in found or len(names) != 1 or r"\infty" in "".join(sides):
        raise Unsure
    (place,) = names
    low, high = (-math.inf, False), (math.inf, False)
    for index, sign in enumerate(found):
        if index not in (place - 1, place) or len(sides) > 3:
            raise Unsure
        upward = sign in ("<", r"\le")
        closed = sign in (r"\le", r"\ge")
        end = _real(sides[index if index != place else index + 1])
        below = upward == (index != place)
        if below and low[0] == -math.inf:
            low = end, closed
        elif not below and high[0] == math.inf:
            high = end, closed
        else:
            raise Unsure
    if low[0] >= high[0]:
        raise Unsure
    return ((*low, *high),)


def _pieces(texts):
    """Returns intervals as (low, closed, high, closed)."""
    pieces = []
    for text in map(str.strip, texts):
        points = re.fullmatch(r"\\lbrace(.*)\\rbrace", text)
        if points:
            ends = map(_real, _split(points[1], [","]))
            pieces += [(end, True, end, True) for end in ends]
            continue
        inside = _split(text[1:-1], [","])
        if len(inside) != 2 or text[0] not in "([" or text[-1] not in ")]":
            raise Unsure
        low, high = map(_real, inside)
        if low >= high:
            raise Unsure
        pieces.append((low, text[0] == "[", high, text[-1] == "]"))
    return tuple(pieces)


def _real(text):
    infinity = re.fullmatch(r"([+-]?)\s*\\infty", text.strip())
    if infinity:
        return -math.inf if infinity[1] == "-" else math.inf
    (number, *_) = _numbers(text)
    if _names(text) or complex(number).imag:
        raise Unsure
    return number if isinstance(number, Fraction) else complex(number).real


def _matrix(text):
    form = re.fullmatch(
        r"\\begin\s*\{([pbv]matrix)\}(.*)\\end\s*\{\1\}", text, re.DOTALL
    )
    if not form or r"\begin" in form[2]:
        raise Unsure
    body = re.sub(r"\\\\\s*$", "", form[2].strip())
    rows = [row.split("&") for row in re.split(r"\\\\", body)]
    if len({len(row) for row in rows}) != 1:
        raise Unsure
    entries = tuple(tuple(map(_meaning, row)) for row in rows)
    flat = tuple(itertools.chain.from_iterable(entries))
    return Meaning("matrix", flat, f"{form[1][0] == 'v'} {len(rows)}")


def _quantity(text):
    """Returns a number with its unit, or digits with their base."""
    based = re.fullmatch(r"(\d+)_(?:(\d)|\{(\d+)\})", text.replace(" ", ""))
    if based:
        return Meaning("based", (based[1],), based[2] or based[3])
    sign = ""
    while True:
        tail = re.search(
            rf"(?:{WORDS}(?:\^\s*\{{?\d\}}?)?|(?<![a-zA-Z\\])[a-zA-Z]{{3,}}"
            rf"|%|\\degree)\s*$",
            text,
        )
        if not tail:
            break
        sign = re.sub(r"[\s.]", "", tail[0]) + sign
        text = text[: tail.start()].strip()
    if text.startswith(r"\$"):
        sign, text = "$" + sign, text[2:]
    if re.search(r"million|thousand|billion|dozen|hundred|trillion", sign):
        raise Unsure
    return Meaning("value", _numbers(text), sign)


@functools.lru_cache(maxsize=1 << 12)
def _names(text):
    reader = Reader(text, 1)
    reader.everything()
    return frozenset(reader.names)


def _numbers(text, always=False):
    """Returns the value of a text, at every point if it has names."""
    if not text.strip():
        raise Unsure
    points = POINTS if always or _names(text) else POINTS[:1]
    return tuple(Reader(text, point).everything() for point in points)


class Reader:
    """Evaluates a text while it reads it, by recursive descent."""

    def __init__(self, text, point):
        if re.search(r"(?<![a-zA-Z\\])([a-z]{3,}|or|is|to|in|of|if)(?![a-zA-Z])", text):
            raise Unsure  # words
        self.tokens = TOKEN.findall(text)
        self.place = 0
        self.point = point
        self.names = set()

    def everything(self):
        value = self.sum()
        if self.peek() is not None:
            raise Unsure
        return value

    def peek(self, ahead=0):
        place = self.place + ahead
        return self.tokens[place] if place < len(self.tokens) else None

    def take(self, expected=None):
        token = self.peek()
        if token is None or expected is not None and token != expected:
            raise Unsure
        self.place += 1
        return token

    def sum(self):
        sign = 1
        if self.peek() in ("+", "-"):
            sign = -1 if self.take() == "-" else 1
        value = sign * self.product()
        while self.peek() in ("+", "-"):
            sign = -1 if self.take() == "-" else 1
            if self.peek() in ("+", "-"):
                raise Unsure
            value = add(value, sign * self.product())
        return value

    def product(self):
        value, divided = self.factor(), False
        while True:
            token = self.peek()
            if token in (r"\cdot", r"\times", "*"):
                self.take()
                value, divided = times(value, self.factor()), False
            elif token in ("/", r"\div"):
                if divided:
                    raise Unsure
                self.take()
                value, divided = over(value, self.factor()), True
            elif self.opens(token):
                if divided:
                    raise Unsure
                value = times(value, self.factor())
            else:
                return value

    def opens(self, token):
        """Whether a token opens a factor that no sign separates."""
        return token is not None and (
            token.isalpha()
            or token in ("(", "{", r"\frac", r"\sqrt", r"\pi", r"\binom")
            or token in FUNCTIONS
            or token in GREEK
            or token in (r"\lfloor", r"\lceil")
        )

    def factor(self):
        number = self.peek()
        if number is not None and number.isdigit() and self.peek(1) == r"\frac":
            return self.mixed()
        value = self.atom()
        while self.peek() in ("!", "^"):
            if self.take() == "!":
                if self.peek() == "!":
                    raise Unsure
                value = factorial(value)
            else:
                value = power(value, self.exponent())
        follower = self.peek()
        if follower is not None and follower[0] in "0123456789._'":
            raise Unsure
        return value

    def mixed(self):
        """A whole number before a fraction of whole numbers; else a product."""
        whole = Fraction(self.take())
        start = self.place
        part = self.factor()
        inside = self.tokens[start : self.place]
        if all(t == r"\frac" or t.isdigit() or t in "{}" for t in inside):
            return add(whole, part)
        return times(whole, part)

    def exponent(self):
        if self.peek() == "{":
            return self.group()
        token = self.peek()
        if token is None or token.isdigit() and len(token) > 1 or token == "-":
            raise Unsure
        return self.atom()

    def group(self):
        closer = PAIRS.get(self.take())
        if closer is None:
            raise Unsure
        value = self.sum()
        self.take(closer)
        return value

    def argument(self):
        """What a command takes: a group, or one digit or sign."""
        if self.peek() == "{":
            return self.group()
        token = self.peek()
        if token is None or token[0].isdigit():
            if token is None or len(token) > 1:
                if token is not None and len(token) == 2 and token.isdigit():
                    self.tokens[self.place : self.place + 1] = list(token)
                    return Fraction(self.take())
                raise Unsure
        return self.atom()

    def atom(self):
        token = self.peek()
        if token in ("(", "{"):
            return self.group()
        if token in (r"\lfloor", r"\lceil"):
            return self.rounded(math.floor if token == r"\lfloor" else math.ceil)
        self.take()
        if token[0].isdigit() or token[0] == "." and len(token) > 1:
            return self.number(token)
        if token in (r"\frac", r"\binom"):
            top, bottom = self.argument(), self.argument()
            return over(top, bottom) if token == r"\frac" else binomial(top, bottom)
        if token in FUNCTIONS:
            return self.call(token)
        if token in CONSTANTS:
            return CONSTANTS[token]
        rules = {"|": self.absolute, r"\sqrt": self.root}
        if token in rules:
            return rules[token]()
        return self.name(token)

    def absolute(self):
        value = self.sum()
        self.take("|")
        return abs(value) if isinstance(value, Fraction) else complex(abs(value))

    def rounded(self, towards):
        value = self.group()
        if not isinstance(value, Fraction):
            if value.imag or abs(value.real - round(value.real)) < 1e-6:
                raise Unsure
            value = value.real
        return Fraction(towards(value))

    def number(self, token):
        if self.peek() == r"\overline":
            self.take()
            self.take("{")
            digits = self.take()
            self.take("}")
            if not digits.isdigit() or "." not in token:
                raise Unsure
            scale = 10 ** len(token.partition(".")[2])
            repeated = Fraction(int(digits), 10 ** len(digits) - 1)
            return Fraction(token.removesuffix(".")) + repeated / scale
        return Fraction(token.removesuffix("."))

    def root(self):
        degree = Fraction(2)
        if self.peek() == "[":
            degree = self.group()
        return power(self.argument(), over(Fraction(1), degree))

    def call(self, token):
        exponent = base = None
        if self.peek() == "_":
            self.take()
            base = self.argument()
        if self.peek() == "^":
            self.take()
            exponent = self.exponent()
        if exponent is not None and complex(exponent).real < 0:
            raise Unsure
        bracketed = self.peek() in ("(", "[", "{")
        argument = self.group() if bracketed else self.factors()
        value = complex(FUNCTIONS[token](complex(argument)))
        if base is not None:
            if token != r"\log":
                raise Unsure
            value /= cmath.log(complex(base))
        return value if exponent is None else power(value, exponent)

    def factors(self):
        """What a function without brackets takes: factors up to another function."""
        value = self.atom()
        while self.peek() == "^" or self.opens(self.peek()):
            if self.peek() in FUNCTIONS or self.peek() == "(":
                break
            if self.peek() == "^":
                self.take()
                value = power(value, self.exponent())
            else:
                value = times(value, self.atom())
        return value

    def name(self, token):
        if not token.isalpha() and token not in GREEK:
            raise Unsure
        if self.peek() == "_":
            self.take()
            if self.peek() == "{":
                self.take()
                while self.peek() != "}":
                    token += self.take()
                self.take("}")
            else:
                token += self.take()
        if self.peek() == "'" or self.peek() == "(" and token in "fghFPQ":
            raise Unsure
        self.names.add(token)
        chaos = zlib.crc32(f"{token} {self.point}".encode()) / 2**32
        return complex(1.1 + 1.7 * chaos)


def add(a, b):
    exact = isinstance(a, Fraction) and isinstance(b, Fraction)
    return a + b if exact else complex(a) + complex(b)


def times(a, b):
    exact = isinstance(a, Fraction) and isinstance(b, Fraction)
    return a * b if exact else complex(a) * complex(b)


def over(a, b):
    exact = isinstance(a, Fraction) and isinstance(b, Fraction)
    if not exact and abs(complex(b)) < 1e-12:
        raise Unsure
    return a / b if exact else complex(a) / complex(b)


def power(a, b):
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        if a == 0 and b <= 0:
            raise Unsure
        if b.denominator == 1:
            size = max(a.numerator.bit_length(), a.denominator.bit_length())
            if size * abs(b) > BIG:
                raise Unsure
            return a ** int(b)
        if a < 0:  # a real root or a complex one
            if b.numerator == 1 and b.denominator == 2:
                return 1j * power(-a, b)
            raise Unsure
        root = round(float(a) ** (1 / b.denominator))
        if a.denominator == 1 and root < 1e6 and Fraction(root) ** b.denominator == a:
            return power(Fraction(root), Fraction(b.numerator))
    elif abs(complex(a)) < 1e-12:
        raise Unsure
    return complex(a) ** complex(b)


def factorial(value):
    if not isinstance(value, Fraction) or value.denominator > 1 or value > 150:
        raise Unsure
    return Fraction(math.factorial(int(value)))


def binomial(top, bottom):
    whole = all(isinstance(v, Fraction) and v.denominator == 1 for v in (top, bottom))
    if not whole or not 0 <= bottom <= top <= 200:
        raise Unsure
    return Fraction(math.comb(int(top), int(bottom)))


def apart(a, b):
    """Whether two numbers certainly differ."""
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a != b
    a, b = complex(a), complex(b)
    return abs(a - b) > 1e-6 * max(abs(a), abs(b), 1e-3)


def close(a, b):
    """Whether two numbers are certainly equal, but for rounding."""
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a == b
    a, b = complex(a), complex(b)
    return abs(a - b) <= 1e-10 * max(abs(a), abs(b), 1e-3)


def _differ(one, two):
    if one.kind == "named" and two.kind == "value":
        return _differ(one.parts[0], two)
    if one.kind != two.kind:
        several = {one.kind, two.kind} == {"set", "value"}
        return (
            several
            and len(max(one.parts, two.parts, key=len)) > 1
            and _many(one if one.kind == "set" else two)
        )
    if one.kind == "value":
        return one.sign == two.sign and _values_differ(one, two)
    if one.kind == "based":
        return one.sign == two.sign and int(one.parts[0]) != int(two.parts[0])
    if one.kind == "equation":
        return _equations_differ(one.parts, two.parts)
    if one.kind == "region":
        return one.sign == two.sign and _regions_differ(one.parts, two.parts)
    if one.kind == "set":
        return _sets_differ(one.parts, two.parts)
    if one.sign != two.sign:  # names, brackets, rows: the rules argue themselves
        return False
    if len(one.parts) != len(two.parts):
        return True
    return any(map(_differ, one.parts, two.parts))


def _many(members):
    """Whether a set has two members that certainly differ."""
    return any(_differ(a, b) for a, b in itertools.combinations(members.parts, 2))


def _values_differ(one, two):
    scales = [1]
    if re.search("%|percent", one.sign + two.sign):
        scales += [100, Fraction(1, 100)]
    lengths = max(len(one.parts), len(two.parts))
    left, right = (
        part * lengths if len(part) == 1 else part for part in (one.parts, two.parts)
    )
    return all(
        any(
            apart(a, times(Fraction(scale), b))
            for a, b in zip(left, right, strict=True)
        )
        for scale in scales
    )


def _equations_differ(one, two):
    """Whether two gaps between sides are no multiples of each other."""
    if any(abs(complex(gap)) < 1e-9 for gap in (*one, *two)):
        return False
    ratios = [over(a, b) for a, b in zip(one, two, strict=True)]
    return any(apart(ratios[0], ratio) for ratio in ratios[1:])


def _sets_differ(one, two):
    """Whether a member of one differs from every member of the other."""
    sides = (one, two), (two, one)
    return any(
        any(all(_differ(a, b) for b in there) for a in here) for here, there in sides
    )


def _regions_differ(one, two):
    ends = sorted({end for piece in (*one, *two) for end in (piece[0], piece[2])})
    inner = [end for end in ends if abs(end) != math.inf]
    for a, b in itertools.pairwise(inner):
        if not isinstance(a + b, Fraction) and b - a < 1e-6:
            return False
    tried = list(inner) + [(a + b) / 2 for a, b in itertools.pairwise(inner)]
    tried += [inner[0] - 1, inner[-1] + 1] if inner else [0]
    return any(_inside(one, x) != _inside(two, x) for x in tried)


def _inside(pieces, x):
    return any(
        (low < x or closed and low == x) and (x < high or shut and x == high)
        for low, closed, high, shut in pieces
    )


def _agree(one, two):
    if one.kind != two.kind or one.sign != two.sign:
        return False
    if one.kind == "value":
        lengths = max(len(one.parts), len(two.parts))
        left, right = (
            p * lengths if len(p) == 1 else p for p in (one.parts, two.parts)
        )
        return all(map(close, left, right))
    if one.kind == "equation":
        ratios = [over(a, b) for a, b in zip(one.parts, two.parts, strict=True)]
        return all(close(ratios[0], ratio) for ratio in ratios)
    if one.kind == "region":
        return one.parts == two.parts
    if one.kind == "based":
        return one.parts == two.parts
    if len(one.parts) != len(two.parts):
        return False
    if one.kind == "set":
        return all(any(_agree(a, b) for b in two.parts) for a in one.parts) and all(
            any(_agree(a, b) for a in one.parts) for b in two.parts
        )
    return all(map(_agree, one.parts, two.parts))
