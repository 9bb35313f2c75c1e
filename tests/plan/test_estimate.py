"""Memory and time by arithmetic, held against numbers worked out by hand."""

import dataclasses
import pathlib
import re

import pytest
from conftest import ROOT

from maspo_jax.config import loading
from maspo_jax.models import presets, sizes
from maspo_jax.objectives import kl
from maspo_jax.plan import compiled, devices, estimate, report, roofline, search
from maspo_jax.plan.job import SHARE, job_of
from maspo_jax.rollout import memory

GIB = 2**30
PAPERS = ROOT / "experiments" / "papers"
BFLOAT16 = ("--policy.compute-dtype", "bfloat16")


def job(size="1p5b", where="v5e:4x4", *words):
    """The run of MASPO at a size, on a slice."""
    file = PAPERS / f"maspo_distill_{size}.py"
    return job_of(loading.load(file, words), devices.parse_slice(where))


@pytest.fixture(autouse=True)
def nothing_beside(tmp_path, monkeypatch):
    """In a folder without checkpoints or problems, and with no hub."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def test_a_known_checkpoint_needs_no_files_and_keeps_its_settings():
    assert not [*pathlib.Path().iterdir()]
    decoder = job("7b", "v5p:2x2x2", *BFLOAT16, "--policy.attention", "chunked").decoder
    shape = presets.DEEPSEEK_R1_DISTILL_QWEN_7B
    changed = dict(compute_dtype="bfloat16", attention="chunked")
    assert decoder == dataclasses.replace(shape, **changed)


def test_what_is_held_is_split_over_fsdp():
    parameters = 4 * sizes.param_count(presets.DEEPSEEK_R1_DISTILL_QWEN_1_5B)
    for fsdp in (1, 4, 16):
        of = estimate.estimate(job("1p5b", "v5e:4x4", "--fsdp", fsdp, *MICROBATCHES))
        for parts in of.values():
            assert parts["masters"] == parameters / fsdp
            assert parts["moments"] == 2 * parameters / fsdp


MICROBATCHES = ("--updates.microbatches", 16)


def test_the_sampler_holds_a_whole_copy_and_a_cache():
    words = ("--fsdp", 16, *BFLOAT16, *MICROBATCHES, "--sampling.wave", 64)
    planned = job("1p5b", "v5e:4x4", *words, "--sampling.slots", 32)
    parts = estimate.estimate(planned)["sample"]
    config = presets.DEEPSEEK_R1_DISTILL_QWEN_1_5B
    assert parts["cast copy"] == 2 * sizes.param_count(config)
    # 64 prompts x 8 / 16 devices, 28 layers, keys and values of 2 heads of 128; and
    # the 4 prompts as they were read.
    assert parts["cache"] == (32 * 10240 + 4 * 2048) * 28 * 2 * 2 * 128 * 2
    assert parts["logits"] == 4 * 32 * 151936 * 4


def test_a_reference_policy_is_held_beside():
    plain = job("1p5b", "h100x8")
    objective = dataclasses.replace(
        plain.experiment.objective, terms=(kl.Penalty(0.001, kl.k3),)
    )
    other = plain.changed(objective=objective)
    one, two = (estimate.estimate(each)["score"]["masters"] for each in (plain, other))
    assert two == 2 * one


@pytest.mark.parametrize("stage", ["sample", "score", "update"])
def test_more_at_a_time_takes_more(stage):
    base = job("1p5b", "v5e:4x4", "--fsdp", 16, *BFLOAT16, *MICROBATCHES)
    taken = [
        estimate.total(estimate.estimate(each)[stage])
        for each in (
            base.changed(
                sampling__wave=wave,
                sampling__slots=wave // 2,  # all rows of a device
                updates__microbatches=count,
            )
            for wave, count in ((16, 16), (32, 8), (64, 4), (128, 2), (256, 1))
        )
    ]
    assert taken == sorted(taken) and len(set(taken)) == 5


def test_search_finds_the_last_that_fits():
    found = search.search(
        job("1p5b", "v5e:4x4", "--fsdp", 16, *BFLOAT16, *MICROBATCHES)
    )
    for stage in ("sample", "score", "update", "validation"):
        assert estimate.fits(found, stage)
    wave, count = found.wave, found.experiment.updates.microbatches
    whole = found.changed(sampling__wave=None, sampling__slots=None)
    assert (wave, found.slots) == (whole.wave, whole.slots)
    of = whole.experiment, whole.mesh, whole.slice.hbm
    assert memory.drawn_at_a_time(*of) == memory.AtATime(wave, found.slots)
    more = found.changed(sampling__wave=2 * wave, sampling__slots=wave // 4)
    assert wave == 512 or not estimate.fits(more, "sample") or filled(more)
    fewer = found.changed(updates__microbatches=max(count // 2, 1))
    assert count == 1 or not estimate.fits(fewer, "update")


def filled(job):
    """Whether the sampler of a job leaves less of the memory than slots should."""
    taken = estimate.total(estimate.estimate(job)["sample"])
    return taken > memory.FILLED * job.slice.hbm


def test_a_search_keeps_slots_that_are_set_and_no_wave():
    words = ("--fsdp", 16, *BFLOAT16, *MICROBATCHES, "--sampling.slots", 28)
    for more in ((), ("--sampling.wave", 16)):
        found = search.search(job("1p5b", "v5e:4x4", *words, *more))
        assert (found.wave, found.slots) == (256, 28)


def test_less_is_drawn_with_fewer_slots_and_then_in_smaller_waves():
    words = ("--fsdp", 16, *BFLOAT16, *MICROBATCHES, "--sampling.wave", 64)
    tried = [job("1p5b", "v5e:4x4", *words, "--sampling.slots", 20)]
    while (below := search.smaller(tried[-1], "sample")) is not None:
        tried.append(below)
    assert [(each.wave, each.slots) for each in tried] == [
        (64, 20),
        (64, 10),
        (64, 5),
        (64, 2),
        (64, 1),
        (32, 1),
        (16, 1),
    ]
    taken = [estimate.total(estimate.estimate(each)["sample"]) for each in tried]
    assert taken == sorted(set(taken), reverse=True)


def test_slots_are_said_where_they_are_fewer_than_the_rows():
    words = ("--fsdp", 16, *BFLOAT16, *MICROBATCHES, "--sampling.wave", 64)
    fewer, whole = (
        job("1p5b", "v5e:4x4", *words, "--sampling.slots", slots) for slots in (20, 32)
    )
    wave = "--sampling.wave 64"
    assert search.settings(fewer, "sample") == [wave, "--sampling.slots 20"]
    assert search.settings(whole, "sample") == [wave]
    line = "in 8 waves of 64 prompts"
    assert f"{line}, 20 of 32 responses of a device at a time\n" in report.heading(
        fewer
    )
    assert f"{line}\n" in report.heading(whole)


def test_a_job_draws_what_training_would():
    for words in ((), ("--fsdp", 8), ("--fsdp", 8, "--sampling.wave", 512)):
        planned = job("1p5b", "h100x8", *BFLOAT16, *words)
        of = planned.experiment, planned.mesh, planned.slice.hbm
        found = memory.drawn_at_a_time(*of)
        assert (planned.wave, planned.slots) == (found.wave, found.slots)
        assert planned.wave_rows == found.slots < planned.rows_of_wave == found.wave
    small = job("14b", "h100x8", *BFLOAT16)
    assert (small.wave, small.slots) == (8, 1)  # nothing fits
    line = memory.describe(small.experiment, small.mesh, small.slice.hbm)
    assert ", 1 rows " in line


def test_idle_slots_take_no_time_at_best():
    words = ("--fsdp", 16, *BFLOAT16, *MICROBATCHES, "--sampling.wave", 256)
    of = [
        roofline.costs(job("1p5b", "v5e:4x4", *words, "--sampling.slots", slots))
        for slots in (128, 96, 64, 63)  # of 128 rows
    ]
    once, twice, same, thrice = (each["sample"] for each in of)
    assert once.flops == twice.flops and twice.bytes == same.bytes
    more = twice.bytes - once.bytes
    assert thrice.bytes - twice.bytes == pytest.approx(more)
    config = presets.DEEPSEEK_R1_DISTILL_QWEN_1_5B
    matrices = sizes.param_count(config) - config.vocabulary * config.width
    assert more == pytest.approx(2 * 8192 * 2 * matrices)  # in each of 2 waves


def test_largest_asks_a_logarithm_of_the_choices():
    asked = []

    def fits(choice):
        asked.append(choice)
        return choice <= 37

    assert search.largest(list(range(1, 513)), fits) == 37
    assert len(asked) <= 10
    assert search.largest([50, 60], fits) is None


@pytest.mark.parametrize(
    "size, where, words",
    [
        ("7b", "v5p:2x2x2", BFLOAT16),
        ("1p5b", "v5e:4x4", MICROBATCHES),
        ("14b", "v5p:2x2x4", MICROBATCHES),
        ("14b", "h100x8", BFLOAT16),
        ("14b", "v6e:4x8", ("--updates.microbatches", 8)),  # tensor 8 is two hosts
    ],
)
def test_a_remedy_makes_all_stages_fit(size, where, words):
    before = job(size, where, *words)
    stages = estimate.estimate(before)
    assert not all(estimate.fits(before, stage) for stage in stages)
    options = search.remedy(before)
    given = [word for option in options for word in option.split()]
    after = job(size, where, *words, *given)
    for stage in stages:
        assert estimate.fits(after, stage), (stage, options)


def test_an_update_holds_gradients_hidden_states_and_scores():
    words = ("--fsdp", 16, *BFLOAT16)
    split = job("1p5b", "v5e:4x4", *words, *MICROBATCHES)
    whole = split.changed(updates__microbatches=1)
    parts, at_once = (estimate.estimate(each)["update"] for each in (split, whole))
    config = presets.DEEPSEEK_R1_DISTILL_QWEN_1_5B
    # The shard of the sum and of a microbatch, a table in float32, both in bfloat16.
    shard, table = 4 * sizes.param_count(config) / 16, 151936 * 1536
    assert parts["gradients"] == 2 * shard + 4 * table + 2 * 2 * table
    assert at_once["gradients"] == parts["gradients"] - shard
    # A row: what goes into each layer, and what one makes.
    of_layer = 4 * 1536 + 3 * 8960
    assert parts["activations"] == 10240 * 2 * (28 * 1536 + 1.5 * of_layer)
    scored = estimate.estimate(split)["score"]
    assert scored["activations"] == 10240 * 2 * of_layer
    assert scored["logits"] == parts["logits"] == 3 * 4 * 2**25


@pytest.mark.parametrize(
    "remat, kept",
    [
        ("attention", 1536 + 2 * 12),
        ("dots", 1536 + 512 + 2 * 1536 + 2 * 8960),
        ("none", 2 * 1536 + 2 * 12 + 512 + 6 * 1536 + 4 * 8960),
    ],
)
def test_what_a_layer_keeps_is_counted_for_every_layer(remat, kept):
    full = job("1p5b", "v5e:4x4", "--fsdp", 16, *BFLOAT16, *MICROBATCHES)
    less, more = (
        estimate.estimate(each)["update"]["activations"]
        for each in (full, full.changed(policy__remat=remat))
    )
    assert more - less == 10240 * 2 * 28 * kept


def test_a_validation_holds_the_cache_of_its_own_batch():
    words = ("--fsdp", 16, *BFLOAT16, *MICROBATCHES)
    for wave in (16, 64):
        of = estimate.estimate(job("1p5b", "v5e:4x4", *words, "--sampling.wave", wave))
        # 128 responses, of the default batch, on 16 devices.
        assert of["validation"]["cache"] == 8 * (10240 + 2048) * 28 * 2 * 2 * 128 * 2


def test_slots_hold_the_cache_of_their_rows_and_take_as_many_more_steps():
    words = ("--fsdp", 16, *BFLOAT16, *MICROBATCHES, "--sampling.wave", 256)
    planned = job("1p5b", "v5e:4x4", *words, "--sampling.slots", 32)
    assert planned.wave_rows == 32 and planned.waves == 2
    parts = estimate.estimate(planned)["sample"]
    assert parts["cache"] == (32 * 10240 + 16 * 2048) * 28 * 2 * 2 * 128 * 2
    fewer = job("1p5b", "v5e:4x4", *words[:-1], 64, "--sampling.slots", 32)
    one, other = (roofline.costs(each)["sample"] for each in (planned, fewer))
    assert one.bytes == pytest.approx(other.bytes) and one.flops == other.flops


def test_a_tenth_of_the_memory_stays_free():
    planned = job("7b", "v5p:2x2x2")
    taken = estimate.total(estimate.estimate(planned)["sample"])
    assert 0.9 * 95 * GIB < taken < 95 * GIB
    assert not estimate.fits(planned, "sample")


def test_a_wave_divides_the_prompts():
    planned = job("1p5b", "v5e:4x4", *MICROBATCHES)
    assert search.waves(planned) == [16, 32, 64, 128, 256, 512]
    assert search.waves(planned.changed(sampling__prompts=48)) == [16, 48]


def test_what_a_pass_reads_and_writes():
    words = (*BFLOAT16, *MICROBATCHES, "--fsdp", 16)
    of = roofline.costs(job("1p5b", "v5e:4x4", *words))
    count = sizes.param_count(presets.DEEPSEEK_R1_DISTILL_QWEN_1_5B)
    # Parameters of each of 256 pieces, and hidden states in and out of 28 layers.
    once = 256 * 2 * count + 2 * 256 * 10240 * 1536 * 28 * 2
    assert of["score"].bytes == pytest.approx(once)
    # Four passes, and 16 times the shards of 7 arrays in float32.
    assert of["update"].bytes == pytest.approx(4 * once + 16 * 7 * 4 * count / 16)


def test_the_summary_is_of_the_whole_slice():
    planned = job("1p5b", "tpu7x:2x2x1", *BFLOAT16)
    costs = roofline.costs(planned).values()
    step = sum(cost.seconds(planned)[0] for cost in costs)
    found = re.search(
        r"at least (\S+) s, (\S+) response tokens/s, .* 1,000 steps (\S+) hours, "
        r"(\S+) chip-hours",
        report.summary(planned),
    )
    seconds, tokens, hours, chips = (
        float(each.replace(",", "")) for each in found.groups()
    )
    assert seconds == pytest.approx(step, rel=0.01)
    assert tokens == pytest.approx(512 * 8 * 8192 / step, rel=0.01)
    assert hours == pytest.approx(step / 3.6, rel=0.01)
    assert chips == pytest.approx(4 * step / 3.6, rel=0.01)  # of two devices each


def test_what_is_held_beside_a_program_is_needed_too():
    assert report.needed_of(compiled.Compiled(5.0), 3) == 8
    assert report.needed_of(compiled.Compiled(None), 3) is None
    assert report.needed_of(None, 3) is None


def test_a_policy_that_is_used_as_it_is_held_has_no_copy():
    config = presets.DEEPSEEK_R1_DISTILL_QWEN_1_5B
    stem = 2 * config.vocabulary * config.width
    layers = 2 * (sizes.param_count(config) - stem - config.width) / 28  # two of them
    held, split, narrow = (
        estimate.estimate(job("1p5b", "h100x8", *words))
        for words in ((), ("--fsdp", 8), BFLOAT16)
    )
    assert held["sample"]["cast copy"] == 0
    assert held["score"]["cast copy"] == pytest.approx(4 * layers)
    assert split["score"]["cast copy"] == pytest.approx(4 * (layers + stem))
    assert narrow["update"]["cast copy"] == pytest.approx(2 * (layers + stem))


def test_a_sampler_that_gathers_layers_holds_some_of_them_whole():
    words = (*BFLOAT16, "--fsdp", 8, "--sampling.gather", "layer")
    planned = job("1p5b", "h100x8", *words)
    config = presets.DEEPSEEK_R1_DISTILL_QWEN_1_5B
    count, stem = sizes.param_count(config), 2 * config.vocabulary * config.width
    whole = stem + config.width + 2 * (count - stem - config.width) / 28
    copied = estimate.estimate(planned)["sample"]["cast copy"]
    assert copied == pytest.approx(2 * (count / 8 + whole))
    of = planned.experiment, planned.mesh
    assert memory.training_bytes(*of) == pytest.approx(3 * 4 * count / 8 + copied)


@pytest.mark.parametrize("words", [(), BFLOAT16, ("--fsdp", 8, *BFLOAT16)])
def test_training_says_the_estimate_of_the_plan(words):
    planned = job("1p5b", "h100x8", *words)
    line = memory.describe(planned.experiment, planned.mesh, planned.slice.hbm)
    total = estimate.total(estimate.estimate(planned)["sample"]) / GIB
    assert f"by arithmetic: {total:.1f} of 79.6 GiB" in line
    assert f", {planned.wave_rows} rows " in line


def test_a_slice_that_is_too_small_has_no_remedy():
    assert search.remedy(job("14b", "v5e:2x2", *MICROBATCHES)) is None


def test_a_step_at_best():
    words = (*BFLOAT16, *MICROBATCHES, "--sampling.wave", 64, "--sampling.slots", 32)
    planned = job("1p5b", "v5e:4x4", *words)
    of = roofline.costs(planned)
    config, tokens = presets.DEEPSEEK_R1_DISTILL_QWEN_1_5B, 256 * 10240
    matrices = sizes.param_count(config) - config.vocabulary * config.width
    attention = 4 * 28 * 12 * 128 * 10240 / 2
    assert of["score"].flops == pytest.approx(tokens * (2 * matrices + attention))
    # At every one of 8192 tokens, in 8 waves: the policy, the cache as far as it is
    # filled, scores.
    every = 2 * matrices + sizes.cache_bytes(config, 32, 2048 + 4096) / 2
    every += 3 * sizes.logits_bytes(config, 32)
    # And once a step the policy is read, and written in half the width.
    count = sizes.param_count(config)
    copy = 6 * count
    assert of["sample"].bytes == pytest.approx(copy + 8 * 8192 * every, rel=1e-9)
    # A policy a device: nothing is gathered, and a gradient summed in 16 updates.
    assert of["sample"].received == 0
    assert of["update"].received == pytest.approx(16 * 2 * 4 * count * 15 / 16)
    seconds, bound = of["sample"].seconds(planned)
    assert bound == "memory" and seconds == pytest.approx(of["sample"].bytes / 819e9)


@pytest.mark.parametrize(
    "remat, products, attention",
    [
        ("full", 8, 4.5),
        ("attention", 8, 3.5),
        ("dots", 6, 4.5),
        ("none", 6, 3.5),
    ],
)
def test_an_update_computes_again_what_it_did_not_keep(remat, products, attention):
    words = (*BFLOAT16, "--policy.remat", remat)
    found = roofline.costs(job("1p5b", "h100x8", *words))["update"].flops
    config, tokens = presets.DEEPSEEK_R1_DISTILL_QWEN_1_5B, 512 * 10240
    matrices = sizes.param_count(config) - config.vocabulary * config.width
    to_others = 4 * 28 * 12 * 128 * 10240 / 2
    expected = tokens * (products * matrices + attention * to_others)
    assert found == pytest.approx(expected)


def test_the_optimizer_reads_and_writes_moments_of_their_own_width():
    words = (*BFLOAT16, *MICROBATCHES, "--fsdp", 16)
    wide, narrow = (
        roofline.costs(job("1p5b", "v5e:4x4", *words, *more))["update"].bytes
        for more in ((), ("--optimization.moments-dtype", "bfloat16"))
    )
    count = sizes.param_count(presets.DEEPSEEK_R1_DISTILL_QWEN_1_5B)
    assert wide - narrow == pytest.approx(16 * 2 * 2 * 2 * count / 16)


def test_a_reference_policy_is_scored_and_an_epoch_more_updates():
    plain = job("1p5b", "h100x8")
    penalty = kl.Penalty(0.001, kl.k3)
    objective = dataclasses.replace(plain.experiment.objective, terms=(penalty,))
    other = plain.changed(objective=objective, updates__epochs=2)
    one, two = map(roofline.costs, (plain, other))
    assert two["score"].flops == 2 * one["score"].flops
    assert two["update"].flops == 2 * one["update"].flops


def test_a_validation_counts_by_its_share_of_a_step():
    often = job("1p5b", "h100x8")
    seldom = often.changed(validation__every=10 * often.experiment.validation.every)
    one, ten = (roofline.costs(each)["validation"].bytes for each in (seldom, often))
    assert ten == pytest.approx(10 * one)
    # 256 problems, 16 of each of 8 devices at a time: 2 batches every 20 steps.
    config = presets.DEEPSEEK_R1_DISTILL_QWEN_1_5B
    matrices = sizes.param_count(config) - config.vocabulary * config.width
    heads = 4 * 28 * 12 * 128
    read = 2048 * (2 * matrices + heads * 2048 / 2)
    drawn = 8192 * (2 * matrices + heads * (2048 + 4096))
    flops = roofline.costs(often)["validation"].flops
    assert flops == pytest.approx(2 * 16 * (read + drawn) / 20)


def test_devices_that_share_heads_exchange_hidden_states():
    words = (*BFLOAT16, "--fsdp", 4, "--tensor", 2, "--sampling.wave", 512)
    of = roofline.costs(job("1p5b", "h100x8", *words))["sample"]
    config = presets.DEEPSEEK_R1_DISTILL_QWEN_1_5B
    # Two sums a layer, of the hidden states of 2 x 512 rows in bfloat16.
    summed = 8192 * 2 * 28 * 2 * 512 * 1536 * 2
    copied = sizes.param_count(config) * 2 / 2 * 3 / 4
    assert of.received == pytest.approx(summed + copied)


def test_what_is_gathered_for_every_token_crosses_the_links():
    words = (*BFLOAT16, *MICROBATCHES, "--fsdp", 16, "--sampling.wave", 64)
    whole = job("1p5b", "v5e:4x4", *words)
    config = presets.DEEPSEEK_R1_DISTILL_QWEN_1_5B
    count, stem = sizes.param_count(config), 2 * config.vocabulary * config.width
    # The copy, once a step.
    once = roofline.costs(whole)["sample"].received
    assert once == pytest.approx(2 * count * 15 / 16)
    layers = whole.changed(sampling__gather="layer")
    received = roofline.costs(layers)["sample"].received
    # Layers for every token, embedding and head once a wave.
    each = 8192 * (count - stem) + stem
    assert received == pytest.approx(8 * 2 * each * 15 / 16, rel=1e-9)
    # In an update, for each of 16 x 16 microbatches, two gathers of bfloat16 and a
    # scatter of float32.
    expected = 256 * (2 * 2 + 4) * sizes.param_count(config) * 15 / 16
    assert roofline.costs(whole)["update"].received == pytest.approx(expected)


@pytest.mark.parametrize("where, slower", [("v5p:2x2x2", 6), ("h100x8", 989 / 67)])
def test_float32_takes_the_time_of_its_precision(where, slower):
    jobs = [job("1p5b", where, *words) for words in (BFLOAT16, ())]
    of = [roofline.costs(each)["score"] for each in jobs]
    assert of[0].flops == of[1].flops
    (narrow, _), (wide, bound) = (
        cost.seconds(each) for cost, each in zip(of, jobs, strict=True)
    )
    assert bound == "products" and wide == pytest.approx(slower * narrow)


def test_devices_that_cannot_share_the_work_are_refused():
    with pytest.raises(ValueError, match="devices=16 is not a multiple of fsdp=3"):
        job("1p5b", "v5e:4x4", "--fsdp", 3, *MICROBATCHES)
    with pytest.raises(ValueError, match="responses of a minibatch=256"):
        job("1p5b", "v5e:4x4")
    assert SHARE == 0.9
