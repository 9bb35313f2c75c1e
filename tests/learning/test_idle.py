"""A run that earns nothing says so, once, and what helps."""

import pytest
from conftest import TINY, command

from maspo_jax.learning.idle import IdleAlarm

EQUAL = {"frac_reward_zero_std": 1.0}


def test_it_rings_once_after_steps_in_a_row():
    alarm = IdleAlarm(steps=3)
    numbers = [1.0, 1.0, 0.9, 1.0, 1.0, 1.0, 1.0, 1.0]
    rung = [bool(alarm({"frac_reward_zero_std": number})) for number in numbers]
    assert rung == [False] * 5 + [True] + [False] * 2


@pytest.mark.parametrize(
    "metrics, remedy",
    [
        ({"frac_groups_all_correct": 1.0}, "All were right: give harder problems"),
        ({"frac_groups_all_wrong": 0.5}, "Some problems are too hard, the others"),
        ({"frac_groups_all_wrong": 1.0}, "All were wrong: train longer with sft"),
        (
            {
                "frac_groups_all_wrong": 1.0,
                "verifier/no_answer": 0.75,
                "response_length/clip_ratio": 0.5,
            },
            "75% have no answer (50% are cut off): ask for one with another template",
        ),
    ],
)
def test_it_says_what_helps(metrics, remedy):
    (warning,) = IdleAlarm(steps=1)(EQUAL | metrics)
    assert remedy in warning and "\n" not in warning


def test_a_run_of_a_policy_that_knows_nothing_says_so(tmp_path):
    words = ["--sft", "off", "--steps", 5, "--run", tmp_path / "run"]
    status, output = command(TINY, *words)
    said = " ".join(output.split())
    assert status == 0, output
    assert said.count("the responses to each problem all earned the same") == 1
    assert "step 3: warning: for 3 steps" in said and "All were wrong" in said
