"""What the sampler promises about every row it draws."""

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
from maspo_jax.rollout.generate import SamplingParams, sample, sample_with_keys
from maspo_jax.rollout.logprobs import response_logprobs
from maspo_jax.types import Prompts

DECODING = SamplingParams(responses=4, length=24, eos_tokens=(1,), pad=0)
KEY = jax.random.key(7)


@pytest.fixture(scope="module")
def prompts():
    return padded_prompts()


@pytest.fixture(scope="module")
def draw(tiny_policy, prompts):
    def draw(mesh=None, decoding=DECODING, rows=8, prompts=prompts, key=KEY):
        mesh = mesh or mesh_of(1, 1)
        prompts = jax.tree.map(lambda x: x[:rows], prompts)
        rollout = sample(
            tiny_policy, distributed.shard_rows(prompts, mesh), key, decoding, mesh
        )
        return distributed.local_rows(rollout)

    return draw


@pytest.fixture(scope="module")
def rollout(draw):
    return draw()


def test_some_rows_end_early_and_some_do_not(rollout):
    lengths = rollout.sequences.response_mask.sum(axis=-1)
    assert lengths.min() < 12 < lengths.max() == 24


def test_the_end_token_is_part_of_the_response(rollout):
    for tokens, mask in zip(
        rollout.sequences.response, rollout.sequences.response_mask, strict=True
    ):
        length = mask.sum()
        assert mask[:length].all()
        assert (tokens[: length - 1] != DECODING.eos_tokens[0]).all()
        assert tokens[length - 1] == DECODING.eos_tokens[0] or length == DECODING.length
        assert (tokens[length:] == DECODING.pad).all()


def test_a_row_ends_at_whichever_end_it_draws_first(draw, rollout):
    several = draw(decoding=dataclasses.replace(DECODING, eos_tokens=(1, 5, 9)))
    before, after = rollout.sequences, several.sequences
    last = []
    for n in range(32):
        # The same draws, cut behind the first of the ends.
        drawn = before.response[n][before.response_mask[n]]
        stops = np.flatnonzero(np.isin(drawn, (1, 5, 9)))
        length = stops[0] + 1 if len(stops) else len(drawn)
        assert after.response_mask[n].sum() == length
        chex.assert_trees_all_equal(after.response[n][:length], drawn[:length])
        assert (after.response[n][length:] == DECODING.pad).all()
        chex.assert_trees_all_close(
            several.sampler_logprob[n][:length],
            rollout.sampler_logprob[n][:length],
            atol=1e-5,
        )
        last.append(drawn[length - 1])
    assert {1, 5, 9} <= set(last)


def test_every_row_carries_its_prompt(rollout, prompts):
    repeat = np.repeat(np.arange(8), 4)
    chex.assert_trees_all_equal(rollout.sequences.prompt, prompts.tokens[repeat])
    chex.assert_trees_all_equal(rollout.sequences.prompt_mask, prompts.mask[repeat])


@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.5])
def test_log_probabilities_equal_those_of_the_trainer(draw, tiny_policy, temperature):
    decoding = dataclasses.replace(DECODING, temperature=temperature)
    rollout = draw(decoding=decoding)
    sequences = jax.tree.map(jnp.asarray, rollout.sequences)
    score = jax.jit(response_logprobs, static_argnums=2)
    logprob, _ = score(tiny_policy, sequences, temperature)
    chex.assert_trees_all_close(
        rollout.sampler_logprob, np.asarray(logprob), rtol=1e-5, atol=1e-5
    )
    assert (rollout.sampler_logprob[~rollout.sequences.response_mask] == 0).all()


def test_greedy_rows_take_the_likeliest_token_at_every_step(draw, tiny_policy):
    rollout = draw(decoding=dataclasses.replace(DECODING, temperature=0.0))
    sequences = rollout.sequences
    tokens = np.concatenate([sequences.prompt, sequences.response], axis=1)
    mask = jnp.asarray(
        np.concatenate([sequences.prompt_mask, sequences.response_mask], axis=1)
    )

    @jax.jit
    def best(policy):
        hidden, _ = policy(jnp.asarray(tokens), layout_of_mask(mask))
        return jnp.argmax(policy.logits(hidden[:, 5:-1]), axis=-1)

    likeliest = np.asarray(best(tiny_policy))
    chex.assert_trees_all_equal(
        sequences.response[sequences.response_mask],
        likeliest[sequences.response_mask].astype(np.int32),
    )


