"""The policy of what counts as the same answer, as laws and as a table of pairs."""

import csv
import itertools
import pathlib

import pytest

from maspo_jax.rewards import Verifier
from maspo_jax.rewards.mathematics.algebra import values
from maspo_jax.rewards.mathematics.logic import either, every, paired
from maspo_jax.rewards.mathematics.meaning import equivalence

with open(
    pathlib.Path(__file__).with_name("answer_pairs.tsv"), encoding="utf-8"
) as file:
    PAIRS = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
GOLDS = sorted({pair["gold"] for pair in PAIRS})
# Kinds whose policy treats the reference and the answer differently.
ONE_SIDED = {"choice", "tuple_ordered", "gold_form"}


@pytest.fixture(scope="module")
def verifier():
    with Verifier(workers=1, deadline=10.0) as verifier:  # no test of speed
        yield verifier


def grade(verifier, gold, answer):
    return verifier.check(rf"so \boxed{{{answer}}}.", gold).outcome


@pytest.mark.parametrize("pair", PAIRS, ids=lambda p: f"{p['kind']}-{p['answer']}")
def test_every_pair_of_the_table(verifier, pair):
    outcome = grade(verifier, pair["gold"], pair["answer"])
    assert (outcome == "correct") == (pair["verdict"] == "right"), outcome


@pytest.mark.parametrize("gold", GOLDS)
def test_every_reference_equals_itself(gold):
    for spelled in (gold, f" {gold} ", gold + r"\,", f"${gold}$"):
        if gold.count("$") % 2 == 0 or "$" not in spelled:
            assert equivalence.compare_texts(gold, spelled, values.quick)[0] is True


@pytest.mark.parametrize(
    "pair",
    [pair for pair in PAIRS if pair["kind"] not in ONE_SIDED],
    ids=lambda p: f"{p['kind']}-{p['answer']}",
)
def test_equality_is_symmetric(verifier, pair):
    there = grade(verifier, pair["gold"], pair["answer"])
    back = grade(verifier, pair["answer"], pair["gold"])
    assert (there == "correct") == (back == "correct")


NUMBERS = [
    "0", "1", "-1", "2", r"\frac12", "0.3", r"\frac13", r"\sqrt2", "10^{-9}", r"\pi",
    "e", r"\ln 2", r"\ln(-2)", "i", r"2^{-99}", "20001", "20000", "10!", r"\infty",
]  # fmt: skip


def test_different_numbers_are_different():
    for first, second in itertools.permutations(NUMBERS, 2):
        assert equivalence.compare_texts(first, second, values.quick)[0] is False


@pytest.mark.parametrize("digits", range(1, 16))
def test_a_decimal_stands_for_an_exact_value_from_seven_digits_on(digits):
    for gold, value in (
        (r"\frac23", 2 / 3),
        (r"\sqrt{2}", 2**0.5),
        (r"\pi", 3.14159265358979),
    ):
        answer = f"{value:.{digits}g}"
        verdict, _ = equivalence.compare_texts(gold, answer, values.quick)
        assert verdict is (len(answer.replace(".", "").lstrip("0")) >= 7)


@pytest.mark.parametrize("digits", range(7, 16))
def test_a_decimal_never_stands_for_another_finite_decimal(digits):
    assert equivalence.compare_texts("1", "0." + "9" * digits, values.quick)[0] is False
    assert (
        equivalence.compare_texts("0.5", f"0.5{'0' * digits}1", values.quick)[0]
        is False
    )


def test_undefined_values_match_nothing():
    for undefined in (
        r"\frac{0}{0}",
        r"\frac{1}{0}",
        r"\infty-\infty",
        "0^0",
        r"\ln 0",
    ):
        for gold in ("0", "1", "5", r"\infty", "x"):
            assert equivalence.compare_texts(gold, undefined, values.quick)[0] is False


def test_three_valued_logic():
    assert every([True, True]) is True
    assert every([True, None]) is None
    assert every([None, False]) is False
    assert either([False, None]) is None
    assert either([None, True]) is True
    assert either([]) is False


def test_pairing_is_one_to_one():
    same = {(1, "a"): True, (1, "b"): True, (2, "a"): True}
    compare = lambda a, b: same.get((a, b), False)
    assert paired([1, 2], ["a", "b"], compare) is True
    assert paired([2, 2], ["a", "b"], compare) is False
    unsure = lambda a, b: None if (a, b) == (2, "b") else compare(a, b)
    assert paired([2, 2], ["a", "b"], unsure) is None
