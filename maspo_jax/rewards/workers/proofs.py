"""The dear end of the ladder, for workers only: many digits, then SymPy.

    probes to many digits disagree -> different
    they agree                     -> proved by SymPy, or
                                      accepted as agreeing if the input is small

Two expressions of ordinary size that agree to sixty digits and more, at every
point tried, are the same; two with huge literals may still differ further out,
and those count as equal only with a proof.
"""

import contextlib
import functools
import random
import signal
import time
import zlib

import mpmath
import sympy

from maspo_jax.rewards.mathematics.algebra import balls, precise, symbolic, values
from maspo_jax.rewards.mathematics.algebra.normal import rational_value
from maspo_jax.rewards.mathematics.language import expression as ex
from maspo_jax.rewards.mathematics.meaning import equivalence

DIGITS = 120  # beyond those the input itself needs; half of them have to agree
MOST_DIGITS = 15_000
POINTS = 6
PROOF_SHARE = 0.4  # of the deadline: after it agreement stands without a proof
BINDER_SHARE = 0.5  # the same where only a proof counts: sums, integrals, limits
_PIECEWISE = frozenset("abs floor ceil sgn max min mod gcd lcm re im arg".split())
# What SymPy computes for the first time is slow; a worker starts with these behind it.
WARM_UP = [
    (r"\sin(a+b)-\sin(a-b)", r"2\sin b\cos a"),
    (r"\sqrt{3+2\sqrt2}", r"1+\sqrt2"),
    (r"\sum_{k=1}^n k", r"\frac{n(n+1)}{2}"),
    (r"\int_0^1 x e^x \, dx", "1"),
]
SMALL = 60  # digits in all literals of an input that needs no proof


class _OutOfTime(BaseException):
    """Raised by this worker's own alarm; nobody's `except Exception` stops it."""


def decide(gold, answer, seconds):
    """Returns the name of an outcome for two bare texts."""
    started = time.monotonic()
    tally = _Tally(started, seconds)
    verdict, rule = equivalence.compare_texts(gold, answer, tally.same)
    if verdict is None:
        return "undecided"
    if verdict is False and rule.startswith("unparsed"):
        return "unparsed"
    if verdict and tally.unproved:
        return "agreed"
    return "correct" if verdict else "wrong"


class _Tally:
    """One check: what was compared, and whether agreement had to do for proof."""

    def __init__(self, started, seconds):
        self.started, self.seconds = started, seconds
        self.unproved = False
        self.same = functools.lru_cache(maxsize=4096)(self.compare)

    def compare(self, gold, answer):
        """Compares two value nodes as well as this package can."""
        verdict = values.quick(gold, answer)
        if verdict is not None:
            return verdict
        agreed = _agree(gold, answer)
        bound = any(
            isinstance(b, ex.Binder) for n in (gold, answer) for b in ex.walk(n)
        )
        if agreed is False or (agreed is None and not bound):
            return agreed
        share = BINDER_SHARE if bound else PROOF_SHARE
        if _proved(gold, answer, self.started + share * self.seconds):
            return True
        if bound:
            return None
        if _digits(gold) + _digits(answer) > SMALL:
            return None
        if _is_piecewise(gold) or _is_piecewise(answer):
            return None
        self.unproved = True
        return True


def _is_piecewise(node):
    """Whether a node may agree with another here and not elsewhere."""
    calls = (below for below in ex.walk(node) if isinstance(below, ex.Call))
    return any(call.name in _PIECEWISE for call in calls)


def _digits(node):
    """Returns about how many digits the numbers of a node have, powers computed.

    Two expressions this long may differ as late as at that digit, and no later
    one needs to be looked at twice: it sets the precision of the probes.
    """
    total = 0
    for below in ex.walk(node):
        match below:
            case ex.Num(value=value):
                total += _length(value)
            case ex.Pow(base=base, exponent=exponent):
                size, power = rational_value(base), rational_value(exponent)
                if size is not None and power is not None:
                    total += int(abs(power) * _length(size))
            case ex.Call(name="factorial" | "binomial", args=(first, *_)):
                count = rational_value(first)
                if count is not None:
                    total += int(abs(count) * _length(count))
    return total


def _length(value):
    bits = value.numerator.bit_length() + value.denominator.bit_length() - 1
    return 1 + bits * 3 // 10


