"""The immutable expression tree that answers are read into.

Leaves are numbers, symbols, constants and words; inner nodes are values (`Add`,
`Mul`, `Pow`, `Call`), collections (`Items`, `Bracket`, `Braces`, `Matrix`) and
statements (`Relation`, `SetOp`). A `Quantity` keeps its unit beside its value.
Nodes are hashable and compare by structure.
"""

import dataclasses
from fractions import Fraction

DEEPEST = 64  # levels of nesting
MOST_DIGITS = 4_000  # digits in one number


def _node(cls):
    return dataclasses.dataclass(frozen=True, slots=True)(cls)


@_node
class Num:
    """An exact rational; `digits` counts significant digits if written with a point."""

    value: Fraction
    digits: int = 0
    exponent: int = 0  # of the last written digit, so that one unit there is 10**e


@_node
class Sym:
    """A variable, with its subscript and primes."""

    name: str


@_node
class Const:
    """One of pi, e, i, infty, emptyset, "..." or a field such as R."""

    name: str


@_node
class Text:
    """Words."""

    words: tuple


@_node
class Add:
    """A sum."""

    terms: tuple


@_node
class Mul:
    """A product."""

    factors: tuple


@_node
class Pow:
    """`base` to the power `exponent`; a quotient is a product with a power of -1."""

    base: object
    exponent: object


@_node
class Call:
    """A named function of its arguments."""

    name: str
    args: tuple


@_node
class PlusMinus:
    """Plus (sign 1) or minus first (sign -1), then the other: two values."""

    sign: int
    arg: object


@_node
class Percent:
    """So many hundredths."""

    arg: object


@_node
class Degrees:
    """So many degrees of arc."""

    arg: object


@_node
class Based:
    """Digits in a base other than ten."""

    digits: str
    base: int


@_node
class Quantity:
    """A value and the words of its unit (or of the things it counts)."""

    value: object
    words: tuple


@_node
class Ratio:
    """Values between colons: a ratio, or a time of day."""

    parts: tuple


@_node
class Items:
    """Values between commas, semicolons, "and" or "or"; links are those between."""

    items: tuple
    links: tuple


@_node
class Bracket:
    """Items in brackets: a point, a vector or an interval, by `open` and `close`."""

    open: str
    items: tuple
    close: str


@_node
class Braces:
    """A set given by its members."""

    items: tuple


@_node
class Builder:
    """The set of all `element` for which `condition` holds."""

    element: object
    condition: object


@_node
class Matrix:
    """Rows of equal length; `kind` is the LaTeX environment."""

    kind: str
    rows: tuple


@_node
class Relation:
    """A chain side, operator, side, operator, side."""

    ops: tuple
    sides: tuple


@_node
class SetOp:
    """cup, cap or setminus of two sets."""

    op: str
    left: object
    right: object


@_node
class Binder:
    """A sum, prod, int or lim of `body`; `bounds` are two ends, or a limit's target."""

    kind: str
    variable: Sym
    bounds: tuple
    body: object


BOUND = "bound "  # begins the name of a binder's variable, which is not free
MINUS_ONE = Num(Fraction(-1))
ZERO = Num(Fraction(0))
ONE = Num(Fraction(1))
TWO = Num(Fraction(2))


def negated(node):
    """Returns minus `node`."""
    if isinstance(node, Num):
        return Num(-node.value, node.digits, node.exponent)
    if isinstance(node, Percent | Degrees):
        return type(node)(negated(node.arg))
    return Mul((MINUS_ONE, node))


def quotient(top, bottom):
    """Returns `top` over `bottom`."""
    return Mul((top, Pow(bottom, MINUS_ONE)))


def is_point(node):
    """Whether a node is a point, a vector or a tuple: (1, 2)."""
    return isinstance(node, Bracket) and (node.open, node.close) == ("(", ")")


def decimal(node):
    """Returns the literal if a node is one decimal number written with a point."""
    if isinstance(node, Num):
        return node if node.digits else None
    if isinstance(node, Mul) and len(node.factors) == 2:
        first, second = node.factors
        if first == MINUS_ONE and isinstance(second, Num) and second.digits:
            return Num(-second.value, second.digits, second.exponent)
    return None


def children(node):
    """Yields the nodes directly below `node`."""
    for name in node.__slots__:
        value = getattr(node, name)
        if isinstance(value, tuple):
            for item in value:
                if isinstance(item, tuple):
                    yield from item
                elif not isinstance(item, str):
                    yield item
        elif hasattr(value, "__slots__") and not isinstance(value, Fraction):
            yield value


def rebuilt(node, change):
    """Returns a node with `change` applied to every node directly below it."""

    def inside(value):
        if isinstance(value, tuple):
            return tuple(map(inside, value))
        is_node = hasattr(value, "__slots__") and not isinstance(value, Fraction)
        return change(value) if is_node else value

    return type(node)(*(inside(getattr(node, name)) for name in node.__slots__))


def replaced(node, name, value):
    """Returns a tree with `value` in place of a variable."""
    if node in (Sym(name), Const(name)):  # i and e are constants elsewhere
        return value
    return rebuilt(node, lambda below: replaced(below, name, value))


def instance(node, number):
    """Returns the body of a `Binder` with a number for its variable."""
    return replaced(node.body, node.variable.name, Num(number))


def product(factors):
    """Returns the product of a list of nodes; one node is its own."""
    return Mul(tuple(factors)) if len(factors) > 1 else factors[0]


def walk(node):
    """Yields `node` and every node below it."""
    stack = [node]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(children(node))


def symbols(node):
    """Returns the names of the free variables in `node`."""
    names = (below.name for below in walk(node) if isinstance(below, Sym))
    return frozenset(name for name in names if not name.startswith(BOUND))


def numeral(text):
    """Returns the `Num` of a literal: "12", "0.50", "4.5e33", "0.1(6)"."""
    if len(text) > MOST_DIGITS:
        raise ValueError("too many digits")
    if "(" in text:
        return _repeating(text)
    if text.isdigit():
        return Num(Fraction(int(text)))
    mantissa, _, power = text.replace("E", "e").partition("e")
    whole, point, decimals = mantissa.partition(".")
    shift = int(power or 0)
    if abs(shift) > MOST_DIGITS:
        raise ValueError("too large an exponent")
    value = Fraction(int(whole + decimals)) * Fraction(10) ** (shift - len(decimals))
    if not decimals:
        return Num(value)
    digits = len((whole + decimals).lstrip("0"))
    return Num(value, max(digits, 1), shift - len(decimals))


def _repeating(text):
    fixed, _, period = text.rstrip(")").partition("(")
    whole, _, decimals = fixed.partition(".")
    scale = 10 ** len(decimals)
    tail = Fraction(int(period), (10 ** len(period) - 1) * scale)
    return Num(Fraction(int((whole + decimals) or "0"), scale) + tail)


def ratio(parts):
    """Returns values between colons; a unit behind the last belongs to the whole."""
    last = parts[-1]
    if isinstance(last, Quantity):
        return Quantity(Ratio((*parts[:-1], last.value)), last.words)
    return Ratio(tuple(parts))
