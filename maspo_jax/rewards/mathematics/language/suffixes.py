"""What may stand behind an atom: ! % degree ' _ ^ and a function's brackets.

Each function takes what it reads from a `parser.Parser` and returns a node.
"""

from maspo_jax.rewards.mathematics.language import expression as ex
from maspo_jax.rewards.mathematics.language import lexicon, literals
from maspo_jax.rewards.mathematics.language.tokens import Unreadable

_REALS = ex.Const("field R")
_FIELDS = frozenset(ex.Const(f"field {letter}") for letter in "CFNQRZ")
_FUNCTIONS = frozenset("fghFGH")  # letters that name functions
_STATED = frozenset(["=", "<", ">", "<=", ">=", "!="])


def suffixed(parser, node):
    """Takes whatever stands behind an atom and belongs to it."""
    count = 0
    while parser.here.kind == "op":
        text, count = parser.here.text, parser.next_in_chain(count)
        if text == "!":
            parser.take()
            double = parser.accept("!")
            node = ex.Call("factorial2" if double else "factorial", (node,))
        elif text == "%":
            parser.take()
            node = ex.Percent(node)
        elif text == "deg":
            parser.take()
            node = ex.Degrees(node)
        elif text == "^":
            node = power(parser, node)
        elif text == "_":
            node = _subscript(parser, node)
        elif text == "'" and isinstance(node, ex.Sym):
            parser.take()
            node = ex.Sym(node.name + "'")
        else:
            break
    if parser.at("("):
        if isinstance(node, ex.Sym):
            return _application(parser, node)
        if isinstance(node, ex.Pow) and node.exponent == ex.MINUS_ONE:
            if isinstance(node.base, ex.Sym) and node.base.name in _FUNCTIONS:
                return _application(parser, ex.Sym(node.base.name + "^-1"))
    return node


def power(parser, base):
    """Takes ^ and an exponent, or the primes of a symbol."""
    parser.take()
    if parser.at("{") and parser.peek().text == "'":
        return _primed(parser, base)
    if base == _REALS and parser.accept("+"):
        return ex.Const("field R+")
    if parser.here.text in ("-", "+") and parser.here.kind == "op":
        sign = parser.take().text
        inner = parser.factor()
        return ex.Pow(base, ex.negated(inner) if sign == "-" else inner)
    parser.deeper()
    exponent = parser.group() if parser.at("{") else parser.atom()
    if parser.at("^"):
        exponent = power(parser, exponent)
    parser.depth -= 1
    return ex.Pow(base, exponent)


def _primed(parser, symbol):
    parser.take()
    primes = ""
    while parser.accept("'"):
        primes += "'"
    parser.expect("}")
    if not isinstance(symbol, ex.Sym):
        raise Unreadable("a prime on something that is no symbol")
    return ex.Sym(symbol.name + primes)


def _subscript(parser, node):
    parser.take()
    label = literals.label(parser)
    digits = literals.digits_of(node)
    bare = str(lexicon.NUMBERS.get(label, label.strip("()")))
    if digits is not None and bare.isdigit() and len(bare) <= 2:
        return literals.based(digits, int(bare))
    if isinstance(node, ex.Sym) or node in _FIELDS:
        return ex.Sym(f"{node.name}_{label}")
    raise Unreadable("a subscript on something that is no symbol")


def _application(parser, symbol):
    """f(x): a function's name before brackets, unless it reads as a product."""
    inner = parser.peek()
    closes = parser.peek(2).text == ")"
    named = symbol.name[:1] in _FUNCTIONS
    if inner.kind == "name" and inner.text != symbol.name:
        named = named or closes  # y(t)
    if symbol.name[:1].isupper():
        number = inner.kind == "num" and closes
        named = named or number or _holds_statement(parser)  # P(0), P(X = 1)
    if not named:
        return symbol
    parser.take()
    inside = parser.items()
    parser.expect(")")
    args = inside.items if isinstance(inside, ex.Items) else (inside,)
    return ex.Call("apply " + symbol.name, args)


def _holds_statement(parser):
    """Whether a relation stands in the brackets that open here."""
    ahead, open_brackets = 1, 1
    while open_brackets:
        token = parser.peek(ahead)
        if token.kind == "end":
            return False
        if open_brackets == 1 and token.kind == "op" and token.text in _STATED:
            return True
        open_brackets += {"(": 1, ")": -1}.get(token.text, 0)
        ahead += 1
    return False
