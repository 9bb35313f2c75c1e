"""Rewards of steps: each sign of an intermediate sum earns something where it ends."""

import dataclasses

from tiny import experiment as base

from maspo_jax.config import Grading
from maspo_jax.objectives import advantages
from maspo_jax.rewards import Verdict, grader


@grader(steps=True)
def sums(response, gold):
    """A tenth for each = of the response, and 1 for the answer at its end."""
    ends = [place for place, sign in enumerate(response, 1) if sign == "="]
    right = response.endswith(f"\\boxed{{{gold}}}")
    steps = [*((end, 0.1) for end in ends), (len(response), float(right))]
    return Verdict("correct" if right else "wrong", None, "sums", steps=tuple(steps))


def reward_to_go(reward, mask):
    """What is earned from each token on, without a baseline. [N, T]."""
    return advantages.whiten(reward[:, ::-1].cumsum(axis=-1)[:, ::-1] * mask, mask)


reward_to_go.needs = ("token_reward",)

experiment = dataclasses.replace(
    base,
    grading=Grading(sums),
    objective=dataclasses.replace(base.objective, advantage=reward_to_go),
    sft=dataclasses.replace(
        base.sft, phases=(dataclasses.replace(base.sft.phases[0], updates=30),)
    ),
    steps=2,
)
