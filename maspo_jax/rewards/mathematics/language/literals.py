"""The literals of an answer: numbers, the words of a unit, subscripts.

Each function takes what it reads from a `parser.Parser` and returns it.
"""

import re
from fractions import Fraction

from maspo_jax.rewards.mathematics.language import expression as ex
from maspo_jax.rewards.mathematics.language import units
from maspo_jax.rewards.mathematics.language.tokens import Token, Unreadable

_PERIOD = re.compile(r"(\d)\1\1+$|(\d{2,6}?)\2+$")  # said three times, or twice
LARGEST_SHIFT = 400  # a larger power of ten is kept as a power


def starts_unit(parser):
    """Whether a unit begins here that is not a word: (mod 7), \\frac{miles}{hour}."""
    token, after = parser.here, parser.peek()
    if token.kind == "cmd":
        in_words = after.text == "{" and parser.peek(2).kind == "word"
        return token.text == "pmod" or (token.text == "frac" and in_words)
    return token.text == "(" and (after.text, after.kind) == ("mod", "op")


def take_unit(parser):
    """Takes the unit or the modulus behind a value; an empty list if none is there."""
    if parser.here.kind == "word" or parser.here.text == "frac":
        return take_words(parser, behind=True)
    if not starts_unit(parser):
        return []
    if parser.take().text == "pmod":
        modulus = parser.argument()
    else:
        parser.take()
        modulus = parser.sum()
        parser.expect(")")
    match modulus:
        case ex.Num(value=value):
            return ["mod", str(value)]
        case ex.Sym(name=name):
            return ["mod", name]
    raise Unreadable("a modulus that is no number")


def take_words(parser, behind=False):
    """Takes a phrase of words, with the /, -, ^2 that units are written with.

    Args:
        parser: the `Parser`.
        behind: whether a value stands before, which may be qualified: for all x.
    """
    phrase = []
    while True:
        if behind and parser.opens_qualifier():
            return phrase
        if parser.here.kind == "word":
            phrase.append(parser.take().text)
        elif parser.here.text == "frac" and starts_unit(parser):
            phrase.extend(_quotient_of_units(parser))
        elif parser.here.text in ("/", "-", "*") and parser.peek().kind == "word":
            phrase.append(parser.take().text)
        elif parser.at("^") and phrase and units.takes_exponent(phrase[-1]):
            phrase.extend(_exponent_of_unit(parser))
        elif parser.here.kind == "name" and parser.peek().kind == "word" and phrase:
            phrase.append(parser.take().text)  # "a" in "such a thing"
        else:
            return phrase


def together(parts):
    """Returns a quantity in several units as one in the first: 3 hours 30 minutes."""
    if len(parts) == 1:
        return parts[0]
    known = [units.unit_of(part.words) for part in parts]
    for larger, smaller in zip(known, known[1:], strict=False):
        if None in (larger, smaller) or larger.dimensions != smaller.dimensions:
            raise Unreadable("a quantity in units of different kinds")
        if smaller.scale >= larger.scale:
            raise Unreadable("a quantity whose units do not fall")
    terms = [
        ex.Mul((ex.Num(unit.scale / known[0].scale), part.value))
        for unit, part in zip(known, parts, strict=True)
    ]
    return ex.Quantity(ex.Add(tuple(terms)), parts[0].words)


def _quotient_of_units(parser):
    parser.take()
    parser.expect("{")
    top = take_words(parser)
    parser.expect("}")
    parser.expect("{")
    bottom = take_words(parser)
    parser.expect("}")
    return [*top, "/", *bottom]


def _exponent_of_unit(parser):
    parser.take()
    braced = parser.accept("{")
    sign = "-" if parser.accept("-") else ""
    if parser.here.kind != "num":
        raise Unreadable("a unit's exponent is a number")
    power = sign + parser.take().text
    if braced:
        parser.expect("}")
    return ["^", power]


def take_number(parser):
    """Takes a number, with the fraction of a mixed number if one follows."""
    text = parser.take().text
    if parser.here.text == "..." and "." in text:
        period = _PERIOD.search(text.partition(".")[2])
        if period:  # 0.4545...
            parser.take()
            return literal(f"{text[: -len(period[0])]}({period[1] or period[2]})")
    value = literal(text)
    if digits_of(value) is None:
        return value
    fraction = _proper_fraction(parser)
    return value if fraction is None else ex.Num(value.value + fraction)


def _proper_fraction(parser):
    """Takes the fraction of a mixed number, if one follows: 2\\frac13, 2 1/3."""
    start = parser.index
    if parser.here.text == "frac" and parser.here.kind == "cmd":
        parser.take()
        top, bottom = _digit_group(parser), _digit_group(parser)
    elif parser.here.kind == "num" and parser.here.spaced and parser.peek().text == "/":
        top = parser.take().text
        parser.take()
        bottom = parser.take().text if parser.here.kind == "num" else None
    else:
        return None
    if top and bottom and top.isdigit() and bottom.isdigit() and int(bottom):
        return Fraction(int(top), int(bottom))
    parser.index = start - 1
    parser.take()
    return None


def _digit_group(parser):
    """Takes {12}, or one digit of a number, and returns it; None if neither."""
    if parser.here.kind == "num":
        return take_digit(parser)
    if parser.at("{") and parser.peek().kind == "num" and parser.peek(2).text == "}":
        parser.take()
        digits = parser.take().text
        parser.take()
        return digits
    return None


def take_digit(parser):
    """Takes one digit of a number, as \\frac12 means, and leaves the others."""
    token = parser.here
    if len(token.text) == 1:
        return parser.take().text
    parser.here = Token("num", token.text[1:])
    return token.text[0]


def take_label(parser):
    """Takes a subscript and returns its spelling."""
    if not parser.accept("{"):
        return parser.take().text
    depth, spelled = 1, []
    while depth:
        token = parser.take()
        if token.kind == "end":
            raise Unreadable("a subscript that never closes")
        depth += {"{": 1, "}": -1}.get(token.text, 0)
        spelled.append(token.text)
    return "".join(spelled[:-1])


def literal(text):
    """Returns the value of a literal; a huge power of ten is left as one."""
    if text.isdigit():
        return ex.numeral(text)
    mantissa, _, power = text.replace("E", "e").partition("e")
    if power and abs(int(power[:30])) > LARGEST_SHIFT:
        tens = ex.Pow(ex.Num(Fraction(10)), ex.numeral(power.lstrip("+")))
        return ex.Mul((ex.numeral(mantissa), tens))
    return ex.numeral(text)


def digits_of(node):
    """Returns the digits of a natural number written as such, else None."""
    if isinstance(node, ex.Num) and node.value.denominator == 1 and not node.digits:
        return str(node.value) if node.value >= 0 else None
    return None


def based(digits, base):
    """Returns the number with these digits in a base."""
    if not 2 <= base <= 36:
        raise Unreadable("no such base")
    if any(int(digit, 36) >= base for digit in digits):
        raise Unreadable("digits that its base does not have")
    return ex.Based(digits, base)
