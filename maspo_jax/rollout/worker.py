"""The rollout batch of a step: drawn, graded, and drawn again where all is equal."""

import jax
import numpy as np

from maspo_jax import distributed
from maspo_jax.learning.batches import cut_off, rows_of
from maspo_jax.learning.learner import RewardedRollout
from maspo_jax.rewards.shaping import informative
from maspo_jax.rewards.verdict import OUTCOMES, UNDECIDED


def collect(run, algorithm, stream, policy, step):
    """Draws and grades the rollout batch of a step.

    With dynamic sampling, groups that are all right or all wrong are replaced by
    groups of the next problems, until none is left or all rounds are used.

    Args:
        run: the `Run`.
        algorithm: the `Algorithm`.
        stream: the iterator of problems; as many batches are taken as rounds drawn.
        policy: draws.
        step: which.

    Returns:
        The `RewardedRollout` batch, and the metrics of everything that was drawn.
    """
    sampling = run.experiment.sampling
    graded, numbers = _draw(run, algorithm, stream, policy, step)
    if sampling.dynamic is None:
        return graded, numbers
    share = lambda: float(np.mean(_informative(graded, sampling.responses)))
    drawn = [numbers]
    while share() < 1 and len(drawn) < sampling.dynamic.rounds:
        fresh, numbers = _draw(run, algorithm, stream, policy, step, len(drawn))
        drawn.append(numbers)
        graded = fill(algorithm, graded, fresh)
    numbers = {name: float(np.mean([part[name] for part in drawn])) for name in numbers}
    numbers["tokens"] = sum(part["tokens"] for part in drawn)
    numbers["length_max"] = max(part["length_max"] for part in drawn)
    return graded, numbers | {"rounds": len(drawn), "groups_informative": share()}


def fill(algorithm, held, fresh):
    """Returns a `RewardedRollout` batch with what can be learned from of two others.

    Groups of `held` that are all right or all wrong give way to groups of `fresh`
    that are not, in order, as far as these go. What is left of `fresh` is dropped:
    the next step draws from its own policy.
    """
    responses = algorithm.decoding.responses
    places = np.flatnonzero(~_informative(held, responses))
    better = np.flatnonzero(_informative(fresh, responses))
    count, prompts = min(len(places), len(better)), len(held.problems)
    groups = np.arange(prompts, dtype=np.int32)
    groups[places[:count]] = prompts + better[:count]
    both = np.concatenate(
        [
            distributed.all_gather_hosts(held.reward),
            distributed.all_gather_hosts(fresh.reward),
        ]
    )
    reward = both[rows_of(groups, responses)]
    return RewardedRollout(
        [(held.problems + fresh.problems)[group] for group in groups],
        algorithm.merge(held.rollout, fresh.rollout, groups),
        reward[distributed.host_slice(len(reward))],
        held.verdicts + fresh.verdicts,
    )


def _draw(run, algorithm, stream, policy, step, attempt=0):
    """Returns one `RewardedRollout` rollout, and its metrics."""
    own, clock = distributed.host_slice(run.experiment.sampling.prompts), run.clock
    with clock("reading problems"):
        problems, prompts = next(stream)
        prompts = jax.tree.map(lambda rows: rows[own], prompts)
    with clock("sampling"):
        rollout = algorithm.draw(policy, prompts, step, attempt)
    with clock("grading"):
        verdicts = algorithm.grade(problems[own], rollout)
        reward = np.array([verdict.reward for verdict in verdicts], np.float32)
    with clock("writing"):
        numbers = describe(run.experiment, rollout, verdicts, reward)
    return RewardedRollout(problems, rollout, reward, verdicts), numbers


def _informative(graded, responses):
    """Returns which groups hold right and wrong answers, of all processes. [P]."""
    return informative(
        distributed.all_gather_hosts(graded.reward).reshape(-1, responses)
    )


def describe(experiment, rollout, verdicts, reward):
    """Returns metrics of a rollout batch, over all processes."""
    drawn = distributed.local_rows(rollout.sequences)
    length = drawn.response_mask.sum(axis=-1)
    groups = reward.reshape(-1, experiment.sampling.responses)
    of_each = lambda group: np.repeat(group, experiment.sampling.responses)
    columns = {
        "reward": reward,
        "length": length,
        "truncated": cut_off(drawn, experiment.tokenizer.eos_tokens),
        "groups_all_right": of_each(groups.min(axis=1) == 1),
        "groups_all_wrong": of_each(groups.max(axis=1) == 0),
    }
    for outcome in OUTCOMES:
        columns[f"verifier/{outcome}"] = np.array(
            [verdict.outcome == outcome for verdict in verdicts]
        )
    columns["verifier/undecided"] = np.array(
        [verdict.outcome in UNDECIDED for verdict in verdicts]
    )
    # One exchange between processes for all of them.
    table = distributed.all_gather_hosts(
        np.stack([*columns.values()], axis=1)
    )  # [N, metrics]
    means = dict(zip(columns, table.mean(axis=0).tolist(), strict=True))
    return {
        **means,
        "length_max": float(table[:, [*columns].index("length")].max()),
        "tokens": round(means["length"] * len(table)),
    }
