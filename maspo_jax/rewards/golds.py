"""What the checker makes of a reference answer, before anybody answers it.

A reference that cannot be read earns its reward by its own spelling and by no other, so
that a set with many of them trains a policy to copy.
"""

from fractions import Fraction

from maspo_jax.rewards import countdown
from maspo_jax.rewards.extraction import REASONING_MARK, reference
from maspo_jax.rewards.mathematics.algebra import values
from maspo_jax.rewards.mathematics.algebra.normal import rational_value
from maspo_jax.rewards.mathematics.language import expression as ex
from maspo_jax.rewards.mathematics.language.tokens import Unreadable
from maspo_jax.rewards.mathematics.meaning import equivalence, reading
from maspo_jax.rewards.mathematics.meaning.meanings import (
    Approximate,
    Equation,
    Many,
    Named,
)
from maspo_jax.rewards.mathematics.meaning.regions import LINE, Region


def fault(gold):
    """Returns why a reference answer cannot be read, None where it can."""
    try:
        _meaning(gold)
    except Unreadable as refusal:
        return str(refusal)
    return None


def shown(gold):
    """Returns a reference answer as the checker reads it, written as mathematics.

    Constants are exact, decimals stay decimals, products have their `*`. What would be
    read as something else than the reference is left as the reference writes it.

    Raises:
        Unreadable: it cannot be read; the message says why.
    """
    meaning = _meaning(gold)
    if meaning is gold:
        return gold
    text = _written(meaning)
    return text if _means(text, meaning) else reference(gold)


def _means(text, meaning):
    try:
        again = reading.read_meaning(text)
    except Unreadable:
        return False
    return bool(equivalence.match(meaning, again, values.quick))


def other_reading(gold):
    """Returns what else a reference answer may mean that would earn, or None.

    Its spelling leaves both open: (2, 3) is a point and an interval, 50% is 50 and one
    half, 12 in base three is twelve where the base is left out.

    Raises:
        Unreadable: it cannot be read; the message says why.
    """
    meaning = _meaning(gold)
    match meaning:
        case ex.Bracket(open="(", close=")"):
            other, name = _interval(meaning), "an interval"
        case ex.Percent(arg=other):
            name = "without its percent sign"
        case ex.Based(digits=digits) if digits.isdigit():
            other, name = ex.Num(Fraction(digits)), "in base ten"
        case _:
            return None
    if other is None or values.quick(meaning, other):  # 0%, or seven in base eight
        return None
    return name if equivalence.match(meaning, other, values.quick) else None


def _interval(pair):
    try:
        return reading.as_region(pair)
    except Unreadable:  # ends that have no order, (a, a + 1)
        return None


def _meaning(gold):
    if countdown.is_task(gold):  # of another grader, which asks for no value
        return gold
    bare = reference(gold)
    tag = REASONING_MARK.search(bare)
    if tag:  # taken off responses, and off no reference
        raise Unreadable(f"{tag[0]} of a response's reasoning: write the answer alone")
    meaning = reading.read_meaning(bare)
    if isinstance(meaning, ex.Text) and any(map(_has_digit, meaning.words)):
        raise Unreadable("a number among words: only the same words would earn")
    return meaning


def _has_digit(word):
    return any(map(str.isdigit, str(word)))


# How tightly what is written holds together: a list, a sum, a product, one piece.
_LIST, _SUM, _PRODUCT, _POWER, _PIECE = range(5)
_LONGEST = 40  # digits of a constant that is written out
_SIGNS = {"cup": "\\cup", "cap": "\\cap", "setminus": "\\setminus", "~=": "\\approx"}
_SIGNS |= {"in": "\\in", "subset": "\\subset"}
_BARE_CONSTANTS = ("pi", "e", "i", "...")


def _written(part):
    return _spelled(part)[0]


def _within(part, level):
    """Returns what is written of a part, in brackets where it would fall apart."""
    text, tight = _spelled(part)
    return text if tight >= level else f"({text})"


