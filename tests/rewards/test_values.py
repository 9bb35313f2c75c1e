"""Laws of the ladder: what it calls equal is equal, what it calls different differs."""

import random
from fractions import Fraction

import mpmath
import pytest

from maspo_jax.rewards.mathematics.algebra import balls, normal, precise, values
from maspo_jax.rewards.mathematics.algebra.polynomials import (
    Budget,
    constant,
    rational,
    root_or_power,
)
from maspo_jax.rewards.mathematics.language import expression as ex
from maspo_jax.rewards.mathematics.language.parser import parse
from maspo_jax.rewards.workers import proofs

hypothesis = pytest.importorskip("hypothesis", reason="laws are tried on many trees")
st = pytest.importorskip("hypothesis.strategies")
given = hypothesis.given
laws = hypothesis.settings(max_examples=300, deadline=None, derandomize=True)

NAMES = ("x", "y")
numbers = st.builds(
    lambda p, q: ex.Num(Fraction(p, q)), st.integers(-9, 9), st.integers(1, 6)
)
leaves = st.one_of(
    numbers,
    st.sampled_from([ex.Sym(name) for name in NAMES]),
    st.sampled_from([ex.Const("pi"), ex.Const("e"), ex.Const("i")]),
)


def _branches(below):
    pair = st.tuples(below, below)
    return st.one_of(
        st.builds(ex.Add, pair),
        st.builds(ex.Mul, pair),
        st.builds(
            lambda a, n: ex.Pow(a, ex.Num(Fraction(n))), below, st.integers(-2, 3)
        ),
        st.builds(lambda a: ex.Pow(a, HALF), below),
        st.builds(lambda a, f: ex.Call(f, (a,)), below, st.sampled_from(FUNCTIONS)),
        st.builds(
            lambda a, b: ex.Pow(ex.Num(Fraction(2 + abs(b))), a),
            below,
            st.integers(0, 4),
        ),
    )


HALF = ex.Num(Fraction(1, 2))
FUNCTIONS = ["sin", "cos", "tan", "ln", "exp", "abs"]
trees = st.recursive(leaves, _branches, max_leaves=8)
points = st.fixed_dictionaries({name: st.integers(1, 40) for name in NAMES})


def true_value(node, point):
    """The value to fifty digits, or None where there is none.

    Of a root of a root of what is zero but for rounding, three deep, as well.
    """
    with mpmath.workdps(400):
        exact = {name: mpmath.mpf(n) / 8 for name, n in point.items()}
        try:
            return precise.value(node, exact)
        except (ArithmeticError, ValueError, KeyError):
            return None


@given(trees, points)
@laws
def test_a_ball_holds_the_true_value(node, point):
    value = true_value(node, point)
    try:
        near, error = balls.ball(node, {name: n / 8 for name, n in point.items()})
    except (ArithmeticError, ValueError):
        return
    if value is not None and error < 1e300:
        assert abs(mpmath.mpmathify(near) - value) <= 4 * error + 1e-300


@given(trees, trees, points)
@laws
def test_equal_forms_have_equal_values(left, right, point):
    rewritten = ex.Add((ex.Mul((right, ex.TWO)), left, ex.Mul((ex.MINUS_ONE, right))))
    for other in (right, ex.Add((right, left, ex.negated(right))), rewritten):
        if normal.same(left, other):
            first, second = true_value(left, point), true_value(other, point)
            if first is not None and second is not None:
                assert abs(first - second) <= 1e-40 * (1 + abs(first))


@given(trees, trees, trees)
@laws
def test_what_algebra_makes_equal_is_never_called_different(a, b, c):
    for left, right in (
        (ex.Add((a, b)), ex.Add((b, a))),
        (ex.Mul((a, b, c)), ex.Mul((c, b, a))),
        (ex.Mul((a, ex.Add((b, c)))), ex.Add((ex.Mul((a, b)), ex.Mul((a, c))))),
        (ex.negated(ex.negated(a)), a),
        (ex.Pow(ex.Add((a, b)), ex.TWO), ex.Mul((ex.Add((a, b)), ex.Add((b, a))))),
    ):
        assert values.quick(left, right) is not False or undefined(left, right)


def undefined(*nodes):
    """Whether one of some nodes has no value, such as 0/0 or 0^0."""
    try:
        return not all(map(normal.normal, nodes))
    except normal.Undefined:
        return True
    except normal.Unsupported:
        return any(true_value(node, {"x": 5, "y": 3}) is None for node in nodes)


@given(trees, trees)
@laws
def test_comparing_is_symmetric(left, right):
    assert values.quick(left, right) == values.quick(right, left)
    assert balls.differ(left, right) == balls.differ(right, left)


@given(trees, trees)
@laws
def test_probes_do_not_depend_on_the_order(left, right):
    there, back = balls.points(NAMES, left, right), balls.points(NAMES, right, left)
    assert list(there) == list(back)


@pytest.mark.parametrize(
    "left, right",
    [
        (r"\sqrt{xy}", r"\sqrt x\sqrt y"),
        (r"\sqrt{x^2}", "x"),
        (r"(x^3)^{1/3}", "x"),
        (r"\sqrt{-x}", r"i\sqrt{x}"),
        (r"\ln(xy)", r"\ln x+\ln y"),
    ],
)
def test_identities_of_positive_numbers_are_no_proof(left, right):
    assert normal.same(parse(left), parse(right)) is not True


@given(trees)
@laws
def test_everything_defined_equals_itself(node):
    assert values.quick(node, node) is True
    assert not balls.differ(node, node)


