r"""What LaTeX commands, brackets and environments build.

Each function takes what it reads from a `parser.Parser` and returns a node.

Sums, products, integrals and limits, \sum_{k=1}^{n} k^2 and \int_0^1 x \, dx, are each
read into a `Binder`, whose variable gets a name that no text can have, so that two of
them are the same whatever letter they count with. Short finite sums and products have
a normal form; everything else is left to SymPy in a worker, and counts as equal only
with a proof.
"""

from fractions import Fraction

from maspo_jax.rewards.mathematics.language import expression as ex
from maspo_jax.rewards.mathematics.language import lexicon, literals
from maspo_jax.rewards.mathematics.language.tokens import Unreadable

_CLOSERS = {"(": ")", "[": "]", "\\{": "\\}", "<|": "|>"}
_ACCENTS = frozenset(["overline", "vec", "hat", "widetilde", "tilde", "dot", "ddot"])
_OF_SEVERAL = frozenset(["max", "min", "gcd", "lcm"])
_INVERTIBLE = frozenset(["sin", "cos", "tan", "cot"])
_UNIT_VECTORS = frozenset([ex.Const("i"), ex.Sym("j"), ex.Sym("k")])
_TEN = ex.Num(Fraction(10))
_BINDERS = frozenset(["sum", "prod", "int", "lim"])
_MOST_INSIDE = 4
_D = ex.Sym("d")
_GREEK_LETTERS = frozenset(("cmd", name) for name in lexicon.GREEK)


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
            rows += [tuple(row)] if row else []  # an empty one is space
            row = []
        elif parser.accept("&"):
            continue
        elif parser.at("=") and not row and rows and kind in lexicon.SYSTEMS:
            rows[-1] = (*rows[-1][:-1], _continued(rows[-1][-1], parser.items()))
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
    alone = kind == "array" and len(rows) == len(rows[0]) == 1
    return _as_list(node) if alone or kind in lexicon.SYSTEMS else node


def _continued(statement, more):
    """Returns a statement that goes on in the next row with = and another side."""
    if isinstance(statement, ex.Relation):
        return ex.Relation((*statement.ops, "="), (*statement.sides, more))
    return ex.Relation(("=",), (statement, more))


def command(parser):
    """Takes a command with its arguments."""
    name = parser.take().text
    if name in _BINDERS:
        return _binder(parser, name)
    if name == "frac":
        return _fraction(parser)
    if name == "sqrt":
        return _root(parser)
    if name == "binom":
        return ex.Call("binomial", (parser.argument(), parser.argument()))
    if name in lexicon.FUNCTIONS:
        if parser.at("="):
            return ex.Text((name,))  # max = 5
        return _function(parser, name)
    if name in lexicon.MEASURES:
        return ex.Call(name, (parser.factor(),))
    if name in _ACCENTS:
        argument = parser.argument()
        return argument if argument in _UNIT_VECTORS else ex.Call(name, (argument,))
    if name in lexicon.CONSTANTS or name.startswith("field "):
        return ex.Const(name)
    if name in lexicon.GREEK:
        return ex.Sym(name)
    if name in ("textcolor", "boxed", "fbox", "ensuremath"):
        if name == "textcolor":
            literals.take_label(parser)
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
        radicand = literals.literal(parser.take().text)
    else:
        radicand = parser.argument()
    degree = literals.digits_of(index)
    if degree and int(degree) % 2:  # the real root of a negative number
        match radicand:
            case ex.Mul(factors=(ex.MINUS_ONE, ex.Num() as size)):
                return ex.negated(ex.Pow(size, ex.quotient(ex.ONE, index)))
            case ex.Num(value=value) if value < 0:
                size = ex.Num(-value)
                return ex.negated(ex.Pow(size, ex.quotient(ex.ONE, index)))
    return ex.Pow(radicand, ex.quotient(ex.ONE, index))


def _function(parser, name):
    parser.deeper()
    base = power = None
    while parser.here.text in ("_", "^") and parser.here.kind == "op":
        subscript = parser.take().text == "_"
        if (base if subscript else power) is not None:
            raise Unreadable(f"{name} with two exponents or two subscripts")
        if subscript:
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
        return literals.literal(parser.take().text)
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


# Sums, products, integrals and limits.


def _binder(parser, kind):
    """Takes what stands behind \\sum, \\prod, \\int or \\lim from a `Parser`."""
    parser.deeper()
    parser.expect("_")
    if kind == "int":
        low = parser.argument()
        parser.expect("^")
        bounds = (low, parser.argument())
        name, body = _integrand(parser)
    else:
        parser.expect("{")
        name = _variable(parser)
        parser.expect("to" if kind == "lim" else "=")
        bounds = (parser.sum(),)
        parser.expect("}")
        if kind != "lim":
            parser.expect("^")
            bounds = (*bounds, parser.argument())
        body = parser.product()
    parser.depth -= 1
    inside = [b for b in ex.walk(body) if isinstance(b, ex.Binder)]
    if len(inside) > _MOST_INSIDE:
        raise Unreadable("too many sums inside a sum")
    bound = ex.Sym(f"{ex.BOUND}{len(inside)}")
    return ex.Binder(kind, bound, bounds, ex.replaced(body, name, bound))


def at_differential(parser):
    """Whether d and a variable stand here, inside an integral."""
    after = parser.peek()
    named = after.kind == "name" or (after.kind, after.text) in _GREEK_LETTERS
    return parser.integrals > 0 and parser.at("d", "name") and named


def _variable(parser):
    token = parser.take()
    if token.kind != "name" and (token.kind, token.text) not in _GREEK_LETTERS:
        raise Unreadable(f"{token.text!r} is no variable")
    return token.text


def _integrand(parser):
    parser.integrals += 1
    body = ex.ONE if at_differential(parser) else parser.sum()
    if at_differential(parser):
        parser.take()
        name = _variable(parser)
    else:
        name, body = _without_differential(body)
    parser.integrals -= 1
    return name, body


def _without_differential(node):
    r"""Returns the variable and the rest of an integrand such as \frac{dx}{x}."""
    for place, factor in enumerate(node.factors if isinstance(node, ex.Mul) else ()):
        before, after = node.factors[:place], node.factors[place + 1 :]
        if factor == _D and after and isinstance(after[0], ex.Sym):
            return after[0].name, ex.product([*before, *after[1:], ex.ONE])
        if isinstance(factor, ex.Mul):
            name, rest = _without_differential(factor)
            return name, ex.product([*before, rest, *after])
    raise Unreadable("an integral without its variable")
