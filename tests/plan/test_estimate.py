"""Memory and time by arithmetic, held against numbers worked out by hand."""

import dataclasses
import pathlib

import pytest
from conftest import ROOT

from maspo_jax.config import loading
from maspo_jax.models import presets, sizes
from maspo_jax.plan import devices, estimate, roofline, search
from maspo_jax.plan.job import SHARE, job_of

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
    parts = estimate.estimate(job("1p5b", "v5e:4x4", *words))["sample"]
    config = presets.DEEPSEEK_R1_DISTILL_QWEN_1_5B
    assert parts["cast copy"] == 2 * sizes.param_count(config)
    # 64 prompts x 8 / 16 devices, 28 layers, keys and values of 2 heads of 128.
    assert parts["cache"] == 32 * 10240 * 28 * 2 * 2 * 128 * 2
    assert parts["logits"] == 4 * 32 * 151936 * 4


def test_a_reference_policy_is_held_beside():
    plain = job("1p5b", "h100x8")
    from maspo_jax.objectives import kl

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
            base.changed(sampling__wave=wave, updates__microbatches=count)
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
    more = found.changed(sampling__wave=2 * wave)
    assert wave == 512 or not estimate.fits(more, "sample")
    fewer = found.changed(updates__microbatches=max(count // 2, 1))
    assert count == 1 or not estimate.fits(fewer, "update")


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


def test_a_slice_that_is_too_small_has_no_remedy():
    assert search.remedy(job("14b", "v5e:2x2", *MICROBATCHES)) is None


def test_a_step_at_best():
    of = roofline.costs(
        job("1p5b", "v5e:4x4", *BFLOAT16, *MICROBATCHES, "--sampling.wave", 64)
    )
    config, tokens = presets.DEEPSEEK_R1_DISTILL_QWEN_1_5B, 256 * 10240
    matrices = sizes.param_count(config) - config.vocabulary * config.width
    attention = 4 * 28 * 12 * 128 * 10240 / 2
    assert of["score"].flops == pytest.approx(tokens * (2 * matrices + attention))
    assert of["update"].flops == pytest.approx(4 * of["score"].flops)
    # At every one of 8192 tokens, in 8 waves: the policy, the cache, scores.
    every = 2 * matrices + sizes.cache_bytes(config, 32, 10240) / 2
    every += 3 * sizes.logits_bytes(config, 32)
    assert of["sample"].bytes == pytest.approx(8 * 8192 * every)
    # One copy of the policy a device: nothing is gathered.
    assert of["update"].received == 0
    slice_ = devices.parse_slice("v5e:4x4")
    seconds, bound = of["sample"].seconds(slice_)
    assert bound == "memory" and seconds == pytest.approx(of["sample"].bytes / 819e9)


def test_what_is_gathered_for_every_token_crosses_the_links():
    words = (*BFLOAT16, *MICROBATCHES, "--fsdp", 16, "--sampling.wave", 64)
    whole = job("1p5b", "v5e:4x4", *words)
    assert roofline.costs(whole)["sample"].received == 0
    layers = whole.changed(sampling__gather="layer")
    config = presets.DEEPSEEK_R1_DISTILL_QWEN_1_5B
    matrices = sizes.param_count(config) - config.vocabulary * config.width
    received = roofline.costs(layers)["sample"].received
    assert received == pytest.approx(8 * 8192 * 2 * matrices * 15 / 16)
    # In an update, for each of 16 x 16 microbatches, two gathers of bfloat16 and a
    # scatter of float32.
    expected = 256 * (2 * 2 + 4) * sizes.param_count(config) * 15 / 16
    assert roofline.costs(whole)["update"].received == pytest.approx(expected)


def test_float32_takes_the_passes_of_its_precision():
    narrow, wide = (
        roofline.costs(job("1p5b", "h100x8", *words))["score"].flops
        for words in (BFLOAT16, ())
    )
    assert wide == 6 * narrow


def test_devices_that_cannot_share_the_work_are_refused():
    with pytest.raises(ValueError, match="devices=16 is not a multiple of fsdp=3"):
        job("1p5b", "v5e:4x4", "--fsdp", 3, *MICROBATCHES)
    with pytest.raises(ValueError, match="responses of a minibatch=256"):
        job("1p5b", "v5e:4x4")
    assert SHARE == 0.9
