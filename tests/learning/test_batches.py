"""Minibatches use every group once per epoch, and weigh it anew."""

import chex
import jax
import numpy as np
import pytest
from conftest import mesh_of

from maspo_jax import distributed
from maspo_jax.config import Objective, OverlongFilter, OverlongPenalty
from maspo_jax.learning import batches
from maspo_jax.objectives import gates, kl
from maspo_jax.objectives.advantages import PromptStats, group_normalized, raw, smoothed
from maspo_jax.objectives.correction import RejectTokens, TokenTruncated
from maspo_jax.objectives.terms import Imitation
from maspo_jax.objectives.token_weights import sequence_mean, token_mean
from maspo_jax.rollout import worker
from maspo_jax.types import Rollout, Sequences


@pytest.mark.parametrize("minibatches, epochs", [(1, 1), (4, 1), (2, 3), (8, 2)])
def test_every_epoch_uses_every_prompt_once(minibatches, epochs):
    order = batches.minibatch_order(0, 5, 8, minibatches, epochs)
    assert order.shape == (minibatches * epochs, 8 // minibatches)
    for epoch in np.split(order, epochs):
        assert sorted(epoch.reshape(-1)) == list(range(8))


def test_every_step_and_epoch_has_an_order_of_its_own_that_can_be_repeated():
    order = batches.minibatch_order(3, 5, 16, 1, 2)
    assert (order[0] != order[1]).any()
    assert (order != batches.minibatch_order(3, 6, 16, 1, 2)).any()
    assert (order != batches.minibatch_order(4, 5, 16, 1, 2)).any()
    np.testing.assert_array_equal(order, batches.minibatch_order(3, 5, 16, 1, 2))


@pytest.fixture
def rollout():
    rng = np.random.default_rng(0)
    mask = np.arange(5)[None] < rng.integers(1, 6, (16, 1))
    rows = np.arange(16, dtype=np.int32)[:, None]
    sequences = Sequences(
        np.broadcast_to(rows, (16, 3)), np.ones((16, 3), bool), rows * mask, mask
    )
    return Rollout(sequences, np.zeros((16, 5), np.float32))


END = 9  # of responses: row n says n, so that only row 9 ends with its last token


def assembled(objective, rollout, logprob, reward, data=2, **more):
    """The batch of all rows, not weighed, and the history behind it."""
    return whole_assembled(objective, rollout, logprob, reward, data, **more)[:2]


def whole_assembled(objective, rollout, logprob, reward, data=2, **more):
    """Returns them, and the metrics."""
    mesh = mesh_of(data, 1)
    inputs = rollout, logprob, reward, reward.reshape(16, -1).max(1) > 0
    inputs, more = distributed.shard_rows((inputs, more), mesh)
    return batches.make_assemble(objective, 4, 5, (END,), mesh)(*inputs, **more)


def taken(objective, batch, *prompts, data=2):
    take = batches.make_take(objective.weight, 4, mesh_of(data, 1))
    return distributed.local_rows(take(batch, np.array(prompts, np.int32)))


REWARD = np.arange(16, dtype=np.float32).reshape(4, 4) ** 2


@pytest.mark.parametrize("weight", [token_mean, sequence_mean])
@pytest.mark.parametrize("data", [1, 4])
def test_a_minibatch_holds_whole_groups_whose_weights_sum_to_one(rollout, weight, data):
    objective = Objective(gates.Clip(), weight=weight)
    whole, _ = assembled(objective, rollout, rollout.sampler_logprob - 1, REWARD, data)
    part = taken(objective, whole, 3, 1, data=data)
    rows = [12, 13, 14, 15, 4, 5, 6, 7]
    np.testing.assert_array_equal(part.sequences.prompt[:, 0], rows)
    np.testing.assert_allclose(part.weight.sum(), 1, rtol=1e-6)
    assert (part.weight[~part.sequences.response_mask] == 0).all()
    np.testing.assert_array_equal(part.advantage, np.asarray(whole.advantage)[rows])
    np.testing.assert_array_equal(part.old_logprob, np.asarray(whole.old_logprob)[rows])


def test_demonstrations_are_weighed_over_the_whole_batch(rollout):
    batch = batches.demonstration_batch(rollout.sequences, token_mean)
    mask = rollout.sequences.response_mask
    np.testing.assert_allclose(batch.weight[mask], 1 / mask.sum(), rtol=1e-6)
    assert (batch.weight[~mask] == 0).all()


def test_a_correction_stays_with_its_tokens(rollout):
    """The sampler was half as sure of everything as the trainer is."""
    objective = Objective(gates.Clip(), correction=TokenTruncated(1.5))
    half = np.where(np.arange(16) < 8, np.log(2), np.log(1.2)).astype(np.float32)
    whole, _ = assembled(
        objective, rollout, rollout.sampler_logprob + half[:, None], REWARD
    )
    part = taken(objective, whole, 3, 1)
    mask = part.sequences.response_mask
    expected = np.where(np.arange(8) < 4, 1.2, 1.5)[:, None] * mask / mask.sum()
    np.testing.assert_allclose(part.weight * part.correction, expected, rtol=1e-5)
    np.testing.assert_allclose(part.weight, mask / mask.sum(), rtol=1e-5)


def test_rejected_tokens_leave_the_loss_and_its_denominator(rollout):
    objective = Objective(gates.Clip(), rejection=RejectTokens(0.5, 1.5))
    far = np.where(np.arange(5) == 1, np.log(2), 0.0).astype(np.float32)
    whole, _ = assembled(objective, rollout, rollout.sampler_logprob + far, REWARD)
    part = taken(objective, whole, 3, 1)
    expected = part.sequences.response_mask & (np.arange(5) != 1)
    np.testing.assert_allclose(part.weight, expected / expected.sum(), rtol=1e-6)


def test_a_rejection_and_the_overlong_filter_both_hold(rollout):
    far = np.where(np.arange(5) == 1, np.log(2), 0.0).astype(np.float32)
    alone = [
        {"rejection": RejectTokens(0.5, 1.5)},
        {"overlong_filter": OverlongFilter()},
    ]
    kept = [
        np.asarray(
            assembled(
                Objective(gates.Clip(), **parts),
                rollout,
                rollout.sampler_logprob + far,
                REWARD,
            )[0].loss_mask
        )
        for parts in (*alone, alone[0] | alone[1])
    ]
    np.testing.assert_array_equal(kept[2], kept[0] & kept[1])
    assert kept[2].sum() < min(kept[0].sum(), kept[1].sum())


@pytest.mark.parametrize("anchor, shift", [("trainer", -1.0), ("sampler", 0.0)])
def test_ratios_are_anchored_where_the_experiment_says(rollout, anchor, shift):
    objective = Objective(gates.Clip(), anchor=anchor)
    whole, _ = assembled(objective, rollout, rollout.sampler_logprob - 1, REWARD)
    np.testing.assert_array_equal(whole.old_logprob, rollout.sampler_logprob + shift)


@pytest.mark.parametrize("in_group", [True, False])
def test_responses_that_were_cut_off_do_not_train(rollout, in_group):
    """They have all five tokens, and none of them but row 9 ends."""
    objective = Objective(gates.Clip(), overlong_filter=OverlongFilter(in_group))
    full = rollout.sequences.response_mask.all(1) & (np.arange(16) != END)
    assert full.any() and rollout.sequences.response_mask[END].all()
    whole, _ = assembled(objective, rollout, rollout.sampler_logprob, REWARD)
    np.testing.assert_array_equal(
        whole.loss_mask, rollout.sequences.response_mask & ~full[:, None]
    )
    finished = rollout.sequences.response_mask & ~full[:, None]
    compared = rollout.sequences.response_mask if in_group else finished
    expected = group_normalized(REWARD, compared)
    chex.assert_trees_all_close(whole.advantage, expected, atol=1e-6)
    part = taken(objective, whole, 0, 1, 2, 3)
    np.testing.assert_allclose(part.weight, finished / finished.sum(), rtol=1e-6)


def test_distance_from_the_reference_costs_reward(rollout):
    objective = Objective(
        gates.Clip(), advantage=raw, kl_in_reward=kl.Penalty(0.1, kl.k1)
    )
    far = rollout.sampler_logprob - 0.5
    whole, _ = assembled(
        objective, rollout, rollout.sampler_logprob, REWARD, reference_logprob=far
    )
    mask = rollout.sequences.response_mask
    cost = 0.1 * 0.5 * mask.sum(1, keepdims=True)
    expected = np.where(mask, REWARD.reshape(-1, 1) - cost, 0)
    np.testing.assert_allclose(whole.advantage, expected, rtol=1e-5)
    np.testing.assert_array_equal(whole.reference_logprob, far)


def test_right_answers_share_a_weight_of_their_own(rollout):
    objective = Objective(gates.Clip(), terms=(Imitation(0.1),))
    reward = (np.arange(16) % 3 == 0).astype(np.float32).reshape(4, 4)
    whole, _ = assembled(objective, rollout, rollout.sampler_logprob, reward)
    part = taken(objective, whole, 3, 1)
    rows = np.array([12, 13, 14, 15, 4, 5, 6, 7])
    right = part.sequences.response_mask & (rows % 3 == 0)[:, None]
    np.testing.assert_allclose(part.correct_weight, right / right.sum(), rtol=1e-6)


def test_an_advantage_that_remembers_is_given_its_history(rollout):
    objective = Objective(gates.Clip(), advantage=smoothed)
    before = PromptStats(*np.float32([[0, 3, 0, 0], [0, 50, 0, 0], [0, 9, 0, 0]]))
    whole, after = assembled(
        objective, rollout, rollout.sampler_logprob, REWARD, history=before, data=4
    )
    mask = rollout.sequences.response_mask
    expected, expected_after = smoothed(REWARD, mask, before)
    chex.assert_trees_all_close((whole.advantage, after), (expected, expected_after))
    np.testing.assert_array_equal(after.visits, [1, 4, 1, 1])


@pytest.mark.parametrize("factor", [0.5, 0.25])
def test_responses_near_the_limit_lose_reward_by_their_length(rollout, factor):
    """Of a limit of 5, the buffer is 4: nothing up to 1, all at 5."""
    penalty = OverlongPenalty(buffer=4, factor=factor)
    objective = Objective(gates.Clip(), advantage=raw, overlong_penalty=penalty)
    whole, _, metrics = whole_assembled(
        objective, rollout, rollout.sampler_logprob, REWARD
    )
    mask = rollout.sequences.response_mask
    length = mask.sum(1, keepdims=True)
    assert {1, 5} < set(length[:, 0].tolist())
    lost = factor * (length - 1) / 4
    expected = np.where(mask, REWARD.reshape(-1, 1) - lost, 0)
    np.testing.assert_allclose(whole.advantage, expected, rtol=1e-6)
    np.testing.assert_allclose(metrics["overlong_penalty"], -lost.mean(), rtol=1e-6)


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"advantage": raw},
        {"overlong_penalty": OverlongPenalty(4)},
        {"kl_in_reward": kl.Penalty(0.1, kl.k1)},
    ],
    ids=lambda parts: next(iter(parts), "none"),
)
def test_rewards_per_token_are_those_of_their_responses(rollout, parts):
    """On the last token or on several, whatever stands on padding."""
    objective = Objective(gates.Clip(), **parts)
    mask = rollout.sequences.response_mask
    last = mask & ~np.pad(mask[:, 1:], ((0, 0), (0, 1)))
    on_last = np.where(last, REWARD.reshape(-1, 1), np.where(mask, 0, np.nan))
    halves = np.where(last, 0.5 * REWARD.reshape(-1, 1), 0)
    halves[:, 0] += 0.5 * REWARD.reshape(-1)
    inputs = objective, rollout, rollout.sampler_logprob
    more = {"reference_logprob": rollout.sampler_logprob - 0.5}
    expected = assembled(*inputs, REWARD, **more)[0]
    for reward in (on_last, halves):
        found = assembled(*inputs, reward.astype(np.float32), **more)[0]
        np.testing.assert_array_equal(found.advantage, expected.advantage)


