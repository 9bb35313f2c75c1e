"""What compiling costs: with the depth of a policy, and where it was compiled before.

    python experiments/benchmarks/compile.py --out compile.md

Sampler and update of the shape M of `step.py`, with 4 and with 28 layers, each in a
process of its own, on one core: CPU seconds of tracing and lowering, and of compiling.
A second start finds what the first has kept on disk. Then the default job with few
updates, which takes the programs of the whole one, started twice.
"""

import os
import re
import select
import statistics
import subprocess
import sys
import tempfile
import time

import default_job
import step
import turns  # all beside this file

STAGES = {"sample": "sampler", "update": "update"}
SHAPES = ("M", "deep")
STARTS = ("first", "second")
PROGRAMS = re.compile(
    r"(\d+) programs: (\d+) compiled, (\d+) read from .*?\(([\d.]+) s"
)


def prepare(stage, name):
    """Returns a function that lowers and compiles the program of a stage.

    Args:
        stage: of `plan.programs.STAGES`.
        name: of the shape.
    """
    import jax

    from maspo_jax.config import load
    from maspo_jax.plan.devices import CHIPS, Slice
    from maspo_jax.plan.job import Job
    from maspo_jax.plan.programs import programs_of
    from maspo_jax.runs import compilation_cache

    compilation_cache.enable()
    with tempfile.TemporaryDirectory() as folder:
        experiment = load(step.write_experiment(name, folder))
    job = Job(experiment, Slice("one", CHIPS["h100"], 1))
    program = programs_of(job, jax.local_devices()[:1])[stage]

    def run(_):
        begin = turns.cpu_seconds()
        lowered = program.lower()
        between = turns.cpu_seconds()
        compiled = lowered.compile()
        end = turns.cpu_seconds()
        memory = compiled.memory_analysis().temp_size_in_bytes
        return {
            "lower": between - begin,
            "compile": end - between,
            "MiB": memory / 2**20,
        }

    return run


def start_twice(stage, name):
    """Returns what a first and a second start measure, a dict each."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for number in (1, 2):
            worker = turns.Worker(
                sys.executable, __file__, stage, name, env=turns.environment(folder)
            )
            worker.turn(number)
            worker.end()
            found += worker.runs
    return found


def compare_depths(page, shapes, count):
    """Puts the programs on the page."""
    runs = {(stage, name): [] for stage in STAGES for name in shapes}
    for number in range(1, count + 1):
        for stage, name in turns.in_turn(runs, number):
            runs[stage, name].append(start_twice(stage, name))
    rows, compiling = [], {}
    for (stage, name), pairs in runs.items():
        first, second = zip(*pairs, strict=True)
        of = lambda what, starts: statistics.median(start[what] for start in starts)
        depth, spent = step.SHAPES[name].depth, of("compile", first)
        again, memory = of("compile", second), of("MiB", first)
        label = f"{STAGES[stage]}, {depth} layers"
        rows.append((label, of("lower", first), spent, again, again / spent, memory))
        page.compare(f"{label}, second start", again, spent, "first start")
        compiling[stage, depth] = spent
    heads = "lower", "compile", "second start", "second / first", "temporary MiB"
    page.table(("CPU s", *heads), rows)
    few, *_, many = sorted({depth for _, depth in compiling})
    for stage, label in STAGES.items():
        deep, flat = compiling[stage, many], compiling[stage, few]
        page.compare(f"{label}, {many} layers", deep, flat, f"{few} layers")
        page.say(f"- {label}: {many} layers take {deep / flat:.2f} times of {few}.")


def job_twice(page):
    """Puts the default job on the page."""
    rows, found = [], []
    with tempfile.TemporaryDirectory() as folder:
        for label in STARTS:
            first_line, spent, printed = start_job(folder)
            told = PROGRAMS.search(printed)
            if not told:
                raise SystemExit(f"the run does not say what it compiled:\n{printed}")
            programs, compiled, read, seconds = map(float, told.groups())
            counts = int(programs), int(compiled), int(read)
            rows.append((label, first_line, spent, *counts, seconds))
            found.append((spent, seconds))
    heads = "first line, s", "CPU s", "programs", "compiled", "read", "s of these"
    page.say()
    page.say(
        "The default job with few updates, as its run prints it; the seconds of its "
        "programs are by the clock, those of threads added up, reading included:"
    )
    page.table(("start", *heads), rows)
    for what, (first, second) in zip(
        ("all, CPU s", "programs, s"), zip(*found, strict=True), strict=True
    ):
        name, _, unit = what.partition(", ")
        page.compare(f"default job, {name}", second, first, "first start", unit)


def start_job(folder):
    """Runs the default job with few updates.

    Returns:
        Seconds to its first line, CPU seconds of all, and what it prints.
    """
    script = turns.ROOT / "experiments" / "arithmetic.py"
    run = tempfile.mkdtemp(dir=folder)
    words = "-m", "maspo_jax", "train", script, "--run", run, *default_job.SHORT
    before, begin = os.times(), time.perf_counter()
    with subprocess.Popen(
        [sys.executable, *map(str, words)],
        stdout=subprocess.PIPE,
        env=os.environ | turns.environment(folder),
        text=True,
    ) as process:
        select.select([process.stdout], [], [])
        first_line = time.perf_counter() - begin
        printed = process.stdout.read()
    if process.returncode:
        raise SystemExit(f"maspo train ended with {process.returncode}:\n{printed}")
    after = os.times()
    spent = after.children_user - before.children_user
    spent += after.children_system - before.children_system
    return first_line, spent, printed


def main(words=None):
    """Prints the tables."""
    parser = turns.arguments(__doc__)
    options = parser.parse_args(words)
    page = turns.Page("Compiling", options, packages=("jax", "flax"))
    page.say(
        "A program is made anew in each process, medians of the CPU seconds: tracing "
        "and lowering, compiling, and compiling again in a process that finds it on "
        "disk."
    )
    shapes = ("tiny", "tiny deep") if options.tiny else SHAPES
    compare_depths(page, shapes, options.turns or 3)
    page.write()
    job_twice(page)
    page.say(
        "What bounds it: the passes of XLA over one layer, for layers are a loop; a "
        "second start reads the program and links it. No rate of the machine says how "
        "long that takes at best."
    )
    page.write()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        turns.serve(lambda: prepare(*sys.argv[2:]))
    else:
        main()
