"""From a tree to a SymPy expression, node by node; no text is ever evaluated."""

import sympy

from maspo_jax.rewards.mathematics.language import expression as ex

MOST_NODES = 200
MOST_BITS = 2_000


class Refused(ArithmeticError):
    """SymPy is not asked: it knows no such function, or might take for ever."""


def to_sympy(node, symbols):
    """Returns the SymPy expression of a value node.

    Args:
        node: a value node.
        symbols: dict from name to the `sympy.Symbol` that stands for it.
    """
    if sum(1 for _ in ex.walk(node)) > MOST_NODES:
        raise Refused("too many nodes")
    return _convert(node, symbols)


def _convert(node, symbols):
    match node:
        case ex.Num(value=value):
            if value.numerator.bit_length() > MOST_BITS:
                raise Refused("too large a number")
            return sympy.Rational(value.numerator, value.denominator)
        case ex.Sym(name=name):
            return symbols[name]
        case ex.Const(name=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ex.Add(terms=terms):
            return sympy.Add(*(_convert(term, symbols) for term in terms))
        case ex.Mul(factors=factors):
            return sympy.Mul(*(_convert(factor, symbols) for factor in factors))
        case ex.Pow(base=base, exponent=exponent):
            return _power(_convert(base, symbols), _convert(exponent, symbols))
        case ex.Percent(arg=arg):
            return _convert(arg, symbols) / 100
        case ex.Degrees(arg=arg):
            return _convert(arg, symbols) * sympy.pi / 180
        case ex.Based(digits=digits, base=base):
            return sympy.Integer(int(digits, base))
        case ex.Call(name=name, args=args) if name in _FUNCTIONS:
            return _FUNCTIONS[name](*(_convert(arg, symbols) for arg in args))
        case ex.Binder():
            return _bound(node, symbols)
    raise Refused(type(node).__name__)


def _bound(node, symbols):
    """Returns the value of a sum, product, integral or limit, if SymPy finds it."""
    whole = node.kind in ("sum", "prod")
    variable = sympy.Dummy(real=True, integer=whole or None)
    body = _convert(node.body, symbols | {node.variable.name: variable})
    bounds = [_convert(bound, symbols) for bound in node.bounds]
    match node.kind:
        case "sum":
            value = sympy.summation(body, (variable, *bounds))
        case "prod":
            value = sympy.product(body, (variable, *bounds))
        case "int":
            value = sympy.integrate(body, (variable, *bounds))
        case _:
            target = bounds[0]
            value = sympy.limit(
                body, variable, target, "+-" if target.is_finite else "+"
            )
    if value.has(sympy.Sum, sympy.Product, sympy.Integral, sympy.Limit, sympy.oo):
        raise Refused("no value in closed form")
    return value


def _power(base, exponent):
    if base.is_Rational and exponent.is_Rational:
        bits = base.p.bit_length() + base.q.bit_length()
        if bits * abs(exponent) > MOST_BITS:
            raise Refused("too large a power")
    elif base.is_number and exponent.is_number and abs(sympy.N(exponent)) > 100:
        raise Refused("too large a power")
    return base**exponent


def _factorial(arg):
    if arg.is_number and abs(arg) > 300:
        raise Refused("too large a factorial")
    return sympy.factorial(arg)


_CONSTANTS = {"pi": sympy.pi, "e": sympy.E, "i": sympy.I, "infty": sympy.oo}
_FUNCTIONS = {
    "sin": sympy.sin, "cos": sympy.cos, "tan": sympy.tan, "cot": sympy.cot,
    "sec": sympy.sec, "csc": sympy.csc, "asin": sympy.asin, "acos": sympy.acos,
    "atan": sympy.atan, "acot": sympy.acot, "sinh": sympy.sinh, "cosh": sympy.cosh,
    "tanh": sympy.tanh, "ln": sympy.log, "log": sympy.log, "exp": sympy.exp,
    "abs": sympy.Abs, "floor": sympy.floor, "ceil": sympy.ceiling,
    "factorial": _factorial, "binomial": sympy.binomial, "max": sympy.Max,
    "min": sympy.Min, "re": sympy.re, "im": sympy.im,
}  # fmt: skip