def _agree(gold, answer):
    """True if all probes agree, False if one disagrees, None if none can be had."""
    digits = DIGITS + 3 * (_digits(gold) + _digits(answer))
    if digits > MOST_DIGITS:
        return None
    near = values.near_literal(gold, answer)
    if near is not None:
        return _is_near(*near, digits)
    seen = 0
    alternates = balls.alternates(gold, answer)
    for point in _points(gold, answer):
        try:
            gap = _gap(gold, answer, point, digits)
        except (ArithmeticError, ValueError, TypeError, KeyError):
            gap = None
        if gap is None and alternates and _is_onesided(gold, answer, point):
            return False  # real, or defined, at even n and not at odd ones
        if gap is None:
            continue
        if gap > mpmath.mpf(10) ** (-digits // 2):
            return False
        seen += 1
    return True if seen else None


def _is_near(other, low, high, digits):
    """Whether a number lies between two rationals, or None if it is none."""
    try:
        with mpmath.workdps(digits):
            value = precise.value(other, {})
            if mpmath.im(value):
                return False
            low, high = (mpmath.mpf(q.numerator) / q.denominator for q in (low, high))
            return bool(low <= mpmath.re(value) <= high)
    except (ArithmeticError, ValueError, TypeError, KeyError):
        return None


def _gap(gold, answer, point, digits):
    """Returns |gold - answer| over their size, or None where either is complex."""
    with mpmath.workdps(digits):
        exact = {name: mpmath.mpf(p) / q for name, (p, q) in point.items()}
        a, b = precise.value(gold, exact), precise.value(answer, exact)
        if point and not _mention_i(gold, answer):
            if mpmath.im(a) or mpmath.im(b):
                return None
        size = max(abs(a), abs(b))
        return abs(a - b) / size if size else mpmath.mpf(0)


def _is_onesided(gold, answer, point):
    """Whether one of two expressions is a real number at a point, and the other not."""
    return _is_real(gold, point) != _is_real(answer, point)


def _is_real(node, point):
    exact = {name: mpmath.mpf(p) / q for name, (p, q) in point.items()}
    try:
        return not mpmath.im(precise.value(node, exact))
    except (ArithmeticError, ValueError, TypeError, KeyError):
        return False


def _mention_i(*nodes):
    return any(b == ex.Const("i") for node in nodes for b in ex.walk(node))


def _points(gold, answer):
    """Yields assignments of rationals, as pairs, to the variables."""
    names = sorted(ex.symbols(gold) | ex.symbols(answer))
    if not names:
        yield {}
        return
    seed = zlib.crc32(repr(gold).encode()) ^ zlib.crc32(repr(answer).encode())
    draw = random.Random(seed)
    whole = balls.needs_integers(gold, answer)
    for attempt in range(POINTS):
        sign = draw.choice((1, -1)) if attempt % 2 and not whole else 1
        yield {
            name: (2 * draw.randint(1, 5) + (attempt >> place) % 2, 1)
            if whole
            else (sign * draw.randint(300, 2700), 997)
            for place, name in enumerate(names)
        }


def _proved(gold, answer, until):
    """Whether SymPy proves two nodes equal before `until`."""
    seconds = until - time.monotonic()
    if seconds <= 0:
        return False
    with _alarm(seconds):
        try:
            names = ex.symbols(gold) | ex.symbols(answer)
            symbols = {name: sympy.Symbol(name, real=True) for name in names}
            difference = symbolic.to_sympy(gold, symbols)
            difference -= symbolic.to_sympy(answer, symbols)
            return _vanishes(difference)
        except _OutOfTime:
            return False
        except MemoryError:  # said as what it is: an error, not a wrong answer
            raise
        except Exception:  # whatever SymPy raises, it is no proof
            return False


def _vanishes(difference):
    if difference == 0:
        return True
    if not difference.free_symbols and difference.is_algebraic:
        variable = sympy.Dummy()
        return sympy.minimal_polynomial(difference, variable) == variable
    if sympy.cancel(sympy.together(difference)) == 0:
        return True
    return sympy.simplify(difference) == 0


@contextlib.contextmanager
def _alarm(seconds):
    """Interrupts Python code of this process (a worker) after some seconds."""

    def ring(number, frame):
        raise _OutOfTime

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
