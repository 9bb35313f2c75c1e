"""A run that earns nothing says so, once, and what helps."""

import dataclasses

import pytest
from conftest import EXPERIMENTS, TINY, command

from maspo_jax.config import loading
from maspo_jax.learning.idle import IdleAlarm, make_idle_alarm
from maspo_jax.objectives import advantages

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


def alarm_of(advantage, responses=4, experiment="tiny"):
    base = loading.load(EXPERIMENTS / f"{experiment}.py")
    advantage = advantage or base.objective.advantage
    return make_idle_alarm(
        dataclasses.replace(
            base,
            objective=dataclasses.replace(base.objective, advantage=advantage),
            sampling=dataclasses.replace(base.sampling, responses=responses),
        )
    )


@pytest.mark.parametrize("responses", [2, 16])
@pytest.mark.parametrize(
    "name", ["group_normalized", "group_centered", "leave_one_out", "length_centered"]
)
def test_it_is_asked_where_responses_to_a_problem_are_compared(name, responses):
    assert alarm_of(getattr(advantages, name), responses)


@pytest.mark.parametrize(
    "name, responses",
    [("raw", 1), ("raw", 4), ("whitened", 1), ("whitened", 4), ("smoothed", 1)],
)
def test_it_is_not_asked_where_equal_rewards_may_teach(name, responses):
    assert alarm_of(getattr(advantages, name), responses) is None


def test_sums_over_steps_that_agree_do_not_say_that_nothing_is_learned():
    assert alarm_of(None, experiment="tiny_steps") is None
    assert alarm_of(advantages.group_normalized, experiment="tiny_steps")
    token = lambda reward, mask: advantages.group_normalized(
        advantages.outcome_rewards(reward, mask, len(mask) // 3), mask
    )
    token.needs = ("token_reward",)
    assert alarm_of(token)
    assert alarm_of(token, experiment="tiny_steps") is None