def test_a_batch_knows_its_rows_and_who_drew_them(rollout):
    rollout = rollout.replace(policy_version=np.arange(16, dtype=np.int32) // 4 + 7)
    objective = Objective(gates.Clip())
    whole, _ = assembled(objective, rollout, rollout.sampler_logprob, REWARD)
    part = taken(objective, whole, 3, 1)
    np.testing.assert_array_equal(part.row, [12, 13, 14, 15, 4, 5, 6, 7])
    np.testing.assert_array_equal(part.policy_version, [10] * 4 + [8] * 4)


def test_groups_of_two_rollouts_can_be_mixed(rollout):
    mesh = mesh_of(4, 1)
    fresh = jax.tree.map(lambda x: x + 100 if x.dtype == np.int32 else x, rollout)
    held, fresh = distributed.shard_rows((rollout, fresh), mesh)
    mixed = worker.merge(held, fresh, np.array([0, 5, 2, 7], np.int32), 4, mesh)
    got = np.asarray(mixed.sequences.prompt)[:, 0].reshape(4, 4)
    np.testing.assert_array_equal(got[[0, 2]], [[0, 1, 2, 3], [8, 9, 10, 11]])
    np.testing.assert_array_equal(
        got[[1, 3]], [[104, 105, 106, 107], [112, 113, 114, 115]]
    )


def test_an_advantage_of_tokens_sees_where_rewards_were_earned(rollout):
    """Outcomes, penalties and all that is per response stand on the last token."""

    def of_tokens(reward, mask):
        return reward

    of_tokens.needs = ("token_reward",)
    penalty = OverlongPenalty(buffer=4)
    objective = Objective(
        gates.Clip(),
        advantage=of_tokens,
        overlong_penalty=penalty,
        kl_in_reward=kl.Penalty(0.1, kl.k1),
    )
    mask = rollout.sequences.response_mask
    last = mask & ~np.pad(mask[:, 1:], ((0, 0), (0, 1)))
    lost = (mask.sum(1, keepdims=True) - 1) / 4
    earned = np.where(mask, np.arange(80).reshape(16, 5), np.nan).astype(np.float32)
    inputs = objective, rollout, rollout.sampler_logprob
    more = {"reference_logprob": rollout.sampler_logprob - 0.5}
    for reward, expected in (
        (REWARD, np.where(last, REWARD.reshape(-1, 1), 0)),
        (earned, np.where(mask, earned, 0)),
    ):
        found = assembled(*inputs, reward, **more)[0]
        expected = expected - np.where(last, lost, 0) - np.where(mask, 0.05, 0)
        np.testing.assert_allclose(found.advantage, expected, rtol=1e-5, atol=1e-6)
