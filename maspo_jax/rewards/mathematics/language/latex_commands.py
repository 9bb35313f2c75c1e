"""What LaTeX commands, brackets and environments build.

Each function takes what it reads from a `parser.Parser` and returns a node.
"""

from fractions import Fraction

from maspo_jax.rewards.mathematics.language import binders, lexicon, literals
from maspo_jax.rewards.mathematics.language import expression as ex
from maspo_jax.rewards.mathematics.language.tokens import Unreadable

_CLOSERS = {"(": ")", "[": "]", "\\{": "\\}", "<|": "|>"}
_ACCENTS = frozenset(["overline", "vec", "hat", "widetilde", "tilde", "dot", "ddot"])
_OF_SEVERAL = frozenset(["max", "min", "gcd", "lcm"])
_INVERTIBLE = frozenset(["sin", "cos", "tan", "cot"])
_UNIT_VECTORS = frozenset([ex.Const("i"), ex.Sym("j"), ex.Sym("k")])
_TEN = ex.Num(Fraction(10))


def delimited(parser):
    """Takes something between delimiters: a group, brackets, bars, floors."""
    opener = parser.here.text
    if opener == "{":
        if parser.peek().text == "}":
            raise Unreadable("an empty group")
        return parser.group()
    if opener == "...":
        parser.take()
        return ex.Sym("...")
    parser.deeper()
    bars, parser.bars = parser.bars, 0
    if opener in _CLOSERS:
        node = _bracketed(parser, opener)
    elif opener == "|":
        parser.take()
        parser.bars = 1
        node = ex.Call("abs", (parser.sum(),))
        parser.expect("|")
    elif opener in ("lfloor", "lceil"):
        parser.take()
        node = ex.Call(opener[1:], (parser.sum(),))
        parser.expect("r" + opener[1:])
    else:
        raise Unreadable(f"did not expect {opener!r}")
    parser.bars = bars
    parser.depth -= 1
    return node


def _bracketed(parser, opener):
    parser.take()
    if opener == "\\{" and parser.accept("\\}"):
        return ex.Const("emptyset")
    if opener == "\\{" and parser.here.kind == "begin":
        return _system(parser)
    in_set, parser.in_set = parser.in_set, opener == "\\{"
    inside = parser.items()
    condition = None
    if parser.in_set and parser.here.text in ("mid", ":", "|"):
        parser.take()
        condition = parser.items()
    parser.in_set = in_set
    close = parser.here.text
    if opener in "([" and close in (")", "]") and parser.here.kind == "op":
        parser.take()
    else:
        parser.expect(_CLOSERS[opener])
    if condition is not None:
        return ex.Builder(inside, condition)
    items = inside.items if isinstance(inside, ex.Items) else (inside,)
    if opener == "\\{":
        return ex.Braces(items)
    if len(items) == 1 and opener == "(" and close == ")":
        return inside
    if len(items) == 1 and isinstance(inside, ex.Matrix):
        return inside
    if opener == "<|":
        opener, close = "(", ")"
    return ex.Bracket(opener, items, close)


def _system(parser):
    node = environment(parser)
    parser.accept("\\}")
    return _as_list(node) if isinstance(node, ex.Matrix) else node


def _as_list(node):
    """Returns the rows of one cell each as a list, others as cases."""
    if any(len(row) != 1 for row in node.rows):
        return ex.Matrix("cases", node.rows)
    rows = tuple(row[0] for row in node.rows)
    return ex.Items(rows, (",",) * (len(rows) - 1)) if len(rows) > 1 else rows[0]


def environment(parser):
    """Takes begin{...} rows end{...}."""
    kind = parser.take().text
    rows, row = [], []
    while not (parser.here.kind == "end" and parser.here.text == kind):
        if parser.at_end():
            raise Unreadable("an environment that never ends")
        if parser.accept("\\\\"):
            rows.append(tuple(row))
            row = []
        elif parser.accept("&"):
            continue
        else:
            if row and parser.here.text.lower() in lexicon.CONDITIONALS:
                parser.take()  # in cases, "if x > 0" is "x > 0"
            row.append(parser.items())
    parser.take()
    if row:
        rows.append(tuple(row))
    if not rows or len({len(row) for row in rows}) != 1:
        raise Unreadable("rows of unequal length")
    node = ex.Matrix(kind, tuple(rows))
    return _as_list(node) if kind in lexicon.SYSTEMS else node


def command(parser):
    """Takes a command with its arguments."""
    name = parser.take().text
    if name in binders.KINDS:
        return binders.binder(parser, name)
    if name == "frac":
        return _fraction(parser)
    if name == "sqrt":
        return _root(parser)
    if name == "binom":
        return ex.Call("binomial", (parser.argument(), parser.argument()))
    if name in lexicon.FUNCTIONS:
        return _function(parser, name)
    if name in _ACCENTS:
        argument = parser.argument()
        return argument if argument in _UNIT_VECTORS else ex.Call(name, (argument,))
    if name in lexicon.CONSTANTS or name.startswith("field "):
        return ex.Const(name)
    if name in lexicon.GREEK:
        return ex.Sym(name)
    if name in ("textcolor", "boxed", "fbox", "ensuremath"):
        if name == "textcolor":
            literals.label(parser)
        return parser.argument()
    raise Unreadable(f"unknown command {name!r}")


def _fraction(parser):
    begins = parser.at("{") and parser.peek().text == "d"
    top, bottom = parser.argument(), parser.argument()
    if begins and isinstance(bottom, ex.Mul) and bottom.factors[0] == ex.Sym("d"):
        return ex.Call("derivative", (top, bottom))
    return ex.quotient(top, bottom)


def _root(parser):
    index = ex.TWO
    if parser.at("["):
        parser.take()
        index = parser.sum()
        parser.expect("]")
    if parser.here.kind == "num":
        radicand = literals.numeral(parser.take().text)
    else:
        radicand = parser.argument()
    return ex.Pow(radicand, ex.quotient(ex.ONE, index))


def _function(parser, name):
    parser.deeper()
    base = power = None
    while parser.here.text in ("_", "^") and parser.here.kind == "op":
        if parser.take().text == "_":
            base = _argument_or_number(parser)
        else:
            power = _argument_or_number(parser)
    args = _function_arguments(parser)
    if len(args) > 1 and name not in _OF_SEVERAL:
        raise Unreadable(f"{name} of several arguments")
    if name == "log":
        args = (*args, base or _TEN)
    elif name == "lg":
        name, args = "log", (*args, _TEN)
    elif base is not None:
        raise Unreadable(f"a subscript on {name}")
    parser.depth -= 1
    if power == ex.MINUS_ONE and name in _INVERTIBLE:
        return ex.Call("a" + name, args)
    node = ex.Call(name, args)
    return node if power is None else ex.Pow(node, power)


def _argument_or_number(parser):
    if parser.here.kind == "num":
        return literals.numeral(parser.take().text)
    return parser.argument()


def _function_arguments(parser):
    if parser.here.text in ("(", "\\{", "[") and parser.here.kind == "op":
        close = _CLOSERS[parser.take().text]
        bars, parser.bars = parser.bars, 0
        inside = parser.items()
        parser.bars = bars
        parser.expect(close)
        return inside.items if isinstance(inside, ex.Items) else (inside,)
    factors = [parser.signed_factor()]
    while parser.starts_operand() and not _starts_function(parser):
        factors.append(parser.factor())
    return (ex.product(factors),)


def _starts_function(parser):
    name = parser.here.text
    return parser.here.kind == "cmd" and name in lexicon.FUNCTIONS and name != "sqrt"