@pytest.mark.parametrize("base", range(2, 60))
@pytest.mark.parametrize("power", [Fraction(1, 2), Fraction(-2, 3), Fraction(5, 4)])
def test_powers_of_integers_multiply_exactly(base, power):
    form = root_or_power(constant(base), constant(power), Budget())
    whole = root_or_power(form, constant(power.denominator), Budget())
    assert rational(whole) == Fraction(base) ** power.numerator


@pytest.mark.parametrize(
    "left, right",
    [
        (r"\frac{1}{\sqrt2-1}", r"1+\sqrt2"),
        (r"\frac{8i}{6-7i}", r"\frac{-56+48i}{85}"),
        ("2^{n+1}", r"2\cdot 2^n"),
        ("4^n", "2^{2n}"),
        ("(-1)^{n+1}", "-(-1)^n"),
        ("e^{2x}", "(e^x)^2"),
        (r"\binom{2n}{n}", r"\frac{(2n)!}{(n!)^2}"),
        ("n!", "n(n-1)!"),
        (r"\log_2 3", r"\frac{\ln 3}{\ln 2}"),
        (r"\ln 6", r"\ln 2+\ln 3"),
        ("2^{1000000000}", r"2\cdot 2^{999999999}"),
        ("2013!", r"2013\cdot 2012!"),
        (r"\sin 75^\circ", r"\frac{\sqrt6+\sqrt2}{4}"),
        (r"\tan 60^\circ", r"\sqrt3"),
        (r"\frac{x^2-1}{x-1}", "x+1"),
    ],
)
def test_identities_the_normal_form_proves(left, right):
    assert normal.same(parse(left), parse(right)) is True


@pytest.mark.parametrize(
    "left, right",
    [
        (r"\sqrt{3+2\sqrt2}", r"1+\sqrt2"),
        (r"\sin(a+b)-\sin(a-b)", r"2\sin b\cos a"),
        (r"\sqrt{x^2}", "|x|"),
        (r"\cos 36^\circ\cos 72^\circ", r"\frac14"),
        (
            r"\sqrt[3]{2+\sqrt5}+\sqrt[3]{2-\sqrt5}",
            r"\sqrt[3]{2+\sqrt5}+\sqrt[3]{2-\sqrt5}+0",
        ),
    ],
)
def test_identities_a_worker_proves(left, right):
    assert proofs.decide(left, right, 20.0) == "correct"


@pytest.mark.parametrize(
    "left, right",
    [
        (r"\sqrt{10^{40}+1}", "10^{20}"),
        ("262537412640768744.0", r"e^{\pi\sqrt{163}}"),
        (r"\binom{2n}{n}", r"\binom{2n}{n+1}"),
        (r"\sqrt{2}+\sqrt{3}", r"\sqrt{5+2\sqrt6}+10^{-50}"),
    ],
)
def test_differences_that_need_many_digits(left, right):
    assert proofs.decide(left, right, 20.0) == "wrong"


@pytest.mark.parametrize(
    "left, right",
    [
        (r"\sum_{k=1}^{n} k^3", r"\frac{n^2(n+1)^2}{4}"),
        (r"\int_0^1 \frac{dx}{1+x^2}", r"\frac{\pi}{4}"),
        (r"\lim_{x\to0}\frac{1-\cos x}{x^2}", r"\frac12"),
    ],
)
def test_sums_integrals_and_limits_count_with_a_proof_alone(left, right):
    assert proofs.decide(left, right, 20.0) == "correct"
    assert proofs.decide(left, rf"{right}+10^{{-30}}", 20.0) == "undecided"
    assert values.quick(parse(left), parse(right)) is None


def test_what_warms_a_worker_is_proved():
    assert {proofs.decide(*pair, 20.0) for pair in proofs.WARM_UP} == {"correct"}


def test_a_check_whose_time_is_up_proves_nothing():
    assert proofs.decide(r"\sum_{k=1}^{n} k", r"\frac{n(n+1)}{2}", 0.0) == "undecided"


@pytest.mark.parametrize("left, right", [("m", r"\min(k+9,m)"), ("9^{9^{9^9}}", "x^y")])
def test_what_cannot_be_proved_is_undecided(left, right):
    assert proofs.decide(left, right, 5.0) == "undecided"


def test_a_budget_ends_large_forms():
    rng = random.Random(0)
    terms = tuple(ex.Sym(f"v{n}") for n in range(40))
    power = ex.Pow(ex.Add(terms), ex.Num(Fraction(30)))
    with pytest.raises(normal.Unsupported):
        normal.normal(power)
    shuffled = ex.Add(tuple(rng.sample(terms, len(terms))))
    assert normal.same(ex.Add(terms), shuffled)


@pytest.mark.parametrize(
    "left, right, verdict",
    [
        (r"\lfloor\tan(\arctan 3)\rfloor", "3", None),  # beside a step, no ball decides
        (r"\lfloor\tan(\arctan 3.5)\rfloor", "4", False),
        ("|x-1|", "|1-x|", True),
        ("|x-1|", "|x+1|", False),
    ],
)
def test_quick_is_sure_or_says_so(left, right, verdict):
    assert values.quick(parse(left), parse(right)) is verdict


def test_agreement_stands_for_a_proof_of_small_inputs_without_cases_alone():
    """Two that agree everywhere but between two probes, or in a far digit, may not."""
    far = r"\lfloor x\rfloor \cdot \frac{x^2+1}{x^2+1+10^{-90}}"
    assert proofs.decide(r"\lfloor x\rfloor", far, 5.0) in ("wrong", "undecided")
    assert proofs.decide("x", r"x+10^{-50}", 5.0) == "wrong"
    long = "1." + "0" * 59 + "1"
    assert proofs.decide(r"\sin(1)", rf"{long}\sin(1)", 5.0) == "wrong"