def test_a_nucleus_holds_in_the_sampler(draw):
    """Of almost no mass, it is the likeliest token alone."""
    greedy = draw(decoding=dataclasses.replace(DECODING, temperature=0.0))
    narrow = draw(decoding=dataclasses.replace(DECODING, top_p=1e-6))
    chex.assert_trees_all_equal(narrow.sequences, greedy.sequences)


@pytest.mark.parametrize("rows", [1, 3])
def test_a_row_does_not_depend_on_the_others(draw, rollout, rows):
    fewer = draw(rows=rows)
    expected = jax.tree.map(lambda x: x[: rows * 4], rollout)
    chex.assert_trees_all_equal(fewer.sequences, expected.sequences)
    chex.assert_trees_all_close(
        fewer.sampler_logprob, expected.sampler_logprob, atol=1e-5
    )


@pytest.mark.parametrize("devices", [1, 2])
def test_a_row_with_a_key_of_its_own_is_the_same_in_any_batch(
    tiny_policy, rollout, prompts, devices
):
    """Rows 8 to 23 of the whole, those of prompts 5, 4, 3 and 2 in this order."""
    chosen = np.array([5, 4, 3, 2])
    rows = (chosen[:, None] * 4 + np.arange(4)).reshape(-1)
    keys = jax.vmap(lambda row: jax.random.fold_in(KEY, row))(rows)
    mesh = mesh_of(devices, 1)
    some = jax.tree.map(lambda x: x[chosen], prompts)
    got = sample_with_keys(
        tiny_policy, distributed.shard_rows(some, mesh), keys, DECODING, mesh
    )
    got, expected = (
        distributed.local_rows(got),
        jax.tree.map(lambda x: x[rows], rollout),
    )
    chex.assert_trees_all_equal(got.sequences, expected.sequences)
    chex.assert_trees_all_close(
        got.sampler_logprob, expected.sampler_logprob, atol=1e-5
    )


def test_a_longer_limit_only_appends(draw, rollout):
    longer = draw(decoding=dataclasses.replace(DECODING, length=30))
    mask = rollout.sequences.response_mask
    chex.assert_trees_all_equal(
        longer.sequences.response[:, :24][mask], rollout.sequences.response[mask]
    )


def test_padding_of_prompts_changes_nothing(draw, rollout, prompts):
    wider = Prompts(
        np.pad(prompts.tokens, ((0, 0), (5, 0))), np.pad(prompts.mask, ((0, 0), (5, 0)))
    )
    padded = draw(prompts=wider)
    chex.assert_trees_all_equal(padded.sequences.response, rollout.sequences.response)
    chex.assert_trees_all_close(
        padded.sampler_logprob, rollout.sampler_logprob, atol=1e-5
    )


@pytest.mark.parametrize("data, fsdp", [(8, 1), (4, 2), (1, 8), (2, 1)])
def test_devices_draw_what_one_device_draws(draw, rollout, data, fsdp):
    spread = draw(mesh=mesh_of(data, fsdp))
    chex.assert_trees_all_equal(spread.sequences, rollout.sequences)
    chex.assert_trees_all_close(
        spread.sampler_logprob, rollout.sampler_logprob, atol=1e-5
    )


def test_responses_and_keys_differ(draw, rollout):
    first = rollout.sequences.response[:4]
    assert len(np.unique(first, axis=0)) == 4
    other = draw(key=jax.random.key(8))
    assert (other.sequences.response != rollout.sequences.response).any(axis=1).all()


@pytest.mark.parametrize(
    "setting, message",
    [
        ({"responses": 0}, "responses=0"),
        ({"length": 0}, "length=0"),
        ({"temperature": -1.0}, "temperature=-1"),
        ({"top_p": 0.0}, "top_p=0"),
        ({"top_p": 1.1}, "top_p=1.1"),
        ({"eos_tokens": ()}, "at least one token"),
    ],
)
def test_settings_that_name_no_distribution_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(DECODING, **setting)
