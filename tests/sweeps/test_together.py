"""Runs that train together: one after another, side by side, and each alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import TINY

from maspo_jax import config, distributed
from maspo_jax.config.changes import changed
from maspo_jax.learning import train_state
from maspo_jax.learning.loop import problem_stream
from maspo_jax.objectives import advantages, kl, terms
from maspo_jax.rewards import Verdict
from maspo_jax.rollout import generate
from maspo_jax.rollout.grading import InProcessGrader
from maspo_jax.runs.display import Display
from maspo_jax.runs.metrics_log import Clock
from maspo_jax.runs.prompt_history import PromptHistory
from maspo_jax.sweeps import together

EXPERIMENT = config.load(TINY)
CASES = {
    "gates": [
        {
            "objective.gate.alpha": alpha,
            "objective.gate.sigma_base": 0.02,  # or all gates are as good as open
            "optimization.learning_rate": 3e-3,
            "seed": seed,
        }
        for alpha, seed in ((0.1, 0), (0.9, 0), (0.9, 1))
    ],
    "loss": [
        {
            "objective.kl_in_reward": kl.Penalty(price, kl.k1),
            "objective.terms": (terms.EntropyBonus(bonus), kl.Penalty(price, kl.k3)),
            "objective.advantage": advantages.smoothed,
            "optimization.learning_rate": rate,
            "optimization.weight_decay": decay,
        }
        for price, bonus, rate, decay in (
            (0.01, 0.1, 1e-3, 0.0),
            (0.5, 0.2, 3e-3, 0.1),
            (1.0, 0.0, 1e-3, 0.3),
        )
    ],
}


def by_length(response, gold):
    """A grader of which every policy earns something: short responses are right."""
    return Verdict("correct" if len(response) % 3 else "wrong", response, "length")


def trained(experiments, programs, steps=2):
    """Returns the `Group` behind some steps, and the tokens and metrics of each."""
    mesh = programs.learner.mesh
    begin = lambda one: train_state.begin(one, programs.learner.optimizer, mesh)
    state = together.first_states(
        experiments, programs, [begin(one).policy for one in experiments]
    )
    needed = "reference_logprob" in experiments[0].objective.needs
    group = together.Group(
        experiments,
        programs,
        InProcessGrader(by_length),
        {one.seed: problem_stream(one, None) for one in experiments},
        [PromptHistory() for _ in experiments],
        state,
        jax.tree.map(lambda leaf: leaf + 0, state.policy) if needed else None,
    )
    clock, seen = Clock(Display(quiet=True)), []
    for step in range(1, steps + 1):
        rewarded, rollout = group.collect(step, clock)
        found = group.learn(step, rewarded, rollout, clock)
        rewards = np.stack([one.reward for one in rewarded])
        seen.append((np.asarray(rollout.sequences.response), rewards, found[:2]))
    return group, seen


def experiments_of(case):
    return [
        dataclasses.replace(changed(EXPERIMENT, each), sft=None) for each in CASES[case]
    ]


@pytest.fixture(scope="module", params=[*CASES])
def side_by_side(request):
    """A case, its experiments, and what K runs come to in a loop on a CPU."""
    experiments = experiments_of(request.param)
    assert len({together.group_of(one) for one in experiments}) == 1
    mesh = distributed.make_mesh(devices=jax.devices()[:1])
    programs = together.build(experiments[0], mesh)
    return experiments, mesh, trained(experiments, programs)


def assert_equal(mine, theirs, tolerance):
    """Asserts that two groups have drawn the same and learned the same."""
    (group, seen), (other, expected) = mine, theirs
    for one, two in zip(seen, expected, strict=True):
        np.testing.assert_array_equal(one[0], two[0])
        np.testing.assert_array_equal(one[1], two[1])
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
            one[2],
            two[2],
        )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=tolerance),
        group.state.policy,
        other.state.policy,
    )


def test_runs_side_by_side_are_those_one_after_another(side_by_side, monkeypatch):
    """As other devices than CPUs have them: one program of all."""
    experiments, mesh, expected = side_by_side
    loop = together._each
    monkeypatch.setattr(together, "_each", lambda platform, f: loop("gpu", f))
    found = trained(experiments, together.build(experiments[0], mesh))
    assert_equal(found, expected, 1e-5)


def test_a_run_is_what_it_is_in_a_group_of_its_own(side_by_side):
    experiments, mesh, (group, seen) = side_by_side
    policies = [np.asarray(jax.tree.leaves(group.state.policy)[0][k]) for k in range(3)]
    for place, one in enumerate(experiments):
        alone = trained([one], together.build(one, mesh))
        own = lambda tree, k=place: jax.tree.map(lambda x: x[k][None], tree)
        kept = dataclasses.replace(group, state=own(group.state))
        assert_equal((kept, [own(each) for each in seen]), alone, 1e-5)
    for a in range(3):
        for b in range(a):
            assert np.abs(policies[a] - policies[b]).max() > 1e-4


def test_a_group_goes_on_with_some_of_its_runs(side_by_side):
    experiments, mesh, _ = side_by_side
    programs = together.build(experiments[0], mesh)
    group, _ = trained(experiments, programs, steps=1)
    before = jax.tree.map(np.asarray, group.state)
    group.ended = {1}
    group.keep([0, 2])
    assert group.experiments == [experiments[0], experiments[2]]
    assert group.alive == [0, 1] and len(group.histories) == 2
    assert {*group.streams} == {experiments[0].seed, experiments[2].seed}
    jax.tree.map(
        lambda kept, all_: np.testing.assert_array_equal(kept, all_[[0, 2]]),
        group.state,
        before,
    )


def test_policies_side_by_side_leave_the_loop_of_the_sampler_together():
    """When the last of them has no row left."""
    busy = jnp.array([0, 3, 2])
    found = jax.vmap(generate._most_of_runs)(busy)
    np.testing.assert_array_equal(found, [3, 3, 3])
    assert generate._most_of_runs(jnp.int32(2)) == 2