def _spelled(part):
    """Returns what is written of a part, and how tightly it holds together."""
    if isinstance(part, values.VALUES):
        exact = _exact(part)
        if exact is not None:
            return exact
    spell = _SPELLINGS.get(type(part))
    return spell(part) if spell else (str(part), _LIST)


def _constant(constant):
    name = constant.name
    if name in _BARE_CONSTANTS:
        return name, _PIECE
    field = name.removeprefix("field ")
    return f"\\{name}" if field == name else f"\\mathbb{{{field}}}", _PIECE


def _sum(node):
    text = " + ".join(_within(term, _SUM) for term in node.terms)
    return text.replace("+ -", "- "), _SUM


def _power(node):
    exponent = rational_value(node.exponent)
    if exponent == Fraction(1, 2):
        return f"sqrt({_written(node.base)})", _PIECE
    if exponent == -1:
        return f"1/{_within(node.base, _POWER)}", _PRODUCT
    return f"{_within(node.base, _PIECE)}^{_within(node.exponent, _PIECE)}", _POWER


def _matrix(node):
    cells = r" \\ ".join(" & ".join(map(_written, row)) for row in node.rows)
    return f"\\begin{{pmatrix}} {cells} \\end{{pmatrix}}", _PIECE


def _many(many):
    text = _list(many.members)
    text = f"\\{{{text}\\}}" if many.braces else text
    return (text if many.name is None else f"{_written(many.name)} = {text}"), _LIST


def _sides(left, op, right):
    return f"{_written(left)} {_SIGNS.get(op, op)} {_written(right)}", _LIST


def _called(call):
    """Returns a function of its arguments, as it is usually written."""
    match call:
        case ex.Call(name="log", args=(arg, base)):
            return f"\\log_{{{_written(base)}}}({_written(arg)})", _PIECE
        case ex.Call(name="binomial", args=(n, k)):
            return f"\\binom{{{_written(n)}}}{{{_written(k)}}}", _PIECE
        case ex.Call(name="factorial" | "factorial2" as name, args=(arg,)):
            return _within(arg, _PIECE) + ("!" if name == "factorial" else "!!"), _PIECE
        case ex.Call(name="abs", args=(arg,)):
            return f"|{_written(arg)}|", _PIECE
        case ex.Call(name=name, args=args):
            applied = name.startswith("apply ")
            named = _letter(name.removeprefix("apply ")) if applied else name
            return f"{named}({_list(args)})", _PIECE


def _exact(part):
    """Returns a decimal as such and any other rational number exactly, else None."""
    literal = ex.decimal(part)
    if literal is not None:
        text = _decimal(literal)
        return text, _PIECE if literal.value >= 0 else _SUM
    if isinstance(part, ex.Percent | ex.Degrees | ex.Based | ex.Ratio):
        return None
    value = rational_value(part)
    if value is None or max(map(abs, value.as_integer_ratio())) > 10**_LONGEST:
        return None
    if value < 0:
        return str(value), _SUM
    return str(value), _PIECE if value.denominator == 1 else _PRODUCT


def _decimal(literal):
    places = max(-literal.exponent, 0)
    scaled = literal.value * 10**places
    if scaled.denominator != 1:  # which repeats
        return str(literal.value)
    digits = str(abs(scaled.numerator)).rjust(places + 1, "0")
    sign = "-" if literal.value < 0 else ""
    whole, decimals = digits[: len(digits) - places], digits[len(digits) - places :]
    return f"{sign}{whole}.{decimals}" if decimals else f"{sign}{whole}"


def _letter(name):
    """Returns the name of a variable, as TeX writes it if it has several letters."""
    stem, mark, rest = name.partition("_")
    primes = stem[len(stem.rstrip("'")) :]
    stem = stem.rstrip("'")
    greek = len(stem) > 1 and stem.isalpha()
    word = f"\\{stem}" if greek else stem
    return word + primes + (f"_{{{rest}}}" if mark else "")


