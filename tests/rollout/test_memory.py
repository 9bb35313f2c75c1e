"""How much is drawn at a time, where the memory of a device is known."""

import dataclasses
import math
import re
import types

import jax
import jax.numpy as jnp
import pytest
from conftest import EXPERIMENTS, mesh_of

from maspo_jax import distributed
from maspo_jax.config import Objective, loading
from maspo_jax.evaluation import run
from maspo_jax.models import presets, sizes
from maspo_jax.models.decoder import init_decoder
from maspo_jax.objectives import gates, kl
from maspo_jax.rollout import memory, weights, worker
from maspo_jax.rollout.batching import BATCH
from maspo_jax.rollout.generate import SamplingParams, sample
from maspo_jax.types import Prompts

GiB = 1 << 30
TINY = loading.load(EXPERIMENTS / "tiny.py")


@pytest.fixture(scope="module")
def large():
    """The 1.5B policy of the papers at their own lengths."""
    policy = presets.DEEPSEEK_R1_DISTILL_QWEN_1_5B
    sampling = dataclasses.replace(
        TINY.sampling,
        prompts=512,
        responses=8,
        prompt_length=2048,
        response_length=8192,
    )
    policy = dataclasses.replace(policy, compute_dtype="bfloat16")
    return dataclasses.replace(TINY, policy=policy, sampling=sampling)


def test_all_are_drawn_at_once_where_nothing_is_known_of_the_memory(large):
    mesh = mesh_of(1, 8)
    assert memory.memory_limit() is None  # of simulated devices
    assert memory.drawn_at_a_time(large, mesh, None) == memory.AtATime(512, None)
    given = sampling_of(large, wave=64, slots=3)
    assert memory.drawn_at_a_time(given, mesh, None) == memory.AtATime(64, 3)
    assert memory.validation_batch(large, mesh, None) == BATCH
    assert memory.evaluation_batch(large.decoder, mesh, None, 1, 1) == BATCH


def sampling_of(experiment, **settings):
    """The experiment with settings of its sampling changed."""
    sampling = dataclasses.replace(experiment.sampling, **settings)
    return dataclasses.replace(experiment, sampling=sampling)


def fitting(experiment, mesh, limit, share=memory.FILLED):
    """Whether a wave and slots fit, which are given, worked out part by part."""
    return lambda wave, slots: (
        memory.training_bytes(experiment, mesh)
        + memory.sampler_bytes(
            experiment.decoder, wave // 8, 8, 2048, 8192, slots=slots
        )
        + 32 * 512 * 10240  # rows of a device, twice
        <= share * limit
    )


MESHES = pytest.mark.parametrize("fsdp", [1, 4, 8])
MEMORY = pytest.mark.parametrize("gib", [8, 16, 20, 27, 32, 64, 80, 141, 256])


