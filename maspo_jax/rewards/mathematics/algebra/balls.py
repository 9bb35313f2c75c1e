"""Evaluation in double precision with a bound on the error: proof of a difference.

A ball is (value, error): the true value lies within `error` of `value`. Two
balls that do not touch prove two expressions unequal, in microseconds and
without any library. Balls that touch prove nothing.
"""

import cmath
import math
import random
import zlib

from maspo_jax.rewards.mathematics.language import expression as ex

EPSILON = 4e-16
POINTS = 4
_INTEGER_VALUED = frozenset(["factorial", "factorial2", "binomial", "mod"])


class Unknown(ArithmeticError):
    """No useful ball: overflow, a branch cut or a function not known here."""


def differ(left, right):
    """Whether two value nodes certainly have different values at some point."""
    names = sorted(ex.symbols(left) | ex.symbols(right))
    complex_ok = not names or _mentions_i(left) or _mentions_i(right)
    for point in points(names, left, right):
        try:
            a, b = ball(left, point), ball(right, point)
        except (Unknown, OverflowError, ZeroDivisionError, ValueError):
            continue
        if not complex_ok and (a[0].imag or b[0].imag):
            continue
        gap = abs(a[0] - b[0])
        if gap > 4 * (a[1] + b[1]) and math.isfinite(gap):
            return True
    return False


def points(names, left, right):
    """Yields assignments of numbers to names, seeded by both nodes in either order."""
    if not names:
        yield {}
        return
    seed = zlib.crc32(repr(left).encode()) ^ zlib.crc32(repr(right).encode())
    draw = random.Random(seed)
    integers = needs_integers(left, right)
    for attempt in range(POINTS):
        if integers:
            yield {
                name: float(2 * draw.randint(1, 5) + (attempt >> place) % 2)
                for place, name in enumerate(names)
            }
            continue
        signs = (1, -1) if attempt % 2 else (1,)
        most = 2.7 if attempt < 2 else 9.0
        yield {name: draw.uniform(0.3, most) * draw.choice(signs) for name in names}


def needs_integers(*nodes):
    """Whether the variables stand in functions of integers, such as factorials."""
    return alternates(*nodes) or any(
        isinstance(below, ex.Call) and below.name in _INTEGER_VALUED
        for node in nodes
        for below in ex.walk(node)
    )


def alternates(*nodes):
    """Whether a power of a negative number is among the nodes: (-1)^n."""
    powers = (b for node in nodes for b in ex.walk(node) if isinstance(b, ex.Pow))
    return any(
        isinstance(power.base, ex.Num)
        and power.base.value < 0
        and ex.symbols(power.exponent)
        for power in powers
    )


def _mentions_i(node):
    return any(below == ex.Const("i") for below in ex.walk(node))


def ball(node, point):
    """Returns the ball of a value node where each symbol has its value in `point`."""
    match node:
        case ex.Num(value=value):
            return _rounded(value)
        case ex.Sym(name=name):
            return point[name], 0.0
        case ex.Const(name=name):
            if name not in _CONSTANTS:
                raise Unknown(name)
            return _CONSTANTS[name]
        case ex.Add(terms=terms):
            total, error = 0.0, 0.0
            for term in terms:
                value, bound = ball(term, point)
                total += value
                error += bound + EPSILON * (abs(total) + abs(value))
            return total, error
        case ex.Mul(factors=factors):
            total, error = 1.0, 0.0
            for factor in factors:
                value, bound = ball(factor, point)
                error = error * (abs(value) + bound) + abs(total) * bound
                total *= value
                error += EPSILON * abs(total)
            return total, error
        case ex.Pow(base=base, exponent=exponent):
            return _power(ball(base, point), ball(exponent, point))
        case ex.Percent(arg=arg):
            value, error = ball(arg, point)
            return value / 100, error / 100 + EPSILON * abs(value)
        case ex.Degrees(arg=arg):
            value, error = ball(arg, point)
            return value * math.pi / 180, error / 50 + EPSILON * abs(value)
        case ex.Based(digits=digits, base=base):
            return _rounded(int(digits, base))
        case ex.Call(name=name, args=args):
            return _call(name, [ball(arg, point) for arg in args])
    raise Unknown(type(node).__name__)


def _rounded(value):
    number = float(value)
    return number, 0.0 if number == value else EPSILON * abs(number)


_CONSTANTS = {
    "pi": (math.pi, EPSILON * 4),
    "e": (math.e, EPSILON * 4),
    "i": (1j, 0.0),
}


def _power(base, exponent):
    (x, dx), (y, dy) = base, exponent
    if dy == 0 and y == int(y.real) and abs(y) <= 64 and not y.imag:
        return _whole_power(x, dx, int(y.real))
    if abs(x) <= 2 * dx:
        raise Unknown("a power of something near zero")
    if dx and (isinstance(x, complex) or x < 0) and x.real < 0:
        if abs(x.imag) <= dx and not (dy == 0 and isinstance(x, float)):
            raise Unknown("a branch cut")
    logarithm = cmath.log(x)
    value = x**y if isinstance(x, float) and x > 0 else cmath.exp(y * logarithm)
    relative = abs(y) * dx / (abs(x) - dx) + dy * abs(logarithm)
    relative += EPSILON * (2 + abs(y * logarithm))
    return _spread(value, relative)