def _product(factors):
    """Returns a product with the parts of a negative power behind one slash."""
    if factors[0] == ex.MINUS_ONE and len(factors) > 1:
        return f"-{_within(ex.product(factors[1:]), _PRODUCT)}", _SUM
    top, bottom = [], []
    for factor in factors:
        below = isinstance(factor, ex.Pow) and factor.exponent == ex.MINUS_ONE
        (bottom if below else top).append(factor.base if below else factor)
    text = _joined(top) if top else "1"
    if bottom:
        under = _joined(bottom)
        text += f"/({under})" if len(bottom) > 1 else f"/{_within(bottom[0], _POWER)}"
    return text, _PRODUCT


def _joined(factors):
    text = ""
    for factor in factors:
        piece = _within(factor, _POWER if text else _PRODUCT)
        number = text.replace(".", "").isdigit()
        bare = number and (piece[:1].isalpha() or piece[:1] in "(\\")
        text += piece if bare or not text else f" * {piece}"
    return text


def _list(parts):
    return ", ".join(map(_written, parts))


def _region(name, intervals):
    """Returns intervals by their ends, of a variable where they have one."""
    variable = _letter(name) if name else None
    ends = [_bounds(each, variable) for each in intervals]
    if not ends:
        return "\\emptyset"
    return (" or " if name else " \\cup ").join(ends)


def _bounds(interval, variable):
    low, high = interval.low, interval.high
    if variable is None or interval == LINE:
        begin = "(-\\infty" if low is None else "[("[not interval.has_low]
        begin += "" if low is None else _written(low)
        end = "\\infty)" if high is None else _written(high)
        end += "" if high is None else "])"[not interval.has_high]
        text = f"{begin}, {end}"
        return text if variable is None else f"{variable} \\in {text}"
    if low is not None and low == high:
        return f"{variable} = {_written(low)}"
    left, right = (
        "<=" if each else "<" for each in (interval.has_low, interval.has_high)
    )
    if low is None:
        return f"{variable} {right} {_written(high)}"
    if high is None:
        return f"{variable} {'>' + left[1:]} {_written(low)}"
    return f"{_written(low)} {left} {variable} {right} {_written(high)}"


_SPELLINGS = {
    ex.Num: lambda node: (str(node.value), _SUM),
    ex.Sym: lambda node: (_letter(node.name), _PIECE),
    ex.Const: _constant,
    ex.Text: lambda node: (" ".join(node.words), _LIST),
    ex.Add: _sum,
    ex.Mul: lambda node: _product(node.factors),
    ex.Pow: _power,
    ex.Call: _called,
    ex.Percent: lambda node: (f"{_within(node.arg, _PIECE)}%", _PIECE),
    ex.Degrees: lambda node: (f"{_within(node.arg, _PIECE)}°", _PIECE),
    ex.Based: lambda node: (f"{node.digits}_{{{node.base}}}", _PIECE),
    ex.Ratio: lambda node: (
        " : ".join(_within(each, _PRODUCT) for each in node.parts),
        _LIST,
    ),
    ex.Quantity: lambda node: (
        f"{_within(node.value, _PRODUCT)} {' '.join(node.words)}",
        _LIST,
    ),
    ex.Bracket: lambda node: (f"{node.open}{_list(node.items)}{node.close}", _PIECE),
    ex.Matrix: _matrix,
    ex.SetOp: lambda node: _sides(node.left, node.op, node.right),
    Named: lambda named: _sides(named.name, "=", named.value),
    Many: _many,
    Equation: lambda equation: _sides(equation.left, equation.op, equation.right),
    Approximate: lambda both: _sides(both.exact, "~=", both.rounded),
    Region: lambda region: (_region(region.name, region.intervals), _LIST),
}