@MEMORY
@MESHES
def test_a_wave_is_the_largest_that_fits_with_slots_for_a_quarter(large, gib, fsdp):
    mesh, limit = mesh_of(8 // fsdp, fsdp), gib * GiB
    found, fits = (
        memory.drawn_at_a_time(large, mesh, limit),
        fitting(large, mesh, limit),
    )
    if found is None:
        assert not fits(8, 1)
        return
    wave = found.wave  # and as many rows on each of the 8 devices, 8 to a prompt
    slots = wave if found.slots is None else found.slots
    assert 512 % wave == wave % 8 == 0 and 1 <= slots <= wave and fits(wave, slots)
    assert (found.slots is None) == fits(wave, wave)
    assert slots == wave or not fits(wave, slots + 1)
    assert wave == 8 or slots >= wave / 4
    # Of powers of two, the next.
    assert wave == 512 or not fits(2 * wave, wave // 2)


def test_less_memory_is_for_slots_of_all_prompts_of_some_and_of_one_a_device(large):
    mesh, odd = mesh_of(1, 8), sampling_of(large, prompts=88)
    of = lambda experiment, gib: memory.drawn_at_a_time(experiment, mesh, gib * GiB)
    assert of(large, 256) == memory.AtATime(512, None)
    assert of(large, 80).wave == 512 and 128 <= of(large, 80).slots < 512
    assert of(large, 40).wave == 256 and 64 <= of(large, 40).slots < 128
    assert of(odd, 14) == memory.AtATime(8, None)  # 88 would be the next
    assert of(large, 8) == memory.AtATime(8, 1)  # less than a quarter
    assert of(large, 7) is None


@MEMORY
@MESHES
def test_slots_are_as_many_as_fit_with_a_wave_that_is_set(large, gib, fsdp):
    mesh, limit = mesh_of(8 // fsdp, fsdp), gib * GiB
    fits = fitting(large, mesh, limit)
    for wave in (8, 128, 512):
        found = memory.drawn_at_a_time(sampling_of(large, wave=wave), mesh, limit)
        count = sum(fits(wave, slots) for slots in range(1, wave + 1))
        slots = None if count == wave else count
        assert found == (memory.AtATime(wave, slots) if count else None)


@MEMORY
@MESHES
def test_a_wave_is_the_largest_that_fits_with_slots_that_are_set(large, gib, fsdp):
    mesh, limit = mesh_of(8 // fsdp, fsdp), gib * GiB
    fits = fitting(large, mesh, limit, memory.SHARE)
    for slots in (1, 32, 512, 9999):
        found = memory.drawn_at_a_time(sampling_of(large, slots=slots), mesh, limit)
        waves = [wave for wave in (8, 16, 32, 64, 128, 256, 512) if fits(wave, slots)]
        assert found == (memory.AtATime(waves[-1], slots) if waves else None)


def test_what_is_set_is_drawn_whether_or_not_it_fits(large):
    mesh, given = mesh_of(1, 8), sampling_of(large, wave=256, slots=250)
    assert not fitting(large, mesh, 20 * GiB)(256, 250)
    for gib in (1, 20, 256):
        found = memory.drawn_at_a_time(given, mesh, gib * GiB)
        assert found == memory.AtATime(256, 250)


def test_as_little_as_can_be_is_one_response_of_the_smallest_wave(large):
    least = lambda **given: memory.least_at_a_time(
        sampling_of(large, **given).sampling, 8
    )
    assert least() == memory.AtATime(8, 1)
    assert least(wave=64) == memory.AtATime(64, 1)
    assert least(slots=5) == memory.AtATime(8, 5)
    rows = [memory.AtATime(64, slots).rows(8, 8) for slots in (None, 1, 64, 65)]
    assert rows == [64, 1, 64, 64]


def test_more_memory_or_a_reference_policy_count(large):
    mesh = mesh_of(1, 8)
    of = lambda experiment, gib: memory.drawn_at_a_time(experiment, mesh, gib * GiB)
    found = [of(large, gib) for gib in (10, 16, 32, 64, 128, 256)]
    sizes = [each.wave for each in found]
    assert sizes[0] < sizes[-1] == 512 and sizes == sorted(sizes)
    rows = [each.rows(8, 8) for each in found]
    assert rows[0] < rows[-1] == 512 and rows == sorted(rows)
    assert of(large, 4) is None
    objective = Objective(gates.Maspo(), terms=(kl.Penalty(0.1, kl.k3),))
    more = dataclasses.replace(large, objective=objective)
    policy = sizes_of(large.decoder)
    # Parameters and two moments of a shard, and a whole copy of half the width.
    held = 3 * policy / 8 + policy / 2
    assert memory.training_bytes(large, mesh) == pytest.approx(held)
    assert memory.training_bytes(more, mesh) == pytest.approx(
        memory.training_bytes(large, mesh) + policy / 8
    )


def sizes_of(config):
    return 4 * sizes.param_count(config)


def test_the_copy_that_is_sampled_from_counts_where_there_is_one(large):
    wide = dataclasses.replace(large.decoder, compute_dtype=None)
    whole, bytes_of = mesh_of(8, 1), memory.copy_bytes
    assert bytes_of(wide, whole) == 0  # the policy itself
    assert bytes_of(wide, mesh_of(1, 8)) == sizes_of(wide)
    assert bytes_of(large.decoder, whole) == sizes_of(wide) / 2


@pytest.mark.parametrize("gib", [4, 16, 24, 80])
def test_a_batch_is_no_more_than_fits_and_one_a_device_at_least(large, gib):
    mesh = mesh_of(1, 8)
    lengths = large.sampling.prompt_length, large.sampling.response_length
    batches = [
        memory.validation_batch(large, mesh, gib * GiB),
        memory.evaluation_batch(large.decoder, mesh, gib * GiB, *lengths),
    ]
    assert batches[0] <= batches[1]
    for batch in batches:
        assert 8 <= batch <= BATCH and batch % 8 == 0
    held = memory.training_bytes(large, mesh)
    taken = memory.sampler_bytes(large.decoder, 1, 1, *lengths) * batches[0] / 8
    assert batches[0] == 8 or held + taken <= memory.SHARE * gib * GiB
    assert (gib, batches[0]) != (80, 8) and (gib > 4 or batches[0] == 8)


def test_it_is_said_how_many_are_drawn_at_a_time(large, monkeypatch):
    said, mesh = [], mesh_of(1, 8)
    build = lambda experiment: worker.build(
        experiment, mesh, None, None, None, said.append
    )
    assert build(large).wave == 512 and not said
    monkeypatch.setattr(memory, "memory_limit", lambda: 80 * GiB)
    built = build(large)
    wave, slots = built.wave, built.sampling.slots
    assert memory.drawn_at_a_time(large, mesh, 80 * GiB) == memory.AtATime(wave, slots)
    assert said == [
        f"drawing {wave} of 512 prompts at a time, {slots} of {wave} responses at a "
        "time on a device"
    ]
    whole = build(sampling_of(large, wave=64))
    assert (whole.wave, whole.sampling.slots) == (64, None)
    assert said[1:] == ["drawing 64 of 512 prompts at a time, 512 responses"]
    more = build(sampling_of(large, wave=512, responses=32, response_length=1024))
    assert said[2:] == [
        f"drawing 512 of 512 prompts at a time, {more.sampling.slots:,} of 2,048 "
        "responses at a time on a device"
    ]
    monkeypatch.setattr(memory, "memory_limit", lambda: GiB)
    built = build(large)
    assert (built.wave, built.sampling.slots) == (8, 1)
    assert said[3].startswith("warning: 1 of 8 responses at a time may not fit on a")
    assert "a larger fsdp or tensor" in said[3] and "gather=layer" in said[3]
    given = build(sampling_of(large, wave=64, slots=9))
    assert (given.wave, given.sampling.slots) == (64, 9)


def test_more_slots_than_rows_are_said(large):
    said, mesh = [], mesh_of(1, 8)
    for slots in (None, 1, 512, 513):
        sampling = dataclasses.replace(large.sampling, slots=slots)
        given = dataclasses.replace(large, sampling=sampling)
        worker.build(given, mesh, None, None, None, said.append)
    assert said == [
        "drawing 512 of 512 prompts at a time, 1 of 512 responses at a time on a "
        "device",
        "sampling.slots=513: a device draws 512 responses at a time, all of them at "
        "once; give fewer, or None for as many as fit",
    ]


def test_a_line_says_what_a_device_will_hold(large):
    mesh = mesh_of(1, 8)
    assert memory.describe(large, mesh, None) is None
    line = memory.describe(large, mesh, 80 * GiB)
    total, of, state, copied, rows, drawn = re.fullmatch(
        r"memory of a device while it draws, by arithmetic: ([\d.]+) of ([\d.]+) GiB "
        r"\(state ([\d.]+), copy to draw from ([\d.]+), (\d+) rows ([\d.]+)\); .*",
        line,
    ).groups()
    slots = memory.drawn_at_a_time(large, mesh, 80 * GiB).slots
    assert float(of) == 80 and int(rows) == slots
    # Parameters and two moments of 1.78e9 on 8 devices, and a whole copy in bfloat16.
    assert (state, copied) == ("2.5", "3.3")
    parts = float(state) + float(copied) + float(drawn)
    assert float(total) == pytest.approx(parts, abs=0.11)


def test_moments_in_bfloat16_and_shards_to_draw_from_take_less(large):
    mesh, count = mesh_of(1, 8), sizes.param_count(large.decoder)
    optimization = dataclasses.replace(large.optimization, moments_dtype="bfloat16")
    narrow = dataclasses.replace(large, optimization=optimization)
    less = memory.training_bytes(large, mesh) - memory.training_bytes(narrow, mesh)
    assert less == 2 * 2 * count / 8
    layer = sizes.layer_param_count(large.decoder)
    gathered = count - (large.decoder.depth - 2) * layer  # two, and all that is none
    shards = memory.copy_bytes(large.decoder, mesh, "layer")
    assert shards == 2 * count / 8 + 2 * gathered
    assert memory.copy_bytes(large.decoder, mesh) == 2 * count
    wide = dataclasses.replace(large.decoder, compute_dtype=None)
    shared = memory.copy_bytes(wide, mesh_of(1, 4, 2), "layer")
    assert shared == 4 * gathered / 2  # beside the shards themselves
    assert memory.copy_bytes(wide, mesh_of(8, 1), "layer") == 0


def program(config, mesh, prompts, responses, lengths, gather="once"):
    """What drawing takes of a device beside the policy it is given, by the compiler."""
    prompt_length, length = lengths
    decoding = SamplingParams(responses, length, eos_tokens=(1,), pad=0, gather=gather)
    policy = jax.eval_shape(lambda: init_decoder(config, jax.random.key(0)))
    specs = weights.sampling_specs(policy, mesh, gather)
    placed = jax.tree.map(
        lambda leaf, spec: leaf.update(sharding=jax.NamedSharding(mesh, spec)),
        policy,
        specs,
    )
    rows = jax.NamedSharding(mesh, distributed.BATCH)

    def array(*axes, dtype=jnp.int32):
        shape = prompts * mesh.size, *axes
        return jax.ShapeDtypeStruct(shape, dtype, sharding=rows)

    asked = Prompts(array(prompt_length), array(prompt_length, dtype=bool))
    key = jax.eval_shape(lambda: jax.random.key(0))
    lowered = sample.lower(placed, asked, key, decoding, mesh, array())
    found = lowered.compile().memory_analysis()
    return found.temp_size_in_bytes + found.output_size_in_bytes


def test_scores_of_whole_prompts_count_where_they_are_made_at_once():
    config = dataclasses.replace(TINY.decoder, depth=2, query_heads=4, head_width=16)
    lengths, taken, estimate = (512, 8), {}, {}
    for name in ("chunked", "reference", "auto"):
        policy = dataclasses.replace(config, attention=name)
        taken[name] = program(policy, mesh_of(1, 1), 8, 1, lengths)
        estimate[name] = memory.sampler_bytes(policy, 8, 1, *lengths)
    scores = 8 * 4 * 512**2 * 4
    assert taken["auto"] == taken["reference"]
    assert estimate["auto"] == estimate["reference"]
    more = taken["reference"] - taken["chunked"]
    assert 0.5 * scores < more < estimate["reference"] - estimate["chunked"]
    assert estimate["reference"] > taken["reference"]
    long = [sizes.scores_bytes(config, 1, length) for length in (1024, 1025)]
    assert long == [4 * 1024**2 * 4, 0]


def test_the_least_memory_of_all_devices_and_processes_is_the_limit(monkeypatch):
    stats = [{"bytes_limit": 9}, {"bytes_limit": 7}, {"bytes_limit": 8}]
    device = lambda found: types.SimpleNamespace(memory_stats=lambda: found)
    monkeypatch.setattr(jax, "local_devices", lambda: map(device, stats))
    assert memory.memory_limit() == 7
    monkeypatch.setattr(distributed, "max_over_hosts", lambda number: max(number, -5))
    assert memory.memory_limit() == 5
    monkeypatch.setattr(distributed, "max_over_hosts", lambda number: number)
    stats.append(None)
    assert memory.memory_limit() is None


def test_what_layers_are_gathered_into_counts():
    """The embedding and the head above all; without them it would be a tenth."""
    config = dataclasses.replace(
        TINY.decoder, depth=4, width=256, vocabulary=4096, tied_head=False
    )
    of, mesh = (2, 2, (32, 32)), mesh_of(1, 8)
    taken = program(config, mesh, *of, gather="layer")
    prompts, responses, lengths = of
    drawn = memory.sampler_bytes(config, prompts, responses, *lengths)
    stem = 2 * 4096 * 256 * 4
    assert taken > stem > 4 * drawn
    copied = memory.copy_bytes(config, mesh, "layer")
    assert taken <= drawn + copied < 1.5 * taken


def test_devices_that_share_heads_read_the_rows_of_all_of_them(large, monkeypatch):
    """Units of a layer are split, the stream is not."""
    of = large.decoder, 3, 8, 2048, 8192
    more = memory.sampler_bytes(*of, tensor=2) - memory.sampler_bytes(*of)
    assert more == 2 * 4 * large.decoder.width * 3 * 2048
    asked, mesh = [], mesh_of(2, 2, 2)

    def record(*of):
        asked.append(of)
        return 1.0

    monkeypatch.setattr(memory, "sampler_bytes", record)
    memory.drawn_at_a_time(large, mesh, 80 * GiB)
    memory.describe(large, mesh, 80 * GiB)
    memory.validation_batch(large, mesh, 80 * GiB)
    memory.evaluation_batch(large.decoder, mesh, 80 * GiB, 2048, 8192)
    assert {each[5] for each in asked} == {2}


def test_an_evaluation_that_gathers_layers_draws_more_at_a_time(large, monkeypatch):
    monkeypatch.setattr(memory, "memory_limit", lambda: 12 * GiB)
    config = dataclasses.replace(large.decoder, compute_dtype=None)
    lengths = types.SimpleNamespace(prompt_length=2048, response_length=8192)
    batches = [
        run.usual_batch(
            types.SimpleNamespace(
                decoder=types.SimpleNamespace(config=config),
                mesh=mesh_of(1, 8),
                gather=gather,
            ),
            lengths,
        )
        for gather in ("once", "layer")
    ]
    assert batches[0] < batches[1] < BATCH


@pytest.mark.parametrize(
    "gib, fsdp, tensor, remedy",
    [
        (2, 1, 1, r"fsdp=1: .* take 26\.\d GiB .* has 2\.0; take more devices"),
        (4, 1, 1, r"fsdp=1: .* has 4\.0; take fsdp=8, or .*moments_dtype=bfloat16"),
        (8, 2, 1, r"fsdp=2: .* take 13\.\d GiB .*; take fsdp=4"),
        (8, 1, 2, r"fsdp=1: .* take 13\.\d GiB .*; take fsdp=2"),
        (4, 8, 1, None),
        (None, 1, 1, None),
    ],
)
def test_a_state_that_fits_nowhere_is_refused(large, gib, fsdp, tensor, remedy):
    experiment = dataclasses.replace(large, fsdp=fsdp, tensor=tensor)
    limit = gib and gib * GiB
    if remedy is None:
        memory.check_state(experiment, 8, limit)
        return
    with pytest.raises(ValueError, match=remedy):
        memory.check_state(experiment, 8, limit)


def test_a_reference_policy_and_narrow_moments_count_for_the_state(large):
    experiment = dataclasses.replace(large, fsdp=8)
    fits = lambda experiment: memory.check_state(experiment, 8, 3.4 * GiB)
    fits(experiment)
    objective = Objective(gates.Maspo(), terms=(kl.Penalty(0.1, kl.k3),))
    more = dataclasses.replace(experiment, objective=objective)
    with pytest.raises(ValueError, match="take more devices"):
        fits(more)
    narrow = dataclasses.replace(large.optimization, moments_dtype="bfloat16")
    fits(dataclasses.replace(more, optimization=narrow))


def test_the_estimate_is_near_what_a_compiler_says():
    """That of the CPU, which copies the cache where others write it in place."""
    config = dataclasses.replace(
        TINY.decoder, depth=8, key_value_heads=2, head_width=64, vocabulary=1000
    )
    prompts, responses, lengths = 4, 8, (64, 1024)
    mesh, decoding = mesh_of(1, 1), SamplingParams(8, 1024, eos_tokens=(1,), pad=0)
    rows = lambda *axes: jax.ShapeDtypeStruct((prompts, *axes), jnp.int32)
    asked = Prompts(rows(64), jax.ShapeDtypeStruct((prompts, 64), bool))
    policy = jax.eval_shape(lambda: init_decoder(config, jax.random.key(0)))
    key = jax.eval_shape(lambda: jax.random.key(0))
    compiled = sample.lower(policy, asked, key, decoding, mesh, rows()).compile()
    found = compiled.memory_analysis()
    taken = found.temp_size_in_bytes + found.output_size_in_bytes
    estimate = memory.sampler_bytes(config, prompts, responses, *lengths)
    assert math.isclose(taken, estimate, rel_tol=0.5), taken / estimate
