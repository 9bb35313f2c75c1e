r"""Sums, products, integrals and limits: \sum_{k=1}^{n} k^2, \int_0^1 x \, dx.

Each is read into a `Binder`, whose variable gets a name that no text can have, so
that two of them are the same whatever letter they count with. Short finite sums
and products have a normal form; everything else is left to SymPy in a worker,
and counts as equal only with a proof.
"""

from maspo_jax.rewards.mathematics.language import expression as ex
from maspo_jax.rewards.mathematics.language import lexicon
from maspo_jax.rewards.mathematics.language.tokens import Unreadable

KINDS = frozenset(["sum", "prod", "int", "lim"])
MOST_INSIDE = 4
_D = ex.Sym("d")


def binder(parser, kind):
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
    if len(inside) > MOST_INSIDE:
        raise Unreadable("too many sums inside a sum")
    bound = ex.Sym(f"{ex.BOUND}{len(inside)}")
    return ex.Binder(kind, bound, bounds, _replaced(body, name, bound))


def at_differential(parser):
    """Whether d and a variable stand here, inside an integral."""
    after = parser.peek()
    named = after.kind == "name" or (after.kind, after.text) in _GREEK
    return parser.integrals > 0 and parser.at("d", "name") and named


_GREEK = frozenset(("cmd", name) for name in lexicon.GREEK)


def _variable(parser):
    token = parser.take()
    if token.kind != "name" and (token.kind, token.text) not in _GREEK:
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


def _replaced(node, name, value):
    """Returns a tree with `value` in place of a variable."""
    if node in (ex.Sym(name), ex.Const(name)):  # i and e are constants elsewhere
        return value
    return ex.rebuilt(node, lambda below: _replaced(below, name, value))


def instance(node, number):
    """Returns the body of a `Binder` with a number for its variable."""
    return _replaced(node.body, node.variable.name, ex.Num(number))
