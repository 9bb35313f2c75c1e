"""Estimates beside what compilers of TPUs and GPUs allocate: no device is needed."""

import dataclasses
import importlib.util

import pytest
from conftest import ROOT

from maspo_jax.config import loading
from maspo_jax.plan import compiled, devices, estimate, programs, report
from maspo_jax.plan.job import SHARE, STAGES, job_of

pytestmark = pytest.mark.slow
NEAR = 0.15
WORDS = ("--policy.compute-dtype", "bfloat16", "--updates.microbatches", 16)


def job(where, depth=None, *words):
    """The 1.5B run of MASPO on a slice, of fewer layers if so many are given."""
    file = ROOT / "experiments" / "papers" / "maspo_distill_1p5b.py"
    job = job_of(loading.load(file, [*WORDS, *words]), devices.parse_slice(where))
    config = job.decoder
    changed = dataclasses.replace(config, depth=depth or config.depth)
    return job.changed(policy=changed)


def needed(job, stage):
    """Returns the `Compiled` of a stage, and bytes of a device meanwhile."""
    package = "libtpu" if job.slice.chip.platform == "tpu" else "jax_cuda12_plugin"
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed (extra `plan`)")
    program = programs.programs_of(job, devices.compile_only(job.slice))[stage]
    made = compiled.compile_program(program)
    return made, report.needed_of(made, program.beside)


@pytest.mark.parametrize("stage", ["sample", "score", "update"])
def test_the_estimate_is_near_the_compiler_of_tpus(stage):
    small = job("v5e:4x4", 4, "--fsdp", 16, "--sampling.wave", 128)
    _, took = needed(small, stage)
    assert estimate.total(estimate.estimate(small)[stage]) == pytest.approx(took, NEAR)


@pytest.mark.parametrize("stage", STAGES)
def test_the_papers_smallest_policy_fits_sixteen_v5e(stage):
    slots = "--sampling.wave", 128, "--sampling.slots", 28
    whole = job("v5e:4x4", None, "--fsdp", 16, *slots)
    made, took = needed(whole, stage)
    assert not made.refused and took <= SHARE * whole.slice.hbm
    assert estimate.total(estimate.estimate(whole)[stage]) == pytest.approx(took, NEAR)


def test_a_layer_is_gathered_where_it_is_used():
    made, _ = needed(job("v5e:4x4", 4, "--fsdp", 16), "score")
    pieces, layers, matrices, stem = 256, 4, 7, 2
    gathers = pieces * (layers * matrices + stem)
    assert made.collectives["all-gather"][1] == gathers


def test_what_is_too_large_is_refused_with_its_sizes():
    made, took = needed(job("v5e:2x2", 4, "--sampling.wave", 512), "sample")
    assert "hbm" in made.refused and took > 16 * devices.GIB


def test_eight_gpus_are_compiled_for():
    small = job("h100x8", 2, "--fsdp", 8, "--sampling.wave", 64)
    made, took = needed(small, "sample")
    expected = estimate.total(estimate.estimate(small)["sample"])
    # The compiler of GPUs keeps copies of the cache that that of TPUs does not.
    assert not made.refused and expected < took < 3 * expected
