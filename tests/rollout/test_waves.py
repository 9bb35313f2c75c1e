"""The size of a wave changes no bit of what is drawn, and decides its memory."""

import dataclasses
import itertools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import EXPERIMENTS, mesh_of

from maspo_jax import distributed
from maspo_jax.config import DynamicSampling, loading
from maspo_jax.data.sources import Problem
from maspo_jax.models.decoder import init_decoder
from maspo_jax.rewards import Verdict
from maspo_jax.rollout import memory, waves, worker
from maspo_jax.rollout.generate import SamplingParams, sample
from maspo_jax.rollout.grading import InProcessGrader
from maspo_jax.rollout.waves import WavePlan
from maspo_jax.runs.keys import key_for
from maspo_jax.runs.metrics_log import Clock
from maspo_jax.runs.programs import compilations
from maspo_jax.types import Prompts

TINY = loading.load(EXPERIMENTS / "tiny.py")
PROMPTS, RESPONSES, LENGTH = 24, 3, 10
STEP = 5


@pytest.mark.parametrize("shards", [1, 2, 4])
@pytest.mark.parametrize("prompts", [4, 8, 12, 20])
@pytest.mark.parametrize("size", [4, 8, 12, 20])
def test_waves_hold_every_prompt_where_its_rows_are(prompts, size, shards):
    plan, seen = WavePlan(prompts, min(size, prompts), shards), []
    held = lambda numbers: numbers // (prompts // shards)  # by which device
    for wave in range(plan.count):
        numbers = plan.prompts_of(wave)
        assert len(numbers) == plan.size  # of one shape
        of_device = numbers.reshape(shards, -1)
        assert (held(of_device) == np.arange(shards)[:, None]).all()
        seen.append(of_device)
    for device, numbers in enumerate(np.concatenate(seen, axis=1)):
        own = np.arange(prompts // shards) + device * (prompts // shards)
        np.testing.assert_array_equal(numbers[: len(own)], own)
        filled = numbers[len(own) :]
        assert (filled == own[-1]).all() and len(filled) < plan.size // shards


def test_a_wave_of_a_process_is_of_its_own_prompts(monkeypatch):
    plan, whole = WavePlan(24, 8, 4), np.arange(100, 124)
    for process in range(2):
        own = lambda count, at=process: slice(at * count // 2, (at + 1) * count // 2)
        monkeypatch.setattr(distributed, "host_slice", own)
        for wave in range(plan.count):
            numbers = plan.prompts_of(wave)[own(plan.size)]
            places = plan.own_prompts_of(wave)
            np.testing.assert_array_equal(whole[own(24)][places], whole[numbers])


class Stream:
    """Problems and prompts of different lengths, always the same first ones."""

    def prepare(self):
        pass

    def take(self, count):
        rng = np.random.default_rng(0)
        mask = np.arange(6)[None] >= rng.integers(0, 5, (count, 1))
        tokens = np.where(mask, rng.integers(2, TINY.tokenizer.size, mask.shape), 0)
        problems = [Problem(f"problem {n}", "?", str(n)) for n in range(count)]
        return problems, Prompts(tokens.astype(np.int32), mask)


def by_text(text, gold):
    """Says of each response something of its own, whatever it is asked beside."""
    outcome = "correct" if (len(text) + int(gold)) % 3 == 0 else "wrong"
    return Verdict(outcome, text, "", steps=((len(text) // 2, 0.25), (len(text), 0.5)))


by_text.steps = True


@pytest.fixture(scope="module")
def policy():
    return jax.jit(lambda key: init_decoder(TINY.decoder, key))(jax.random.key(3))


@pytest.fixture
def drawing():
    """Returns a function of a mesh and the size of a wave that makes a `Worker`."""
    clock = Clock(types.SimpleNamespace(stage=lambda name: None))
    sampling = dataclasses.replace(
        TINY.sampling, prompts=PROMPTS, responses=RESPONSES, response_length=LENGTH
    )
    grading = dataclasses.replace(TINY.grading, grader=by_text)

    def make(mesh, wave, **settings):
        given = dataclasses.replace(sampling, wave=wave, **settings)
        experiment = dataclasses.replace(TINY, sampling=given, grading=grading)
        verifier = InProcessGrader(by_text)
        return worker.build(experiment, mesh, verifier, Stream(), clock, print)

    return make


def plain(drawing, policy, mesh):
    """The draw of all prompts at once, without a plan."""
    key = jax.random.fold_in(key_for("sampling", TINY.seed), STEP)
    _, prompts = Stream().take(PROMPTS)
    rows = distributed.shard_rows(prompts, mesh)
    return sample(policy, rows, key, drawing(mesh, None).sampling, mesh)


def assert_same_draw(rollout, expected):
    """Every token is the same, and where each is; of one log-probability to 3 ulp."""
    for mine, theirs in zip(
        *map(jax.tree.leaves, (rollout.sequences, expected.sequences)), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)
    mine, theirs = rollout.sampler_logprob, expected.sampler_logprob
    np.testing.assert_array_max_ulp(np.asarray(mine), np.asarray(theirs), maxulp=3)


SIZES = {1: (1, 2, 3, 5, 12, 24, None), 8: (8, 16, 24, None)}


@pytest.mark.parametrize(
    "devices, wave", [(n, wave) for n, each in SIZES.items() for wave in each]
)
def test_any_size_draws_what_the_whole_draws(drawing, policy, devices, wave):
    """Every token; 5 does not divide 24 prompts, nor does 16 on eight devices.

    The log-probabilities, too, but for the rounding of products of fewer rows.
    """
    mesh = mesh_of(devices, 1)
    expected = distributed.local_rows(plain(drawing, policy, mesh))
    collected = drawing(mesh, wave).rewarded(policy, STEP)
    rollout = distributed.local_rows(collected.rollout)
    assert len(np.unique(rollout.sequences.response)) > 20
    version = (STEP - 1) * TINY.updates_per_step
    assert (rollout.policy_version == version).all()
    assert_same_draw(rollout, expected)
    if wave in (24, None):
        np.testing.assert_array_equal(rollout.sampler_logprob, expected.sampler_logprob)
    # And what was said of a response stands where its row does.
    texts = [
        TINY.tokenizer.decode(row[kept].tolist())
        for row, kept in zip(
            expected.sequences.response, expected.sequences.response_mask, strict=True
        )
    ]
    assert [one.text for one in collected.responses] == texts
    golds = np.repeat(np.arange(PROMPTS), RESPONSES)
    verdicts = [by_text(*pair) for pair in zip(texts, map(str, golds), strict=True)]
    assert [one.verdict.outcome for one in collected.responses] == [
        verdict.outcome for verdict in verdicts
    ]
    assert collected.reward.shape == (PROMPTS * RESPONSES, LENGTH)
    np.testing.assert_array_equal(collected.reward.sum(axis=1), 0.75)
    lengths = expected.sequences.response_mask.sum(axis=1)
    last = [np.flatnonzero(row)[-1] for row in collected.reward]
    assert (np.array(last) < lengths).all() and len(set(last)) > 1


@pytest.mark.parametrize("devices, limit", [(1, 298_000), (8, 153_500)])
def test_what_is_chosen_draws_what_the_whole_draws(
    drawing, policy, devices, limit, monkeypatch
):
    """In waves and with slots that are as many as a small memory holds."""
    mesh = mesh_of(devices, 1)
    expected = distributed.local_rows(plain(drawing, policy, mesh))
    monkeypatch.setattr(memory, "memory_limit", lambda: limit)
    chosen = drawing(mesh, None)
    assert 1 < chosen.sampling.slots < chosen.wave * RESPONSES // devices
    assert chosen.wave == (12 if devices == 1 else PROMPTS)
    assert_same_draw(
        distributed.local_rows(chosen.rewarded(policy, STEP).rollout), expected
    )


def test_rows_lie_on_the_devices_of_their_prompts(drawing, policy):
    mesh = mesh_of(4, 2)
    whole, cut = (
        drawing(mesh, wave).rewarded(policy, STEP).rollout for wave in (24, 8)
    )
    for mine, theirs in zip(*map(jax.tree.leaves, (cut, whole)), strict=True):
        assert mine.sharding.is_equivalent_to(theirs.sharding, mine.ndim)


def test_one_program_draws_every_wave(drawing, policy):
    """Also those of smaller draws, as dynamic sampling makes them."""
    mesh = mesh_of(1, 1)
    drawing = drawing(mesh, 4)
    sample.clear_cache()
    before = compilations().finished
    for attempt, count in ((0, 24), (1, 12), (2, 6), (0, 24)):
        collected = drawing.rewarded(policy, STEP, attempt, count)
        assert len(collected.responses) == count * RESPONSES
    made = [program.name for program in compilations().since(before)]
    assert made.count("sample") == 1


@pytest.mark.parametrize("wave", [2, 4])
def test_dynamic_sampling_draws_the_same_in_waves(drawing, policy, wave):
    mesh, settings = mesh_of(1, 1), {"dynamic": DynamicSampling(rounds=3)}
    whole, cut = (
        drawing(mesh, size, **settings).collect(policy, STEP) for size in (24, wave)
    )
    assert cut.metrics == whole.metrics and cut.metrics["rounds"] == 3
    assert cut.problems == whole.problems and cut.responses == whole.responses
    assert_same_draw(cut.rollout, whole.rollout)


def test_the_next_wave_is_under_way_while_one_is_graded():
    said = []
    draw = lambda wave: said.append(f"draw {wave}") or jnp.full(2, wave)
    drawn = waves.in_turn(draw, 3, lambda: said.append("between"))
    assert said == ["draw 0"]
    for wave, rollout in enumerate(drawn):
        assert rollout.tolist() == [wave, wave]
        said.append(f"grade {wave}")
    assert said == [
        *("draw 0", "between", "draw 1", "grade 0"),
        *("between", "draw 2", "grade 1", "grade 2"),
    ]


def test_a_signal_is_obeyed_between_waves(drawing, policy):
    """And none is under way then, whose memory or collectives would be in the way."""

    class Stop(Exception):
        pass

    asked = itertools.count()

    def leave():
        if next(asked) == 1:
            raise Stop

    with pytest.raises(Stop):
        drawing(mesh_of(1, 1), 6).collect(policy, STEP, leave)
    assert next(asked) == 2  # of three that there are between four waves


def test_the_policy_is_cast_once_a_step(drawing, policy, monkeypatch):
    config = dataclasses.replace(TINY.decoder, compute_dtype="bfloat16")
    structure = jax.tree.structure(
        jax.eval_shape(lambda: init_decoder(config, jax.random.key(0)))
    )
    narrow = jax.tree.unflatten(structure, jax.tree.leaves(policy))
    given = []

    def record(policy, *rest):
        given.append(policy)
        return sample(policy, *rest)

    monkeypatch.setattr(worker, "sample", record)
    settings = {"dynamic": DynamicSampling(rounds=2)}
    drawing(mesh_of(2, 1), 8, **settings).collect(narrow, STEP)
    assert len(given) > 3 and len({id(each) for each in given}) == 1
    assert {leaf.dtype for leaf in jax.tree.leaves(given[0])} == {jnp.dtype("bfloat16")}


def test_memory_grows_with_the_wave_alone():
    """Linearly: the cache of its rows, and little more."""
    mesh, decoding = mesh_of(1, 1), SamplingParams(4, 448, eos_tokens=(1,), pad=0)
    config = dataclasses.replace(TINY.decoder, depth=4, head_width=32)
    policy = jax.eval_shape(lambda: init_decoder(config, jax.random.key(0)))

    def temporary(prompts):
        shape = lambda *axes: jax.ShapeDtypeStruct((prompts, *axes), jnp.int32)
        asked = Prompts(shape(64), jax.ShapeDtypeStruct((prompts, 64), bool))
        key = jax.eval_shape(lambda: jax.random.key(0))
        lowered = sample.lower(policy, asked, key, decoding, mesh, shape())
        return lowered.compile().memory_analysis().temp_size_in_bytes

    found = np.array([temporary(size) for size in (2, 4, 8)])
    a_prompt = (found[2] - found[1]) / 4
    cache = 2 * 4 * 4 * config.key_value_heads * (64 + 448) * 32 * 4
    assert cache <= a_prompt < 4 * cache
    assert found[1] - found[0] == pytest.approx(2 * a_prompt, rel=0.02)
    assert found[0] == pytest.approx(2 * a_prompt, rel=0.1)
