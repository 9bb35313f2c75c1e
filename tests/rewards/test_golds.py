"""Reference answers are shown as the checker reads them, or why it cannot."""

import gzip
import json

import pytest
from conftest import SHARED

from maspo_jax.rewards import golds, is_correct
from maspo_jax.rewards.mathematics.algebra import values
from maspo_jax.rewards.mathematics.language.tokens import Unreadable
from maspo_jax.rewards.mathematics.meaning import equivalence, reading

READ = [
    ("72", "72"),
    ("\\frac12", "1/2"),
    ("1,234", "1234"),
    ("x", "x"),
    ("Softball", "Softball"),
    ("0.50", "0.50"),
    ("-1.5e-3", "-0.0015"),
    ("0.12345678901234568", "0.12345678901234568"),
    ("50\\%", "50%"),
    ("30^{\\circ}", "30°"),
    ("x = 5", "x = 5"),
    ("-t^2-t-3", "-t^2 - t - 3"),
    ("[1, 2]", "[1, 2]"),
    ("(1,2)", "(1, 2)"),
    ("\\{1, 2\\}", "\\{1, 2\\}"),
    ("x=2,3", "x = 2, 3"),
    ("1 < x \\le 2", "1 < x <= 2"),
    ("x > 3", "x > 3"),
    ("(-\\infty, 1) \\cup [2, 3]", "(-\\infty, 1) \\cup [2, 3]"),
    ("17\\text{ meters}", "17 meters"),
    ("\\frac{\\sqrt{3}}{2}", "sqrt(3)/2"),
    ("\\sqrt[3]{x^7}", "(x^7)^(1/3)"),
    ("f(x)=\\frac{1}{x}", "f(x) = 1/x"),
    ("\\log_2 n", "\\log_{2}(n)"),
    ("\\binom{2n}{n}", "\\binom{2n}{n}"),
    ("(2n)!", "(2n)!"),
    ("2^{n^2}", "2^(n^2)"),
    ("2004! + 1", "2004! + 1"),
    ("\\sin x \\cos y", "sin(x) * cos(y)"),
    ("See", "S * e * e"),
    ("12_3", "12_{3}"),
    ("\\mathbb{R}", "\\mathbb{R}"),
    ("\\alpha_1", "\\alpha_{1}"),
    (
        "\\begin{pmatrix}1\\\\2\\end{pmatrix}",
        "\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}",
    ),
    ("#### 5", "5"),
    ("\\boxed{5}", "5"),
]


@pytest.mark.parametrize("gold, reading", READ)
def test_answers_are_written_as_they_are_read(gold, reading):
    assert golds.fault(gold) is None
    assert golds.shown(gold) == reading


GOLDS = SHARED / "data"


@pytest.mark.parametrize("gold", [gold for gold, _ in READ])
def test_what_is_shown_means_the_same(gold):
    meaning = reading.read_meaning(golds.reference(gold))
    again = reading.read_meaning(golds.shown(gold))
    assert equivalence.match(meaning, again, values.quick)


@pytest.mark.skipif(not GOLDS.is_dir(), reason="no real sets beside this checkout")
@pytest.mark.parametrize("name", ["math500/test", "aime_1983_2023/train"])
def test_answers_of_real_sets_are_shown_as_what_they_mean(name):
    (file,) = GOLDS.glob(f"{name}.jsonl*")
    read = [each for each in set(answers(file)) if golds.fault(each) is None]
    for gold in read:
        told = golds.shown(gold)
        meaning = reading.read_meaning(golds.reference(gold))
        if told != golds.reference(gold):
            again = reading.read_meaning(told)
            assert equivalence.match(meaning, again, values.quick), gold
        assert "Num(" not in told and "value=" not in told
    assert len(read) > 200


def answers(file):
    opened = gzip.open if file.suffix == ".gz" else open
    with opened(file, "rt", encoding="utf-8") as lines:
        return [str(json.loads(line)["answer"]) for line in lines]


@pytest.mark.parametrize("tag", ["<think>", "</think>", "<Reasoning>", "<seed:think>"])
def test_a_tag_of_reasoning_is_the_reason(tag):
    for gold in (f"{tag} 5", f"5 {tag}", f"#### {tag} 5"):
        assert golds.fault(gold).startswith(f"{tag} of a response's reasoning")
        assert not is_correct("\\boxed{5}", gold)
    assert golds.fault(f"{tag} \\boxed{{5}}") is None
    assert is_correct("\\boxed{5}", f"{tag} \\boxed{{5}}")
    assert golds.fault("x < think") is None


def test_approximately_five_counts_as_unreadable():
    assert not is_correct("\\boxed{5}", "approximately 5")
    assert "a number among words" in golds.fault("approximately 5")


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


@pytest.mark.parametrize("gold", ["2 \\div", "{", "x^", "5 = = 5", "\\frac{1}{"])
def test_what_cannot_be_read_says_why(gold):
    why = golds.fault(gold)
    assert why
    for read in (golds.shown, golds.other_reading):
        with pytest.raises(Unreadable) as caught:
            read(gold)
        assert str(caught.value) == why


def test_an_answer_that_is_cut_off_ends_too_early():
    assert golds.fault("\\frac{1}{") == "it ends too early"


def test_a_task_of_countdown_is_read_by_another_grader():
    task = json.dumps({"numbers": [44, 19, 35], "target": 98})
    assert golds.fault(task) is None and golds.shown(task) == task
    assert golds.other_reading(task) is None
