"""Evaluation to as many digits as the input calls for, in a worker."""

import mpmath

from maspo_jax.rewards.mathematics.language import expression as ex

MOST_MAGNITUDE = 1 << 20  # binary exponent beyond which no value is computed
MOST_ANGLE = 1 << 12  # bits in an angle that is still reduced


class Unknown(ArithmeticError):
    """The value is out of reach: too large, or of a function not known here."""


def value(node, point):
    """Returns the value of a node at the current mpmath precision."""
    result = _value(node, point)
    if not mpmath.isfinite(result):
        raise Unknown("not finite")
    if result and mpmath.mag(result) > MOST_MAGNITUDE:
        raise Unknown("too large")
    return result


def _value(node, point):
    match node:
        case ex.Num(value=exact):
            return mpmath.mpf(exact.numerator) / exact.denominator
        case ex.Sym(name=name):
            return point[name]
        case ex.Const(name=name) if name in _CONSTANTS:
            return +_CONSTANTS[name]
        case ex.Add(terms=terms):
            return mpmath.fsum(value(term, point) for term in terms)
        case ex.Mul(factors=factors):
            return mpmath.fprod(value(factor, point) for factor in factors)
        case ex.Pow(base=base, exponent=exponent):
            return _power(value(base, point), value(exponent, point))
        case ex.Percent(arg=arg):
            return value(arg, point) / 100
        case ex.Degrees(arg=arg):
            return value(arg, point) * mpmath.pi / 180
        case ex.Based(digits=digits, base=base):
            return mpmath.mpf(int(digits, base))
        case ex.Call(name=name, args=args):
            return _call(name, [value(arg, point) for arg in args])
    raise Unknown(type(node).__name__)


_CONSTANTS = {"pi": mpmath.pi, "e": mpmath.e, "i": mpmath.j}


def _power(base, exponent):
    if base == 0:
        if mpmath.re(exponent) <= 0:
            raise Unknown("zero to no positive power")
        return base
    if abs(exponent * mpmath.log(abs(base), 2)) > MOST_MAGNITUDE:
        raise Unknown("too large")
    return mpmath.power(base, exponent)


def _call(name, args):
    function = _FUNCTIONS.get(name)
    if function is None:
        raise Unknown(name)
    if any(arg and mpmath.mag(arg) > MOST_ANGLE for arg in args):
        raise Unknown("too large an argument")
    return function(*args)


def _factorial(arg):
    if abs(arg) > 5_000:
        raise Unknown("too large a factorial")
    return mpmath.factorial(arg)


def _binomial(top, bottom):
    if abs(top) > 5_000 or abs(bottom) > 5_000:
        raise Unknown("too large a binomial")
    return mpmath.binomial(top, bottom)


def _exp(arg):
    if abs(arg) > MOST_MAGNITUDE // 2:
        raise Unknown("too large")
    return mpmath.exp(arg)


_FUNCTIONS = {
    name: getattr(mpmath, name)
    for name in (
        "sin cos tan cot sec csc asin acos atan acot sinh cosh tanh ln floor ceil re im"
    ).split()
} | {
    "exp": _exp,
    "abs": abs,
    "log": lambda arg, base: mpmath.log(arg) / mpmath.log(base),
    "factorial": _factorial,
    "binomial": _binomial,
    "max": max,
    "min": min,
    "mod": lambda arg, modulus: arg - modulus * mpmath.floor(arg / modulus),
    "sgn": mpmath.sign,
}
