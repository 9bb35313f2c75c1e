"""What dynamic sampling puts together, and what a step draws with."""

import dataclasses
import types

import jax
import numpy as np
import pytest
from conftest import EXPERIMENTS, mesh_of
from support import reference

from maspo_jax import distributed
from maspo_jax.config import DynamicSampling, loading
from maspo_jax.data.sources import Problem
from maspo_jax.rewards import Verdict, Verifier
from maspo_jax.rewards.verdict import UNPROVED
from maspo_jax.rollout import generate, waves, worker
from maspo_jax.rollout.worker import RewardedRollout, informative
from maspo_jax.runs.metrics_log import Clock
from maspo_jax.types import Response, Rollout, Sequences, truncated

PROMPTS, RESPONSES, LENGTH = 8, 4, 14  # of tiny.py


@pytest.fixture(scope="module")
def drawing():
    experiment = loading.load(EXPERIMENTS / "tiny.py")
    clock = Clock(types.SimpleNamespace(stage=lambda name: None))
    return worker.build(experiment, distributed.make_mesh(), None, None, clock, None)


def graded(drawing, first, reward):
    """A batch in which every row, problem and reward tells where it comes from.

    Its number is that of the draw, times 100.
    """
    rows = first + np.repeat(np.arange(PROMPTS, dtype=np.int32), RESPONSES)
    wide = lambda width: np.repeat(rows[:, None], width, axis=1)
    mask = np.ones((len(rows), LENGTH), bool)
    sequences = Sequences(wide(6), mask[:, :6], wide(LENGTH), mask)
    rollout = Rollout(sequences, wide(LENGTH).astype(np.float32), rows)
    problems = [Problem(str(first + n), "?", "0") for n in range(PROMPTS)]
    return RewardedRollout(
        problems,
        distributed.shard_rows(rollout, drawing.mesh),
        reward,
        reward.reshape(len(rows), -1).sum(axis=1) == 1,
        [f"response {first + n}" for n in np.repeat(np.arange(PROMPTS), RESPONSES)],
        {},
        np.arange(PROMPTS * RESPONSES, dtype=np.int32),
        (PROMPTS * RESPONSES,),
    )


def test_groups_that_teach_nothing_give_way_whole(drawing):
    mixed = np.tile(np.float32([0, 1, 0, 0]), (PROMPTS, 1))
    held, fresh = mixed.copy(), mixed.copy()
    held[[1, 4, 6]] = [[0] * 4, [1] * 4, [0] * 4]
    fresh[[0, 1, 3, 4, 5, 6]] = 0  # only 2 and 7 can be used
    fresh[2], fresh[7] = [1, 1, 0, 1], [0, 0, 1, 1]
    filled = drawing.fill(graded(drawing, 0, held), graded(drawing, 100, fresh))
    origin = [0, 102, 2, 3, 107, 5, 6, 7]  # the last empty group stays
    assert [int(problem.id) for problem in filled.problems] == origin
    rows = distributed.local_rows(filled.rollout)
    for column in (rows.sequences.prompt[:, 0], rows.policy_version):
        np.testing.assert_array_equal(column, np.repeat(origin, RESPONSES))
    expected = held.copy()
    expected[1], expected[4] = fresh[2], fresh[7]
    np.testing.assert_array_equal(filled.reward, expected)
    np.testing.assert_array_equal(filled.correct, expected.reshape(-1) == 1)
    # All that was drawn is kept, and each row finds the response that was drawn for it.
    assert len(filled.responses) == 2 * PROMPTS * RESPONSES
    own = filled.own_responses()
    assert [own[row] for row in range(PROMPTS * RESPONSES)] == [
        f"response {number}" for number in np.repeat(origin, RESPONSES)
    ]


