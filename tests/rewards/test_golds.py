"""Reference answers are shown as the checker reads them, or why it cannot."""

import json

import pytest

from maspo_jax.rewards import golds
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


@pytest.mark.parametrize("gold", ["2 \\div", "{", "x^", "5 = = 5"])
def test_what_cannot_be_read_says_why(gold):
    why = golds.fault(gold)
    assert why
    with pytest.raises(Unreadable) as caught:
        golds.shown(gold)
    assert str(caught.value) == why


def test_a_task_of_countdown_is_read_by_another_grader():
    task = json.dumps({"numbers": [44, 19, 35], "target": 98})
    assert golds.fault(task) is None and golds.shown(task) == task
