"""Memory of the papers' experiments at their full lengths, by the machines' compilers.

    pip install -e ".[plan]"
    python experiments/benchmarks/real_sizes.py

Compiles sampler, log-probability pass, update and validation of each experiment for a
slice, 2,048 + 8,192 tokens a row, on twice the devices 2,048 + 16,384, nothing made
smaller, and writes `experiments/results/real_sizes.md`. No accelerator is needed; a
program takes up to two minutes of two cores. With `--only 1p5b` it compiles some of
them, and keeps the other rows.
"""

import argparse
import importlib.metadata
import os
import pathlib
import shlex

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax

from maspo_jax.config import loading
from maspo_jax.markdown import markdown_table
from maspo_jax.plan import compiled, devices, estimate, programs, report
from maspo_jax.plan.job import SHARE, job_of

HERE = pathlib.Path(__file__).parents[1]
RESULT = HERE / "results" / "real_sizes.md"
BFLOAT16 = "--policy.compute-dtype bfloat16"
LONG = f"{BFLOAT16} --sampling.response-length 16384"
# Experiment, slice and words of the command line.
CASES = (
    (
        "maspo_distill_1p5b",
        "v5e:4x4",
        f"{BFLOAT16} --fsdp 16 --updates.microbatches 16 --sampling.wave 128 "
        "--sampling.slots 28",
    ),
    ("maspo_distill_1p5b", "h100x8", f"{BFLOAT16} --fsdp 8 --sampling.wave 128"),
    ("dgpo_distill_1p5b", "h100x8", f"{BFLOAT16} --fsdp 8 --sampling.wave 128"),
    ("maspo_distill_7b", "v5p:2x2x2", f"{BFLOAT16} --fsdp 8 --sampling.wave 64"),
    (
        "maspo_distill_14b",
        "v5p:2x2x4",
        f"{BFLOAT16} --fsdp 16 --updates.microbatches 16 --sampling.wave 32",
    ),
    (
        "maspo_distill_1p5b",
        "v5e:4x8",
        f"{LONG} --fsdp 32 --updates.microbatches 8 --sampling.wave 64",
    ),
    (
        "maspo_distill_1p5b",
        "h100x16",
        f"{LONG} --fsdp 16 --updates.microbatches 16 --sampling.wave 256 "
        "--sampling.slots 128",
    ),
    (
        "maspo_distill_7b",
        "v5p:2x2x4",
        f"{LONG} --fsdp 16 --updates.microbatches 16 --sampling.wave 256 "
        "--sampling.slots 56",
    ),
    (
        "maspo_distill_14b",
        "v5p:2x4x4",
        f"{LONG} --fsdp 32 --updates.microbatches 8 --sampling.wave 32",
    ),
)
HEADS = (
    "program",
    "compiler",
    "arithmetic",
    "of HBM",
    "rows at a time",
    "collectives",
    "compiled in",
)
HEAD = f"""# The papers' experiments at full length, by the compilers of the machines

    python experiments/benchmarks/real_sizes.py

GiB a device, everything that it holds meanwhile included: arguments, temporary arrays,
and what of masters and moments is no argument. Compiled without an accelerator, so
nothing has run. A fit is at most {SHARE:.0%} of the memory that the chip's maker names.
Collectives are those in the text of the program.
"""


def versions():
    """Returns the versions of what compiles, as text."""
    names = ("jax", "jaxlib", "libtpu", "jax-cuda12-pjrt")
    found = []
    for name in names:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def row(job, stage, absent):
    """Compiles a stage. Returns the cells of its row."""
    program = programs.programs_of(job, absent)[stage]
    with_shapes = estimate.total(estimate.estimate(job)[stage]) / devices.GIB
    made = compiled.compile_program(program)
    needed, hbm = report.needed_of(made, program.beside), job.slice.hbm
    plan = job.validation
    rows = {
        "sample": job.wave_rows,
        "validation": plan.prompts * plan.responses // job.slice.devices,
    }.get(stage, job.microbatch_rows)
    exchanged = [f"{kind} {n}" for kind, (n, _) in sorted(made.collectives.items())]
    return [
        stage,
        "refused" if needed is None else f"{needed / devices.GIB:.2f}",
        f"{with_shapes:.2f}",
        "" if needed is None else f"{needed / hbm:.0%}",
        str(rows),
        made.refused or ", ".join(exchanged) or "none",
        f"{made.seconds:.0f} s",
    ]


def section(name, where, words):
    """Compiles an experiment for a slice. Returns its section of the page."""
    file = HERE / "papers" / f"{name}.py"
    experiment = loading.load(file, shlex.split(words))
    job = job_of(experiment, devices.parse_slice(where))
    absent, rows = devices.compile_only(job.slice), []
    for stage in job.stages:
        rows.append(row(job, stage, absent))
        print(name, where, *rows[-1], flush=True)
    command = f"maspo plan experiments/papers/{file.name} --devices {where} {words}"
    return (
        f"## {title(name, where)}\n\n    {command}\n\n"
        f"{report.heading(job)}; {versions()}\n\n{markdown_table(HEADS, rows)}"
    )


def title(name, where):
    """Returns the heading of a section."""
    return f"{name} on {where}"


def main():
    """Compiles, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="part of the name of a section")
    only = parser.parse_args().only
    jax.config.update("jax_platforms", "cpu")
    before = RESULT.read_text().split("\n## ")[1:] if RESULT.is_file() else []
    sections = {each.splitlines()[0]: f"## {each.strip()}\n" for each in before}
    for name, where, words in CASES:
        if only in title(name, where):
            sections[title(name, where)] = section(name, where, words)
            text = "\n".join([HEAD, *sections.values()])
            RESULT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
