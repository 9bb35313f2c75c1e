"""What dynamic sampling puts together, and what a step makes of rewards."""

import dataclasses

import jax
import numpy as np
import pytest
from conftest import EXPERIMENTS

from maspo_jax import distributed
from maspo_jax.config import OverlongPenalty, loading
from maspo_jax.data.sources.file import Problem
from maspo_jax.learning import learner as algorithms
from maspo_jax.learning.learner import RewardedRollout
from maspo_jax.rollout import generate
from maspo_jax.rollout.worker import fill
from maspo_jax.types import Rollout, Sequences

PROMPTS, RESPONSES, LENGTH = 8, 4, 14  # of tiny.py


@pytest.fixture(scope="module")
def algorithm():
    experiment = loading.load(EXPERIMENTS / "tiny.py")
    return algorithms.build(experiment, distributed.make_mesh(), verifier=None)


def graded(algorithm, first, reward):
    """A batch in which every row, problem and reward tells where it comes from."""
    rows = first + np.repeat(np.arange(PROMPTS, dtype=np.int32), RESPONSES)
    wide = lambda width: np.repeat(rows[:, None], width, axis=1)
    mask = np.ones((len(rows), LENGTH), bool)
    sequences = Sequences(wide(6), mask[:, :6], wide(LENGTH), mask)
    rollout = Rollout(sequences, wide(LENGTH).astype(np.float32))
    problems = [Problem(str(first + n), "?", "0") for n in range(PROMPTS)]
    return RewardedRollout(
        problems, distributed.shard_rows(rollout, algorithm.mesh), reward, []
    )


def test_groups_that_teach_nothing_give_way_whole(algorithm):
    mixed = np.tile(np.float32([0, 1, 0, 0]), (PROMPTS, 1))
    held, fresh = mixed.copy(), mixed.copy()
    held[[1, 4, 6]] = [[0] * 4, [1] * 4, [0] * 4]
    fresh[[0, 1, 3, 4, 5, 6]] = 0  # only 2 and 7 can be used
    fresh[2], fresh[7] = [1, 1, 0, 1], [0, 0, 1, 1]
    filled = fill(
        algorithm,
        graded(algorithm, 0, held.reshape(-1)),
        graded(algorithm, 100, fresh.reshape(-1)),
    )
    origin = [0, 102, 2, 3, 107, 5, 6, 7]  # the last empty group stays
    assert [int(problem.id) for problem in filled.problems] == origin
    sequences = distributed.local_rows(filled.rollout.sequences)
    np.testing.assert_array_equal(sequences.prompt[:, 0], np.repeat(origin, RESPONSES))
    expected = held.copy()
    expected[1], expected[4] = fresh[2], fresh[7]
    np.testing.assert_array_equal(filled.reward.reshape(PROMPTS, -1), expected)


def test_every_draw_has_a_key_of_its_own(algorithm, monkeypatch):
    keys = []

    def record(policy, prompts, key, decoding, mesh):
        keys.append(tuple(jax.random.key_data(key).tolist()))
        return key

    monkeypatch.setattr(algorithms, "sample", record)
    for step in (3, 4):
        for attempt in (0, 1, 2):
            algorithm.draw(None, np.zeros(8), step, attempt)
    algorithm.draw(None, np.zeros(8), 3)
    assert len(set(keys)) == 6 and keys[-1] == keys[0]
    assert generate.sample is not record


def test_a_response_at_the_limit_loses_the_whole_penalty(algorithm):
    penalty = OverlongPenalty(buffer=4, factor=0.5)
    experiment = algorithm.experiment
    objective = dataclasses.replace(experiment.objective, overlong_penalty=penalty)
    experiment = dataclasses.replace(experiment, objective=objective)
    penalized = dataclasses.replace(algorithm, experiment=experiment)
    reward = np.zeros(PROMPTS * RESPONSES, np.float32)
    reward[0] = 1
    batch = graded(algorithm, 0, reward)
    np.testing.assert_array_equal(penalized.overlong_penalty(batch.rollout), -0.5)
    np.testing.assert_array_equal(algorithm.overlong_penalty(batch.rollout), 0)
