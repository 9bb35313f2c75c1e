"""Soundness by mutation: spoiled answers earn nothing, others shown anew do."""

import collections
import random
import sys

import pytest
from conftest import SHARED
from support.mutations import keeping, spoiling, writing
from support.mutations.golds import everything
from support.mutations.referee import agree, differ, meaning

from maspo_jax.data.sources import ProblemFile
from maspo_jax.rewards import Verifier

FEWEST = 30  # rules of each sort
SPOILED, KEPT = spoiling.RULES, keeping.RULES
FILES = (
    "deepscaler_preview/train.jsonl.gz",
    "math500/test.jsonl",
    "minerva/test.jsonl",
)

# (rule, gold) -> why the checker is right where it disagrees with the rule.
EXCEPTIONS = {}


@pytest.fixture(scope="module")
def verifier():
    with Verifier(deadline=5.0) as verifier:
        yield verifier


def shown(rules, golds):
    """Returns (rule, gold, response) for every rule that applies to a gold."""
    pairs = []
    for gold in golds:
        for name, rule in rules.items():
            text = rule(gold)
            if text is not None:
                response = text if rules is KEPT else rf"So we get \boxed{{{text}}}."
                pairs.append((name, gold, response))
    return pairs


def disagreements(verifier, pairs, expected):
    """Returns what the checker says, per rule, where that is not as expected."""
    verdicts = verifier.grade([pair[2] for pair in pairs], [pair[1] for pair in pairs])
    found = collections.defaultdict(list)
    for (name, gold, response), verdict in zip(pairs, verdicts, strict=True):
        right = (verdict.outcome == "correct") == expected
        if not right and (name, gold) not in EXCEPTIONS:
            found[name].append((gold, response, verdict.outcome, verdict.rule))
    return dict(found)


def test_there_are_rules_enough_and_each_applies():
    for rules in (SPOILED, KEPT):
        assert len(rules) >= FEWEST
        used = {name for name, _, _ in shown(rules, everything())}
        assert set(rules) - used == set()


@pytest.mark.parametrize("seed", range(4))
def test_no_spoiled_answer_is_accepted(verifier, seed):
    pairs = shown(SPOILED, everything())
    drawn = random.Random(seed).sample(pairs, 2_000)
    assert disagreements(verifier, drawn, expected=False) == {}


@pytest.mark.parametrize("seed", range(4))
def test_every_answer_shown_anew_is_accepted(verifier, seed):
    pairs = shown(KEPT, everything())
    drawn = random.Random(seed).sample(pairs, 2_000)
    assert disagreements(verifier, drawn, expected=True) == {}


@pytest.mark.shared
def test_real_golds(verifier):
    golds = {
        p.answer for name in FILES for p in ProblemFile(str(SHARED / "data" / name))
    }
    golds = random.Random(0).sample(sorted(golds), 60)
    assert disagreements(verifier, shown(SPOILED, golds), expected=False) == {}
    kept = shown(KEPT, golds)
    refused = disagreements(verifier, kept, expected=True)
    assert sum(map(len, refused.values())) <= 0.01 * len(kept), refused


@pytest.mark.parametrize(
    "one, other",
    [
        ("1/2", "2/1"), ("2^{3}", "2^{4}"), (r"\sqrt{2}", "1.41421"),
        ("(1,2)", "(2,1)"),
        ("1, 2", "1, 3"), ("[0,1)", "[0,2)"), ("x+1", "y+1"), ("x=5", "x=6"),
        ("304_7", "305_7"), (r"1\pm 2", "3"), (r"5\text{ cm}", r"6\text{ cm}"),
        (r"20\%", r"30\%"), ("x+y=5", "x-y=5"), ("x>3", r"x\ge 3"), ("7!", "7"),
        (r"(-\infty,1)\cup(1,\infty)", r"(-\infty,1)\cup[1,\infty)"),
        ("99999999999999999999", "99999999999999999998"), ("3", r"\{3, 4\}"),
    ],
)  # fmt: skip
def test_the_referee_tells_values_apart(one, other):
    assert differ(one, other) and differ(other, one)
    assert not agree(one, other)


@pytest.mark.parametrize(
    "one, other",
    [
        ("1/2", r"\frac{2}{4}"), ("0.5", r"\dfrac12"), (r"\sqrt{12}", r"2\sqrt{3}"),
        ("1, 2", "2, 1"), ("(x+1)^2", "x^2+2x+1"), (r"2\frac12", "5/2"),
        (r"\{1,2\}", r"\{2, 1\}"), (r"0.\overline{3}", r"\frac13"),
        ("x+y=5", "2x+2y=10"),
        ("7!", "5040"), ("1,234", "1234"), (r"\binom{5}{2}", "10"),
        ("x>3", r"(3,\infty)"),
    ],
)  # fmt: skip
def test_the_referee_never_tells_equals_apart(one, other):
    assert not differ(one, other) and not differ(other, one)


@pytest.mark.parametrize(
    "text",
    ["1/2x", "1 234", "5 apples or 6", "2^10", "even", r"\frac{1}{0}", "f(x)", ""],
)
def test_the_referee_does_not_guess(text):
    assert meaning(text) is None


@pytest.mark.parametrize("gold", ["1", r"\frac{3}{3}", "0", r"\{2\}", r"\pm 0"])
def test_rules_know_where_nothing_changes(gold):
    for name in ("fraction_inverted", "sign_of_all", "squared", "member_repeated"):
        spoiled = SPOILED[name](gold)
        assert spoiled is None or differ(gold, spoiled), (name, gold, spoiled)
    assert SPOILED["fraction_inverted"](gold) is None
    assert SPOILED["plus_minus_added"]("0") is None


def test_the_referee_knows_nothing_of_the_checker():
    for module in ("referee", "spoiling", "writing", "keeping"):
        source = sys.modules[f"support.mutations.{module}"].__file__
        with open(source, encoding="utf-8") as file:
            assert "import maspo_jax" not in file.read().replace("from ", "import ")


def test_rules_are_the_same_in_every_process():
    assert SPOILED["digit_changed"]("12345") == SPOILED["digit_changed"]("12345")
    assert writing.bare_number("12") == 12
