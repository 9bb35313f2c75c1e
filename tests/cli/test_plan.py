"""`maspo plan`: with simulated devices for those of a slice, and without a compiler."""

import re

import jax
import pytest
from conftest import EXPERIMENTS, ROOT, run

from maspo_jax.cli import plan
from maspo_jax.plan import compiled, devices

TINY = EXPERIMENTS / "tiny.py"
PAPERS = sorted((ROOT / "experiments" / "papers").glob("*_distill_*.py"))
STAGES = ("sample", "score", "update", "validation")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """In a folder without checkpoints or problems, and with no hub."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")


@pytest.fixture
def simulated(monkeypatch):
    """The devices of this process stand for those of a slice of as many."""
    monkeypatch.setattr(devices, "compile_only", lambda slice_: jax.devices())


@pytest.fixture
def no_compiler(monkeypatch):
    def absent(slice_):
        raise devices.NoCompiler("there is no compiler; pip install it")

    monkeypatch.setattr(devices, "compile_only", absent)


def cells(output, stage):
    """Returns the last row of a stage in the tables of memory, by head."""
    table = output.split("| GiB a device")[-1]
    heads = [each.strip() for each in table.splitlines()[0].split("|")[1:-1]]
    (row,) = re.findall(rf"^\| {stage} .*$", table.split("\n\n")[0], re.MULTILINE)
    return dict(zip(heads, [c.strip() for c in row.split("|")[2:-1]], strict=True))


def test_all_programs_are_compiled_and_said(simulated):
    status, output = run(plan, TINY, "--devices", "v5e:2x4", "--fsdp", 4)
    assert status == 0, output
    assert "8 prompts x 4 responses of 6 + 14 tokens, in 1 wave of 8" in output
    for stage in STAGES:
        assert float(cells(output, stage)["compiler"]) >= 0
        assert f"{stage}: compiled in" in output
    assert re.search(r"^update: .*all-gather \d+ \(\d+ run\)", output, re.MULTILINE)
    assert "all stages fit 90% of 16 GiB" in output
    assert "response tokens/s" in output and "chip-hours" in output


def test_without_a_compiler_it_says_so_and_estimates(no_compiler):
    status, output = run(plan, TINY, "--devices", "v5p:2x2x1")
    assert status == 0, output
    assert "pip install it: what follows is arithmetic on shapes" in output
    assert "compiler" not in cells(output, "update")
    assert "estimate" in cells(output, "update") and "chip-hours" in output


@pytest.mark.parametrize("path", PAPERS, ids=lambda path: path.stem)
def test_the_papers_are_planned_without_any_of_their_files(no_compiler, path):
    words = ["--devices", "v5p:2x2x4", "--fsdp", 16, "--updates.microbatches", 16]
    words += ["--policy.compute-dtype", "bfloat16"]
    status, output = run(plan, path, *words)
    assert status == 0, output
    assert "fsdp 16, tensor 1, products in bfloat16" in output


def test_what_does_not_fit_is_said_with_the_remedy(no_compiler):
    path = ROOT / "experiments" / "papers" / "maspo_distill_7b.py"
    status, output = run(plan, path, "--devices", "v5p:2x2x2")
    assert status == 1
    line = output.strip().splitlines()[-1]
    assert re.match(r"does not fit: sample takes 86.\d\d GiB of 95.00 by arithm", line)
    assert "most of it is moments" in line
    found = re.search(r"all stages fit with (.*), by arithmetic", line)
    assert found and "--fsdp 8" in found[1]
    status, output = run(plan, path, "--devices", "v5p:2x2x2", *found[1].split())
    assert status == 0, output


def test_a_refusal_of_the_compiler_is_the_line(simulated, monkeypatch):
    used = 20 * devices.GIB
    refused = compiled.Compiled(used, refused="20.00G of 15.75G hbm")
    monkeypatch.setattr(compiled, "compile_program", lambda program: refused)
    status, output = run(plan, TINY, "--devices", "v5e:2x4")
    assert status == 1
    assert "sample takes 20.00 GiB of 16.00 by the compiler" in output
    assert "the compiler refuses it: 20.00G of 15.75G hbm" in output


def test_a_refusal_without_sizes_is_one(simulated, monkeypatch):
    refused = compiled.Compiled(None, refused="RESOURCE_EXHAUSTED: out of memory")
    monkeypatch.setattr(compiled, "compile_program", lambda program: refused)
    status, output = run(plan, TINY, "--devices", "v5e:2x4")
    assert status == 1
    assert cells(output, "sample")["compiler"] == "refused"
    assert "the compiler refuses it: RESOURCE_EXHAUSTED: out of memory" in output


def test_search_compiles_less_until_it_fits(simulated, monkeypatch):
    asked = []

    def compile_program(program):
        asked.append(program)
        too_much = len(asked) == 1  # of the first sampler
        return compiled.Compiled(99 * devices.GIB if too_much else 1.0)

    monkeypatch.setattr(compiled, "compile_program", compile_program)
    words = ("--sampling.prompts", 32, "--search")
    status, output = run(plan, TINY, "--devices", "v5e:2x4", *words)
    assert status == 0, output
    said = "found: --sampling.wave 32 --sampling.slots 8 --updates.microbatches 1"
    assert said in output
    assert len(asked) == 5


@pytest.mark.parametrize(
    "words, reason",
    [
        (["--devices", "v9:2"], "no chip 'v9'"),
        ([], "required"),
        (["--devices", "v5e:2x4", "--fsdp", "3"], "is not a multiple of fsdp=3"),
        (["--devices", "v5e:2x4", "--sampling.wave", "3"], "sampling.wave=3"),
        (["--devices", "v5e:2x4", "--fsd", "3"], "the closest is --fsdp"),
        (["--devices", "v5e:3x3"], "there is no such slice"),
        (["--devices", "v5e:2x4", "--policy.dtype", "bfloat16"], "would vanish in it"),
        (
            ["--devices", "h100x8", "--policy.attention", "splash"],
            "needs a TPU, and this is a program for gpu",
        ),
        (
            ["--devices", "v5e:2x4", "--policy.attention", "cudnn"],
            "needs a GPU, and this is a program for tpu",
        ),
        (["--devices", "v5e:2x4", "--tensor", "8"], "the 4 devices of a process"),
    ],
)
def test_bad_words_are_one_line(no_compiler, words, reason):
    status, output = run(plan, TINY, *words)
    assert status == 2 and "Traceback" not in output
    assert reason in output


def test_the_slice_decides_which_kernel_may_be_asked_for(no_compiler):
    words = ["--devices", "v5e:2x4", "--policy.attention", "splash"]
    status, output = run(plan, TINY, *words)
    assert status == 0, output


def test_a_search_that_finds_nothing_says_so(no_compiler):
    path = ROOT / "experiments" / "papers" / "maspo_distill_14b.py"
    words = ["--devices", "tpu7x:2x2x1", "--search"]
    status, output = run(plan, path, *words)
    assert status == 1
    assert "nothing fits, down to --sampling.wave 8 --sampling.slots 1 --upd" in output
    assert "found" not in output and "does not fit: sample" in output


def test_what_a_search_found_is_a_plan_that_fits(no_compiler):
    path = ROOT / "experiments" / "papers" / "maspo_distill_7b.py"
    words = ["--devices", "v5p:2x2x4", "--fsdp", 16, "--updates.microbatches", 1]
    words += ["--updates.microbatch-tokens", 10240]
    words += ["--policy.compute-dtype", "bfloat16"]
    status, output = run(plan, path, *words, "--search")
    assert status == 0, output
    found = re.search(r"found: (.*)", output)[1].split()
    values = dict(zip(found[::2], map(int, found[1::2]), strict=True))
    assert values["--updates.microbatch-tokens"] > 10240
    assert values["--sampling.slots"] < values["--sampling.wave"] * 8 // 16
    status, again = run(plan, path, *words, *found)
    assert status == 0
    for stage in ("sample", "update"):
        assert cells(again, stage) == cells(output, stage)


def test_a_search_makes_microbatches_smaller_for_the_compiler(simulated, monkeypatch):
    asked = []

    def compile_program(program):
        asked.append(program)
        too_much = len(asked) == 3  # of the first update
        return compiled.Compiled(99 * devices.GIB if too_much else 1.0)

    monkeypatch.setattr(compiled, "compile_program", compile_program)
    words = ("--sampling.prompts", 32, "--search")
    status, output = run(plan, TINY, "--devices", "v5e:2x4", *words)
    assert status == 0, output
    assert "found: --sampling.wave 32 --updates.microbatches 2" in output


def test_the_time_is_of_a_device_and_says_how_small_it_is(no_compiler):
    status, output = run(plan, TINY, "--devices", "v5e:2x4")
    assert status == 0, output
    (head,) = (line for line in output.splitlines() if "bound by" in line)
    assert [each.strip() for each in head.split("|")[1:-1]] == [
        "a device, a step, at best",
        "bound by",
        "TFLOP",
        "GB of memory traffic",
        "GB received",
        "seconds",
    ]
    table = output.split(head)[1].split("\n\n")[0]
    spent = re.findall(r"^\| [a-z].* (\S+) \|$", table, re.MULTILINE)
    seconds = float(re.search(r"at least (\S+) s, ", output)[1])
    assert 0 < seconds < 1
    assert seconds == pytest.approx(sum(map(float, spent)), rel=0.01)
    assert "\n\n\n" not in output
    assert "197 TFLOP/s of bfloat16 and 32.8 of float32 a chip" in output


def test_on_gpus_it_says_what_jax_leaves_of_the_memory(no_compiler):
    of = lambda where: run(plan, TINY, "--devices", where)[1]
    assert "XLA_PYTHON_CLIENT_MEM_FRACTION=0.95" in of("h100x8")
    assert "XLA_PYTHON_CLIENT_MEM_FRACTION" not in of("v5e:2x4")


def test_a_validation_that_the_compiler_refuses_has_a_remedy(simulated, monkeypatch):
    asked = []

    def compile_program(program):
        asked.append(program)
        last = len(asked) == len(STAGES)
        return compiled.Compiled(99 * devices.GIB if last else 1.0)

    monkeypatch.setattr(compiled, "compile_program", compile_program)
    status, output = run(plan, TINY, "--devices", "v5e:2x4")
    assert status == 1
    line = output.strip().splitlines()[-1]
    assert line.startswith("does not fit: validation takes 99.00 GiB of 16.00 by the")
    assert line.endswith(
        "by arithmetic it does fit: take a larger fsdp or tensor, a larger slice, or "
        "shorter responses"
    )


def test_both_a_wrong_slice_and_a_wrong_setting_are_said(no_compiler):
    status, output = run(plan, TINY, "--devices", "v9:2", "--fsdp", "x")
    assert status == 2
    assert "no chip 'v9'" in output and "--fsdp" in output


def test_a_search_says_what_it_found_without_a_compiler(no_compiler):
    path = ROOT / "experiments" / "papers" / "maspo_distill_1p5b.py"
    words = ["--fsdp", 16, "--updates.microbatches", 16]
    words += ["--policy.compute-dtype", "bfloat16", "--search"]
    status, output = run(plan, path, "--devices", "v5e:4x4", *words)
    assert status == 0, output
    found = re.search(r"found: (.*)", output)[1].split()
    assert found[0] == "--sampling.wave" and int(found[1]) % 16 == 0
