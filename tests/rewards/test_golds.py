"""Reference answers are shown as the checker reads them, or why it cannot."""

import json

import pytest

from maspo_jax.rewards import golds, is_correct
from maspo_jax.rewards.mathematics.language.tokens import Unreadable

READ = [
    ("72", "72"),
    ("\\frac12", "1/2"),
    ("1,234", "1234"),
    ("x", "x"),
    ("Softball", "Text(Softball)"),
    ("#### 5", "5"),
    ("\\boxed{5}", "5"),
]


@pytest.mark.parametrize("gold, reading", READ)
def test_answers_are_written_as_they_are_read(gold, reading):
    assert golds.fault(gold) is None
    assert golds.shown(gold) == reading


@pytest.mark.parametrize("gold", ["(1, 2)", "x=2,3", "17\\text{ meters}", "\\{1, 2\\}"])
def test_structure_is_told_by_its_name(gold):
    assert golds.fault(gold) is None
    told = golds.shown(gold)
    assert told[0].isupper() and told.endswith(")") and "value=" not in told


TWICE = [
    ("(2, 3)", "an interval", "2 < x < 3", "x = 2, y = 3"),
    ("(-\\frac12, \\pi)", "an interval", "-0.5<x<\\pi", "x=-\\frac12, y=\\pi"),
    ("20\\%", "without its percent sign", "20", "0.2"),
]
ONCE = ["7", "(3, 2)", "(a, a+1)", "[2, 3]", "(1, 2, 3)", "\\{2, 3\\}", "0\\%", "7_8"]
ONCE += ["1B_{16}", "1,234", "x = 5", "30^\\circ", "\\emptyset", "5\\text{ cm}"]


@pytest.mark.parametrize("gold, name, first, second", TWICE)
def test_another_reading_is_told_where_both_earn(gold, name, first, second):
    assert golds.other_reading(gold) == name
    assert is_correct(f"\\boxed{{{first}}}", gold)
    assert is_correct(f"\\boxed{{{second}}}", gold)
    assert not is_correct(f"\\boxed{{{first}}}", second)


def test_digits_in_a_base_have_two_readings():
    assert golds.other_reading("101_2") == "in base ten"
    assert is_correct(r"\boxed{101}", "101_2")
    assert is_correct(r"\boxed{101_{2}}", "101_2")
    assert not is_correct(r"\boxed{5}", "101_2")


@pytest.mark.parametrize("gold", ONCE)
def test_one_reading_is_not_told(gold):
    assert golds.fault(gold) is None and golds.other_reading(gold) is None


@pytest.mark.parametrize("gold", ["2 \\div", "{", "x^", "5 = = 5"])
def test_what_cannot_be_read_says_why(gold):
    why = golds.fault(gold)
    assert why
    for read in (golds.shown, golds.other_reading):
        with pytest.raises(Unreadable) as caught:
            read(gold)
        assert str(caught.value) == why


def test_a_task_of_countdown_is_read_by_another_grader():
    task = json.dumps({"numbers": [44, 19, 35], "target": 98})
    assert golds.fault(task) is None and golds.shown(task) == task
    assert golds.other_reading(task) is None