def test_processes_share_out_the_responses_to_a_filled_batch(drawing, monkeypatch):
    """Of two, each has graded half of every draw, wherever its rows have gone."""
    flat = np.zeros((PROMPTS, RESPONSES), np.float32)
    mixed = flat.copy()
    mixed[1::2, 0] = 1  # from both halves of the fresh draw to the first of the batch
    filled = drawing.fill(graded(drawing, 0, flat), graded(drawing, 100, mixed))
    everything, size, found = filled.responses, PROMPTS * RESPONSES, {}
    for process in range(2):
        own = slice(process * size // 2, (process + 1) * size // 2)
        monkeypatch.setattr(distributed, "host_slice", lambda count, own=own: own)
        half = [*everything[own], *everything[size + own.start : size + own.stop]]
        there = dataclasses.replace(filled, responses=half).own_responses()
        assert there.keys().isdisjoint(found)
        found |= there
    origin = [101, 103, 105, 107, 4, 5, 6, 7]
    assert [found[row] for row in range(size)] == [
        f"response {number}" for number in np.repeat(origin, RESPONSES)
    ]


def of_tokens(outcome):
    """Rewards of tokens that add up to those of responses, and differ among them."""
    reward = np.zeros((outcome.size, LENGTH), np.float32)
    reward[:, 0], reward[:, 3] = outcome.reshape(-1) + 1, -1
    row = np.arange(outcome.size, dtype=np.float32)
    reward[:, 5], reward[:, 6] = row, -row
    return reward


def test_rewards_of_tokens_count_by_what_a_response_earned(drawing):
    """All that differs within a group is where its responses were rewarded."""
    held = np.tile(np.float32([0, 1, 0, 0]), (PROMPTS, 1))
    fresh = held.copy()
    held[[1, 4]], fresh[[0, 1, 2, 3, 4, 5, 6]] = 0, 1
    first, second = (
        of_tokens(held),
        of_tokens(fresh) + np.float32(100) * np.eye(LENGTH, dtype=np.float32)[7],
    )
    batches = graded(drawing, 0, first), graded(drawing, 100, second)
    np.testing.assert_array_equal(batches[0].outcomes, held)
    filled = drawing.fill(*batches)
    assert [int(one.id) for one in filled.problems] == [0, 107, 2, 3, 4, 5, 6, 7]
    expected = first.copy()
    expected[4:8] = second[28:]
    np.testing.assert_array_equal(filled.reward, expected)
    rows = distributed.local_rows(filled.rollout)
    origin = np.repeat([0, 107, *range(2, 8)], RESPONSES)
    np.testing.assert_array_equal(rows.sequences.prompt[:, 0], origin)
    assert informative(filled.outcomes).tolist() == [n != 4 for n in range(PROMPTS)]


def test_every_draw_has_a_key_of_its_own(drawing, monkeypatch):
    keys = []

    def record(policy, prompts, key, decoding, mesh, number):
        keys.append(tuple(jax.random.key_data(key).tolist()))
        return Rollout(None, None)

    monkeypatch.setattr(worker, "sample", record)
    plan = waves.plan_waves(PROMPTS, PROMPTS, drawing.mesh)
    for step in (3, 4):
        for attempt in (0, 1, 2):
            rollout = drawing.draw(None, np.zeros(8), plan, step, attempt)(0)
            version = distributed.local_rows(rollout.policy_version)
            assert version.tolist() == [2 * (step - 1)] * 32  # updates so far
    drawing.draw(None, np.zeros(8), plan, 3)(0)
    assert len(set(keys)) == 6 and keys[-1] == keys[0]
    assert generate.sample is not record


def test_dynamic_sampling_draws_on_until_every_group_teaches(drawing, monkeypatch):
    """Metrics are of all that was drawn, and the rounds have an end."""
    experiment = loading.load(EXPERIMENTS / "tiny_all.py")
    drawing = dataclasses.replace(drawing, experiment=experiment)
    flat = np.zeros((PROMPTS, RESPONSES), np.float32)
    half = flat.copy()
    half[::2, 0] = 1  # of eight groups, four can be learned from
    asked = []

    def rewarded(self, policy, step, attempt=0, count=PROMPTS, between=None):
        asked.append(attempt)
        assert count == PROMPTS  # of the first nothing was learned, of the next half
        metrics = {"reward": attempt, "tokens": 10, "response_length/max": 3 + attempt}
        batch = graded(drawing, 100 * attempt, half if attempt else flat)
        return dataclasses.replace(batch, metrics=metrics)

    monkeypatch.setattr(worker.Worker, "rewarded", rewarded)
    monkeypatch.setattr(worker, "copy_for_sampling", lambda policy, *_: policy)
    batch = drawing.collect(None, 1)
    assert asked == [0, 1, 2] and informative(batch.reward).all()
    assert batch.metrics == {
        "reward": 1.0,
        "tokens": 30,
        "response_length/max": 5,
        "rounds": 3,
        "frac_groups_informative": 1.0,
    }


def test_a_round_is_sized_by_all_that_was_drawn(drawing, monkeypatch):
    """Not by the batch, which is the fuller the longer it is drawn for."""
    dynamic = DynamicSampling(rounds=10)
    experiment = dataclasses.replace(
        drawing.experiment,
        sampling=dataclasses.replace(drawing.experiment.sampling, dynamic=dynamic),
    )
    drawing = dataclasses.replace(drawing, experiment=experiment)
    flat = np.zeros((PROMPTS, RESPONSES), np.float32)
    quarter = flat.copy()
    quarter[:2, 0] = 1
    sized, draw_size = [], worker.draw_size

    def rewarded(self, policy, step, attempt=0, count=PROMPTS, between=None):
        batch = graded(drawing, 100 * attempt, quarter if attempt else flat)
        metrics = {"tokens": 10, "response_length/max": 3}
        return dataclasses.replace(batch, metrics=metrics)

    def noted(missing, share, *words):
        sized.append((missing, share))
        return draw_size(missing, share, *words)

    monkeypatch.setattr(worker.Worker, "rewarded", rewarded)
    monkeypatch.setattr(worker, "draw_size", noted)
    monkeypatch.setattr(worker, "copy_for_sampling", lambda policy, *_: policy)
    drawing.collect(None, 1)
    assert sized == [(8, 0), (6, 2 / 16), (4, 4 / 24), (2, 6 / 32)]


def test_what_is_right_is_what_the_verdict_says_and_not_the_reward():
    """A grader may give half a point, or two."""
    kinds = {"correct": 0.5, "wrong": 1.0, "timeout": 0.0}
    responses = [
        Response("", Verdict(outcome, None, ""), reward, 3 + n, n == 2)
        for n, (outcome, reward) in enumerate([*kinds.items(), ("correct", 2.0)])
    ]
    reward, correct, metrics = worker.describe(responses, 2)
    assert reward.tolist() == [[0.5, 1.0], [0.0, 2.0]]
    assert correct.tolist() == [True, False, False, True]
    assert metrics["verifier/correct"] == 0.5 and metrics["verifier/undecided"] == 0.25
    assert metrics["frac_groups_all_correct"] == metrics["frac_groups_all_wrong"] == 0
    assert metrics["frac_reward_zero_std"] == 0
    assert (metrics["tokens"], metrics["response_length/max"]) == (3 + 4 + 5 + 6, 6)
    assert (
        metrics["response_length/clip_ratio"] == 0.25 and metrics["reward"] == 3.5 / 4
    )


def test_answers_that_another_machine_might_prove_are_counted():
    rules = [UNPROVED, "value", UNPROVED, "worker"]
    responses = [
        Response("", Verdict("wrong", None, rule), 0.0, 1, False) for rule in rules
    ]
    _, _, metrics = worker.describe(responses, 2)
    assert metrics["verifier/unproved"] == 0.5 and metrics["verifier/undecided"] == 0
    with Verifier(workers=1) as verifier:
        found = verifier.check(r"\boxed{\frac{x+y+|x-y|}{2}}", r"\max(x, y)")
    assert (found.outcome, found.rule) == ("wrong", UNPROVED)


def test_groups_of_equal_rewards_are_counted_whatever_the_outcomes():
    kinds = [("wrong", 0.5), ("wrong", 0.5), ("correct", 0.5), ("wrong", 0.5)]
    kinds += [("correct", 1.0), ("correct", 0.8)]
    responses = [
        Response("", Verdict(outcome, None, ""), reward, 1, False)
        for outcome, reward in kinds
    ]
    _, _, metrics = worker.describe(responses, 2)
    assert metrics["frac_reward_zero_std"] == pytest.approx(2 / 3)
    assert metrics["frac_groups_all_correct"] == pytest.approx(1 / 3)
    assert metrics["frac_groups_all_wrong"] == pytest.approx(1 / 3)


class SameText:
    """Says that a response is right if it is its own reference answer."""

    def grade(self, responses, golds):
        return [
            Verdict("correct" if text == gold else "wrong", text, "same")
            for text, gold in zip(responses, golds, strict=True)
        ]


def test_every_response_has_its_own_text_verdict_and_length(drawing):
    tokenizer = drawing.experiment.tokenizer
    texts = ["1", "23", "456", "7", "89", "1234"]  # two problems, three responses each
    rows = [[*tokenizer.encode(text), tokenizer.eos_token_id] for text in texts]
    rows[5] = tokenizer.encode("12345")  # cut off
    mask = np.arange(5) < np.array([len(row) for row in rows])[:, None]
    response = np.full(mask.shape, tokenizer.pad_token_id, np.int32)
    response[mask] = np.concatenate(rows)
    prompt = np.full((6, 2), tokenizer.encode("1")[0], np.int32)
    sequences = Sequences(prompt, np.ones((6, 2), bool), response, mask)
    problems = [Problem("a", "?", "23"), Problem("b", "?", "7")]
    grading = dataclasses.replace(drawing, verifier=SameText())
    found = grading.grade(problems, sequences)
    assert [one.text for one in found] == [*texts[:5], "12345"]
    assert [one.verdict.answer for one in found] == [one.text for one in found]
    assert [one.reward for one in found] == [0, 1, 0, 1, 0, 0]
    assert [one.length for one in found] == [2, 3, 4, 2, 3, 5]
    assert [one.truncated for one in found] == [False] * 5 + [True]


def test_a_response_is_cut_off_if_it_fills_its_row_without_an_end():
    mask = np.array([[True, True], [True, True], [True, False]])
    response = np.array([[1, 2], [1, 9], [2, 0]], np.int32)
    sequences = Sequences(response, mask, response, mask)
    assert truncated(sequences, (9, 8)).tolist() == [True, False, False]
    on_device = jax.jit(lambda rows: truncated(rows, (9, 8)))(sequences)
    assert on_device.tolist() == [True, False, False]


def test_groups_kept_by_the_reference_rule():
    arrays = reference.load("own_dynamic_sampling")
    for group in np.unique(arrays["group_ids"]):
        rows = arrays["group_ids"] == group
        kept = informative(arrays["rewards"][rows][None])
        assert kept == arrays["kept_strict"][rows].all()


def test_a_group_of_one_is_not_informative():
    assert not informative(np.array([[1.0]]))


def fewer_of(batch, count):
    """The first groups of a batch, as if no more had been drawn."""
    rows = slice(count * RESPONSES)
    return dataclasses.replace(
        batch,
        problems=batch.problems[:count],
        rollout=jax.tree.map(lambda leaf: leaf[rows], batch.rollout),
        reward=batch.reward[:count],
        correct=batch.correct[rows],
        responses=batch.responses[rows],
        origin=batch.origin[rows],
        drawn=(count * RESPONSES,),
    )


def test_every_response_counts_alike_in_what_is_said_of_several_draws(
    drawing, monkeypatch
):
    """Whatever the size of its draw: here 8 problems, then 4."""
    experiment = loading.load(EXPERIMENTS / "tiny_all.py")
    drawing = dataclasses.replace(drawing, experiment=experiment, mesh=mesh_of(1, 1))
    mixed = np.tile(np.float32([0, 1, 0, 0]), (PROMPTS, 1))
    held = mixed.copy()
    held[:2] = 0

    def rewarded(self, policy, step, attempt=0, count=PROMPTS, between=None):
        metrics = {"reward": 3.0 * attempt, "tokens": 10, "response_length/max": 3}
        batch = graded(drawing, 100 * attempt, mixed if attempt else held)
        return dataclasses.replace(fewer_of(batch, count), metrics=metrics)

    monkeypatch.setattr(worker.Worker, "rewarded", rewarded)
    monkeypatch.setattr(worker, "copy_for_sampling", lambda policy, *_: policy)
    batch = drawing.collect(None, 1)
    assert batch.drawn == (8 * RESPONSES, 4 * RESPONSES)
    assert batch.metrics["reward"] == pytest.approx(1.0)


@pytest.mark.parametrize("count", [8, 4, 2])
def test_fewer_groups_than_a_batch_fill_it_up(drawing, count):
    """Every row of what was filled finds the response that was drawn for it."""
    mixed = np.tile(np.float32([0, 1, 0, 0]), (PROMPTS, 1))
    held, fresh = mixed.copy(), mixed.copy()
    held[[2, 5]], held[7] = 0, 1
    fresh[0] = 0
    fewer = fewer_of(graded(drawing, 100, fresh), count)
    filled = drawing.fill(graded(drawing, 0, held), fewer)
    taken = [101, 102, 103][: count - 1]
    origin = [0, 1, 2, 3, 4, 5, 6, 7]
    for place, number in zip([2, 5, 7], taken, strict=False):
        origin[place] = number
    assert [int(problem.id) for problem in filled.problems] == origin
    sequences = distributed.local_rows(filled.rollout).sequences
    np.testing.assert_array_equal(sequences.prompt[:, 0], np.repeat(origin, RESPONSES))
    again = drawing.fill(filled, graded(drawing, 200, mixed))
    left = [place for place in (2, 5, 7) if origin[place] < 100]
    for number, place in enumerate(left):
        origin[place] = 200 + number
    own = again.own_responses()
    assert [own[row] for row in range(PROMPTS * RESPONSES)] == [
        f"response {number}" for number in np.repeat(origin, RESPONSES)
    ]
    assert again.drawn == (32, count * RESPONSES, 32)


@pytest.mark.parametrize("devices", [1, 2, 8])
@pytest.mark.parametrize("prompts", [8, 16, 24, 512])
def test_a_round_draws_about_as_many_as_it_takes(prompts, devices):
    for missing in range(1, prompts + 1):
        for share in (0.0, 0.1, 0.5, 1.0):
            size = worker.draw_size(missing, share, prompts, devices)
            fitting = [prompts / 4, prompts / 2, prompts]
            fitting = [each for each in fitting if each % devices == 0]
            enough = [each for each in fitting if each * share >= missing]
            assert size == min(enough, default=prompts)


def test_a_row_remembers_the_draw_it_is_of(drawing, monkeypatch):
    rows = graded(drawing, 0, np.zeros((PROMPTS, RESPONSES), np.float32))
    wrong = Response("", Verdict("wrong", None, ""), 0.0, 1, False)
    drawn = jax.device_get(rows.rollout)
    first = lambda count: jax.tree.map(lambda leaf: leaf[: count * RESPONSES], drawn)
    mesh = mesh_of(1, 1)
    monkeypatch.setattr(
        worker.Worker,
        "draw",
        lambda self, policy, prompts, plan, *about: (
            lambda wave: distributed.shard_rows(first(plan.size), mesh)
        ),
    )
    monkeypatch.setattr(
        worker.Worker, "grade", lambda self, asked, _: [wrong] * len(asked) * RESPONSES
    )
    take = lambda count: (rows.problems[:count], np.zeros(count))
    stream = types.SimpleNamespace(take=take, prepare=lambda: None)
    collecting = dataclasses.replace(drawing, mesh=mesh, stream=stream)
    for attempt, count in ((0, None), (1, 8), (2, 4)):
        found = collecting.rewarded({}, 1, attempt, count)
        count = count or PROMPTS
        assert len(found.problems) == count
        np.testing.assert_array_equal(found.origin, np.arange(count * RESPONSES))
        assert found.drawn == (count * RESPONSES,)