def _whole_power(x, dx, n):
    if n < 0:
        if abs(x) <= 2 * dx:
            raise Unknown("a division by something near zero")
        x, dx = 1 / x, dx / (abs(x) * (abs(x) - dx)) + EPSILON / abs(x)
        n = -n
    value = x**n
    return value, n * (abs(x) + dx) ** (n - 1) * dx + n * EPSILON * abs(value)


def _spread(value, relative):
    if relative > 0.1:
        raise Unknown("too uncertain")
    return value, abs(value) * relative * 1.2


def _call(name, args):
    handler = _FUNCTIONS.get(name)
    return _any_function(name, args) if handler is None else handler(*args)


def _any_function(name, args):
    """Stands for a function that is not known: a smooth one, fixed by its name."""
    phase, error = float(zlib.crc32(name.encode()) % 1009), 0.0
    for place, (x, dx) in enumerate(args):
        if isinstance(x, complex):
            raise Unknown("a complex argument")
        phase += x * (1 + place / 7)
        error += dx * (1 + place / 7)
    return _FUNCTIONS["sin"]((phase, error + EPSILON * abs(phase)))


def _smooth(function, slope):
    """A real function whose derivative is bounded by `slope` near its argument."""

    def apply(arg):
        x, dx = arg
        if isinstance(x, complex):
            raise Unknown("a complex argument")
        value = function(x)
        return value, slope(abs(x) + dx) * dx + EPSILON * (abs(value) + abs(x) * 1e-3)

    return apply


def _trigonometric(function, slope):
    smooth = _smooth(function, slope)

    def apply(arg):
        if arg[1] > 0.01 or abs(arg[0]) > 1e9:
            raise Unknown("an angle not known well enough")
        return smooth(arg)

    return apply


def _tangent(arg):
    (s, ds), (c, dc) = _FUNCTIONS["sin"](arg), _FUNCTIONS["cos"](arg)
    return _quotient((s, ds), (c, dc))


def _quotient(top, bottom):
    inverse, error = _whole_power(*bottom, -1)
    value = top[0] * inverse
    return value, abs(top[0]) * error + top[1] * abs(inverse) + EPSILON * abs(value)


def _logarithm(arg):
    x, dx = arg
    if abs(x) <= 2 * dx or x == 0:
        raise Unknown("a logarithm near zero")
    if isinstance(x, complex) and x.real < 0 and abs(x.imag) <= dx:
        raise Unknown("a branch cut")
    value = math.log(x) if isinstance(x, float) and x > 0 else cmath.log(x)
    return value, dx / (abs(x) - dx) + EPSILON * (1 + abs(value))


def _exponential(arg):
    x, dx = arg
    value = cmath.exp(x) if isinstance(x, complex) else math.exp(x)
    return _spread(value, dx + EPSILON * (1 + abs(x)))


def _inverse(function):
    def apply(arg):
        x, dx = arg
        if isinstance(x, complex) or abs(x) + dx >= 1:
            if dx or abs(x) != 1:
                raise Unknown("the end of an inverse function's range")
        slope = 1.0 if abs(x) == 1 else 1 / math.sqrt(1 - (abs(x) + dx) ** 2)
        return function(x), slope * dx + EPSILON * 4

    return apply


def _rounding(function):
    def apply(arg):
        x, dx = arg
        if isinstance(x, complex) or function(x - dx) != function(x + dx):
            raise Unknown("a step")
        return float(function(x)), 0.0

    return apply


def _absolute(arg):
    return abs(arg[0]), arg[1] + EPSILON * abs(arg[0])


def _factorial(arg):
    x, dx = arg
    if dx or isinstance(x, complex) or x != int(x) or not 0 <= x <= 170:
        raise Unknown("a factorial of no small integer")
    return _rounded(math.factorial(int(x)))


def _binomial(top, bottom):
    if any(error or isinstance(x, complex) or x % 1 for x, error in (top, bottom)):
        raise Unknown("a binomial of no integers")
    if not (0 <= top[0] <= 500 and 0 <= bottom[0] <= 500):
        raise Unknown("a binomial of no small integers")
    return _rounded(math.comb(int(top[0]), int(bottom[0])))


def _log(arg, base):
    return _quotient(_logarithm(arg), _logarithm(base))


def _chosen(choose):
    def apply(*args):
        if any(isinstance(value, complex) for value, _ in args):
            raise Unknown("an order of complex numbers")
        return choose(value for value, _ in args), max(error for _, error in args)

    return apply


_FUNCTIONS = {
    "sin": _trigonometric(math.sin, lambda x: 1.0),
    "cos": _trigonometric(math.cos, lambda x: 1.0),
    "tan": _tangent,
    "cot": lambda arg: _quotient(_FUNCTIONS["cos"](arg), _FUNCTIONS["sin"](arg)),
    "sec": lambda arg: _whole_power(*_FUNCTIONS["cos"](arg), -1),
    "csc": lambda arg: _whole_power(*_FUNCTIONS["sin"](arg), -1),
    "asin": _inverse(math.asin),
    "acos": _inverse(math.acos),
    "atan": _smooth(math.atan, lambda x: 1.0),
    "sinh": _smooth(math.sinh, math.cosh),
    "cosh": _smooth(math.cosh, math.sinh),
    "tanh": _smooth(math.tanh, lambda x: 1.0),
    "ln": _logarithm,
    "log": _log,
    "exp": _exponential,
    "abs": _absolute,
    "floor": _rounding(math.floor),
    "ceil": _rounding(math.ceil),
    "factorial": _factorial,
    "binomial": _binomial,
    "max": _chosen(max),
    "min": _chosen(min),
}
