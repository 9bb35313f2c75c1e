"""What a grader of one's own may state and return, and what becomes of its faults."""

import math
import pathlib
import re
import threading

import numpy as np
import pytest

from maspo_jax import rewards
from maspo_jax.config import Grading, validation
from maspo_jax.config.validation import check_grader
from maspo_jax.data.prompts import templates
from maspo_jax.data.sources import Problem
from maspo_jax.rewards import Verdict, Verifier, declaration, grader, graders
from maspo_jax.rewards.declaration import as_verdict, takes
from maspo_jax.rewards.verdict import OUTCOMES
from maspo_jax.rollout.grading import make_verifier

PROBLEM = Problem("p", "What?", "34")
TASK = Problem("t", "What?", '{"numbers": [6, 40], "target": 34}')


def checked(own, *problems, template=templates.PLAIN):
    check_grader(template, own, problems or (PROBLEM,), "train_set")


def verdicts(own, *responses, gold="34"):
    with make_verifier(Grading(own)) as verifier:
        return verifier.grade(responses, [gold] * len(responses))


def test_the_reward_of_a_verdict_is_one_for_correct_unless_it_says_otherwise():
    rewards = [Verdict(outcome, None, "").reward for outcome in OUTCOMES]
    assert rewards == [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert Verdict("wrong", "3", "close", 0.25).reward == 0.25


@pytest.mark.parametrize("reward", [math.nan, math.inf])
def test_a_reward_that_is_not_finite_is_refused(reward):
    with pytest.raises(ValueError, match=f"reward={reward}: must be finite"):
        Verdict("correct", None, "", reward)
    with pytest.raises(ValueError, match="must be finite"):
        as_verdict(reward)


def test_an_outcome_that_nobody_counts_is_refused():
    with pytest.raises(ValueError, match="outcome='right': choose one of correct, wr"):
        Verdict("right", None, "")


@pytest.mark.parametrize(
    "returned, outcome, reward",
    [
        (True, "correct", 1.0),
        (False, "wrong", 0.0),
        (np.True_, "correct", 1.0),
        (1, "correct", 1.0),
        (0.5, "wrong", 0.5),
        (np.float32(0.25), "wrong", 0.25),
        (-1.0, "wrong", -1.0),
        (0.7 + 0.2 + 0.1, "correct", 0.7 + 0.2 + 0.1),  # full marks, to rounding
        (0.999, "wrong", 0.999),
        (Verdict("wrong", "3", "mine", 0.1), "wrong", 0.1),
    ],
)
def test_a_grader_may_return_a_verdict_a_bool_or_a_number(returned, outcome, reward):
    own = lambda response, gold: returned
    checked(own)
    (verdict,) = verdicts(own, "34")
    assert (verdict.outcome, verdict.reward) == (outcome, reward)


@pytest.mark.parametrize("returned", ["yes", None, [1.0], {"score": 1}, np.ones(2)])
def test_whatever_else_it_returns_is_refused_before_the_run(returned):
    def own(response, gold):
        return returned

    message = "grading.grader=own fails on .* must be a Verdict, a bool or a number"
    with pytest.raises(ValueError, match=message) as refusal:
        checked(own)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("fails_on", ["", "34"], ids=["empty", "gold"])
def test_a_grader_that_raises_is_refused_before_the_run(fails_on):
    def own(response, gold):
        if response == fails_on:
            raise KeyError("several\nlines")
        return True

    with pytest.raises(ValueError, match="grading.grader=own fails on resp") as refusal:
        checked(own)
    assert "KeyError" in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_grader_that_does_not_end_is_refused_before_the_run(monkeypatch):
    monkeypatch.setattr(validation, "PATIENCE", 0.2)
    wait = threading.Event()

    def own(response, gold):
        return wait.wait(60)

    with pytest.raises(ValueError, match="own fails on .*more than 0.2 s for one"):
        checked(own)
    wait.set()


def test_what_is_no_function_is_refused():
    with pytest.raises(ValueError, match="grading.grader='mine': must be a function"):
        checked("mine")


def test_a_grader_that_raises_during_a_run_is_counted_and_ends_nothing():
    found = verdicts(lambda response, gold: 1 / int(response), "0", "1", "x")
    assert [verdict.outcome for verdict in found] == ["error", "correct", "error"]
    assert [verdict.reward for verdict in found] == [0.0, 1.0, 0.0]
    assert found[0].rule == "ZeroDivisionError: division by zero"


@grader(reads=("***",), takes=lambda gold: gold.isdigit())
def starred(response, gold):
    """Reads *** N."""
    return response.partition("***")[2].strip() == gold


def test_a_grader_of_ones_own_is_one_function_with_its_declaration():
    checked(starred, template=templates.Template("own", answer="***"))
    with pytest.raises(ValueError, match="starred reads only `\\*{3}`: .* Choose an"):
        checked(starred, template=templates.BOXED)
    with pytest.raises(ValueError, match="train_set holds t, whose answer .*=starred"):
        checked(starred, PROBLEM, TASK)
    assert [v.reward for v in verdicts(starred, "*** 34", "34", "*** 35")] == [1, 0, 0]


def test_a_grader_that_amends_the_checker_runs_as_it_does():
    def lenient(verdict, gold):
        return 0.5 if verdict.outcome == "wrong" else verdict

    @grader(amend=lenient)
    def own(response, gold):
        return lenient(graders.grade(response, gold), gold)

    checked(own)
    with make_verifier(Grading(own, workers=1)) as verifier:
        assert isinstance(verifier, Verifier)
        score = verifier.score(["\\boxed{34}", "\\boxed{35}", "no idea"], ["34"] * 3)
    np.testing.assert_array_equal(score, [1.0, 0.5, 0.0])


def test_a_grader_without_a_declaration_is_trusted():
    own = lambda response, gold: True
    for problem in (PROBLEM, TASK):
        for template in templates.ALL:
            checked(own, problem, template=template)


@grader(steps=True)
def lines(response, gold):
    """A tenth for each line, the rest for the answer."""
    ends = [place for place, sign in enumerate(response, 1) if sign == "\n"]
    right = response.endswith(gold)
    steps = [*((end, 0.1) for end in ends), (len(response), float(right))]
    return Verdict("correct" if right else "wrong", None, "lines", steps=tuple(steps))


def test_a_grader_of_steps_rewards_parts_of_the_whole_response():
    checked(lines)
    text = "<think>\nHm.\n</think>\n34"
    (found,) = verdicts(lines, text)
    assert [end for end, _ in found.steps] == [8, 12, 21, 23]
    assert found.outcome == "correct" and found.reward == pytest.approx(1.3)
    assert verdicts(lines, "a\nb")[0].reward == pytest.approx(0.1)


@pytest.mark.parametrize(
    "about, message",
    [
        ({"reward": 1.0, "steps": ((1, 1.0),)}, "reward=1.0 beside steps"),
        ({"steps": ((2, 0.5), (1, 0.5))}, r"steps end at \[2, 1\]: must be in order"),
        ({"steps": ((-1, 0.5),)}, "must be in order, from 0 on"),
        ({"steps": ((1, math.inf),)}, "reward=inf: must be finite"),
    ],
)
def test_steps_are_in_order_and_add_up_to_the_reward(about, message):
    with pytest.raises(ValueError, match=message):
        Verdict("wrong", None, "", **about)


def test_steps_are_declared_and_lie_in_the_response():
    far = lambda response, gold: Verdict("wrong", None, "", steps=((99, 1.0),))
    with pytest.raises(ValueError, match="TypeError: returned steps: declare them, @"):
        checked(far)
    with pytest.raises(ValueError, match="a step that ends at 99 of 0 characters"):
        checked(grader(steps=True)(far))
    with pytest.raises(ValueError, match="steps=True beside amend"):
        grader(steps=True, amend=lambda verdict, gold: verdict)


def test_forms_are_a_tuple():
    with pytest.raises(TypeError, match="reads='####': must be a tuple"):
        grader(reads="####")


def test_templates_ask_for_the_forms_that_graders_read():
    asked = (templates.BOX, templates.ANSWER_LINE, templates.HASHES)
    assert asked == (declaration.BOX, declaration.ANSWER_LINE, declaration.HASHES)


@pytest.mark.parametrize("gold", [PROBLEM.answer, TASK.answer, "", "{"])
def test_some_grader_takes_every_problem(gold):
    called = graders.grader_for(gold)
    assert takes(called or graders.grade, gold)
    assert (called is graders.countdown) == (gold == TASK.answer)


def test_the_example_of_the_readme_does_what_it_says():
    text = pathlib.Path(rewards.__file__).with_name("README.md").read_text()
    section = text.partition("## Adding a grader")[2]
    space = {}
    exec(re.search("```python\n(.*?)```", section, re.DOTALL)[1], space)
    own = space["last_digits"]
    checked(own, template=templates.GSM8K_HASH)
    with pytest.raises(ValueError, match="last_digits reads only `####`"):
        checked(own, template=templates.BOXED)
    with pytest.raises(ValueError, match="=last_digits cannot check"):
        checked(own, TASK)
    found = verdicts(own, "#### 34", "#### 24", "#### 35", "####", "34")
    assert [verdict.reward for verdict in found] == [1.0, 0.5, 0.0, 0.0, 0.0]
    assert found[-1].outcome == "no_answer"
