"""Slots that go from row to row: what is drawn does not depend on them."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import mesh_of
from support.prompts import padded_prompts

from maspo_jax import distributed
from maspo_jax.models.attention import layout_of_mask
from maspo_jax.rollout import generate, slots
from maspo_jax.rollout.generate import SamplingParams, sample
from maspo_jax.rollout.sample_token import sample_token

DECODING = SamplingParams(responses=4, length=24, eos_tokens=(1,), pad=0)
LONG = SamplingParams(responses=8, length=slots.LONG, eos_tokens=(1,), pad=0)
KEY = jax.random.key(7)


@pytest.fixture(scope="module")
def draw(tiny_policy):
    def draw(decoding, layout=(1, 1, 1), **changes):
        mesh = mesh_of(*layout)
        prompts = distributed.shard_rows(padded_prompts(), mesh)
        decoding = dataclasses.replace(decoding, **changes)
        drawn = sample(tiny_policy, prompts, KEY, decoding, mesh)
        return distributed.local_rows(drawn)

    return draw


@pytest.fixture(scope="module")
def rollout(draw):
    return draw(DECODING)


def assert_same(got, expected):
    chex.assert_trees_all_equal(got.sequences, expected.sequences)
    chex.assert_trees_all_close(
        got.sampler_logprob, expected.sampler_logprob, rtol=1e-5, atol=1e-5
    )


def test_rows_are_those_of_a_loop_without_cache_or_slots(tiny_policy, rollout):
    """The plain twin: whole rows are read again for every token."""
    prompts = jax.tree.map(lambda x: jnp.repeat(x, 4, axis=0), padded_prompts())
    keys = jax.vmap(lambda n: jax.random.fold_in(KEY, n))(jnp.arange(32))
    fixed = jnp.zeros((32, 24), jnp.int32)

    @jax.jit
    def next_token(response, step):
        tokens = jnp.concatenate([prompts.tokens, response], axis=1)
        drawn = jnp.broadcast_to(jnp.arange(24)[None] < step, (32, 24))
        mask = jnp.concatenate([prompts.mask, drawn], axis=1)
        hidden, _ = tiny_policy(tokens, layout_of_mask(mask))
        hidden = hidden[:, prompts.tokens.shape[1] - 1 + step]
        step_keys = jax.vmap(lambda key: jax.random.fold_in(key, step))(keys)
        token, logprob = sample_token(tiny_policy.logits(hidden), step_keys)
        return response.at[:, step].set(token), logprob

    response, logprobs = fixed, []
    for step in range(24):
        response, logprob = next_token(response, step)
        logprobs.append(logprob)
    mask = rollout.sequences.response_mask
    ends = np.asarray(response == 1)
    length = np.where(ends.any(axis=1), ends.argmax(axis=1) + 1, 24)
    np.testing.assert_array_equal(mask.sum(axis=1), length)
    np.testing.assert_array_equal(
        rollout.sequences.response[mask], np.asarray(response)[mask]
    )
    np.testing.assert_allclose(
        rollout.sampler_logprob[mask],
        np.stack(logprobs, axis=1)[mask],
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize("count", [1, 5, 31, 32, 100])
def test_any_number_of_slots_draws_the_same(draw, rollout, count):
    assert_same(draw(DECODING, slots=count), rollout)


@pytest.mark.parametrize(
    "layout, gather",
    [
        ((2, 1, 1), "once"),
        ((1, 2, 2), "once"),
        ((1, 2, 2), "layer"),
        ((1, 4, 1), "layer"),
    ],
)
def test_devices_hand_on_slots_each_at_its_time(draw, rollout, layout, gather):
    got = draw(DECODING, layout, slots=3, gather=gather)
    assert_same(got, rollout)


@pytest.mark.parametrize("count", [10, 40, None])
@pytest.mark.parametrize("layout", [(1, 1, 1), (1, 1, 2)])
def test_fewer_slots_go_on_when_no_row_is_left(draw, monkeypatch, layout, count):
    """Seen beside a sampler that keeps all of them to the end."""
    counts = slots.slot_counts(64, LONG.length)
    assert counts == (64, 32, 16, 8)
    got = draw(LONG, layout, slots=count)
    lengths = got.sequences.response_mask.sum(axis=1)
    assert np.sort(lengths)[-4] > 1.5 * np.median(lengths)  # some go on alone
    jax.clear_caches()
    monkeypatch.setattr(slots, "slot_counts", lambda count, length: (count,))
    assert_same(got, draw(LONG, layout))
    jax.clear_caches()


def test_prompts_read_in_pieces_are_read_the_same(draw, rollout, monkeypatch):
    jax.clear_caches()
    jax.clear_caches()
    monkeypatch.setattr(generate, "PREFILLED", 1)
    for layout in ((1, 1, 1), (2, 1, 2)):
        assert_same(draw(DECODING, layout, slots=7), rollout)
    jax.clear_caches()


@pytest.mark.parametrize("layout", [(1, 1, 1), (1, 1, 2)])
def test_a_last_piece_of_prompts_is_filled_up(tiny_policy, monkeypatch, layout):
    """Of ten, of which each of two devices that share the heads has five."""
    prompts = jax.tree.map(lambda x: np.concatenate([x, x[:2]]), padded_prompts())
    mesh = mesh_of(*layout)
    placed = distributed.shard_rows(prompts, mesh)
    rollouts = []
    for fits in (10, 3):
        jax.clear_caches()
        monkeypatch.setattr(generate, "PREFILLED", fits * prompts.tokens.shape[1])
        drawn = sample(tiny_policy, placed, KEY, DECODING, mesh)
        rollouts.append(distributed.local_rows(drawn))
    assert_same(*rollouts)
    jax.clear_caches()


@pytest.mark.parametrize(
    "count, expected", [(128, 32), (127, 32), (94, 32), (37, 19), (33, 17), (5, 5)]
)
def test_prompts_are_read_in_few_pieces_whatever_their_number(count, expected):
    assert generate.prompts_at_a_time(count, generate.PREFILLED // 32) == expected


@pytest.mark.parametrize(
    "count, length, expected",
    [
        (64, slots.LONG - 1, (64,)),
        (64, slots.LONG, (64, 32, 16, 8)),
        (15, slots.LONG, (15,)),
        (33, slots.LONG, (33, 16, 8)),
        (1, slots.LONG, (1,)),
    ],
)
def test_slots_shrink_where_responses_may_be_long(count, length, expected):
    assert slots.slot_counts(count, length) == expected


def test_a_number_of_slots_is_positive():
    message = r"slots=0: must lie in \[1, inf\), or be None for all rows"
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(DECODING, slots=0)
