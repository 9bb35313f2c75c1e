"""What the default experiment costs, by part, beside another commit of this project.

    python experiments/benchmarks/default_job.py --out default_job.md
    python experiments/benchmarks/default_job.py --before TREE --seeds 0 1 2

CPU seconds of `maspo train experiments/arithmetic.py`, from the start of its process to
its end, on one core, and what it has learned. Each run has a process of its own and
nothing compiled before. TREE is another checkout of this project: its runs take turns
with those of this one. A part is what the main thread does there; what it leaves to
other threads, such as compiling, is counted where the main one is meanwhile.
"""

import functools
import importlib
import json
import pathlib
import re
import statistics
import sys
import tempfile

import step
import turns  # both beside this file

# Few updates, and all programs.
SHORT = (
    *("--sft.phases.0.updates", "20", "--sft.phases.1.updates", "20"),
    *("--sft.optimization.warmup-updates", "1", "--steps", "2"),
)
# A part, and the function that is it. What a tree does not have is not timed there, but
# counted with the part that it happens in.
PARTS = (
    ("checking", "learning.run", "check_experiment"),
    ("initial state", "learning.train_state", "begin"),
    ("supervised training", "learning.loop", "sft"),
    ("validation", "learning.loop", "measure"),
    ("rollouts", "rollout.worker", "Worker.collect"),
    ("scoring", "learning.learner", "Learner.assemble"),
    ("records", "learning.loop", "Journal.flush"),
    ("checkpoints", "runs.checkpoints", "Checkpoints.save"),
    ("checkpoints", "runs.checkpoints", "Checkpoints.finish"),
    ("checkpoints", "runs.checkpoints", "Checkpoints.__exit__"),
    ("updates", "learning.loop", "learn"),  # what is none of the others
)
WAIT = {"supervised training", "scoring"}  # for their arrays
IMPORTS, REST = "imports", "the rest"
PROGRAMS = re.compile(r"\d+ programs: .*")


def run(tree, seed, short):
    """Runs the experiment once.

    Args:
        tree: the checkout that the package is of.
        seed: of the experiment.
        short: whether updates are few.

    Returns:
        What it took and has learned, a dict.
    """
    parts = turns.Parts()
    with parts(IMPORTS):
        for module in ("jax", "maspo_jax.cli.train", "maspo_jax.learning.run"):
            importlib.import_module(module)
        owners = [owner_of(module, name) for _, module, name in PARTS]
    turns.assert_of(tree)
    for (part, _, name), owner in zip(PARTS, owners, strict=True):
        name = name.rpartition(".")[2]
        if plain := getattr(owner, name, None):
            setattr(owner, name, parts.timed(part, plain, part in WAIT))
    first = note_first_update()
    with tempfile.TemporaryDirectory() as folder, parts(REST):
        settings = "--seed", seed, *(SHORT if short else ())
        script = tree / "experiments" / "arithmetic.py"
        printed = turns.run_main(["train", script, "--run", folder, *settings])
        text = pathlib.Path(folder, "metrics.jsonl").read_text()
    lines = map(json.loads, text.splitlines())
    right = [line["accuracy"] for line in lines if line["stage"] == "validation"]
    programs = PROGRAMS.search(printed)
    return {
        "parts": parts.seconds,
        "all": turns.cpu_seconds(),
        "first update": first[0] if first else None,
        "accuracy": (right[0], right[-1]),
        "programs": programs and programs[0],
    }


def owner_of(module, name):
    """Returns the module or class that a function is of."""
    module = importlib.import_module(f"maspo_jax.{module}")
    return getattr(module, name.partition(".")[0]) if "." in name else module


def note_first_update():
    """Returns a list that gets the CPU seconds behind the first supervised update."""
    import jax

    from maspo_jax.learning import sft

    found, make = [], sft.make_update

    @functools.wraps(make)
    def make_noting(*arguments, **settings):
        update = make(*arguments, **settings)

        def noting(*of):
            result = update(*of)
            if not found:
                jax.block_until_ready(result)
                found.append(turns.cpu_seconds())
            return result

        return noting

    sft.make_update = make_noting
    return found


def floors_of(rates, short):
    """Returns {part: CPU seconds} that those of the steps take at best.

    Args:
        rates: what `turns.Page.rates` returns.
        short: whether updates are few.
    """
    from maspo_jax.config import load

    script = turns.ROOT / "experiments" / "arithmetic.py"
    experiment = load(script, SHORT if short else ())
    found = step.bounds(experiment, rates)
    parts = {"rollouts": "sample", "scoring": "score", "updates": "update"}
    return {part: experiment.steps * found[stage][0] for part, stage in parts.items()}


def report(page, runs, floors):
    """Puts the runs on the page.

    Args:
        page: the `turns.Page`.
        runs: {tree: {seed: what `run` returned}}.
        floors: what `floors_of` returned.
    """
    trees = list(runs)
    medians = {tree: median_parts(of.values()) for tree, of in runs.items()}
    ours = medians["ours"]
    parts = [IMPORTS, *dict.fromkeys(part for part, _, _ in PARTS), REST]
    rows = []
    for part in [*parts, "all", "first update"]:
        spent = [medians[tree].get(part) for tree in trees]
        share = [ours[part] / ours["all"]] if part in ours else [None]
        rows.append((part, *spent, *share, floors.get(part)))
    page.table(("CPU s, medians", *trees, "share of ours", "at best"), rows)
    page.say(
        "Updates are handed to the device and not waited for: most of what they take "
        "is counted where the next step begins, as of its rollouts.\n"
    )
    if "before" in medians:
        for what in ("all", "first update"):
            before, now = medians["before"].get(what), ours.get(what)
            if before and now:
                page.compare(f"default job, {what}", now, before, "before")
    each = "at first", "at last", "CPU s"
    heads = [f"{tree}, {what}" for tree in trees for what in each]
    rows = []
    for seed in runs["ours"]:
        of_seed = [runs[tree][seed] for tree in trees]
        cells = [(*map(percent, one["accuracy"]), one["all"]) for one in of_seed]
        rows.append((seed, *sum(cells, ())))
    page.table(("right, by seed", *heads), rows)
    for tree in trees:
        told = {one["programs"] for one in runs[tree].values()} - {None}
        for line in sorted(told):  # in a tree whose runs say it
            page.say(f"- {tree}: {line}")
    least = sum(floors.values())
    page.say(
        "What bounds it: compiling, and what surrounds small products. Those of the "
        f"steps take {least:.3g} s at the measured rates, with all responses as long "
        "as they may be."
    )


def median_parts(runs):
    """Returns the medians over runs of {part: CPU seconds}, and of all of them."""
    each = [
        run["parts"] | {name: run[name] for name in ("all", "first update")}
        for run in runs
    ]
    names = {name for one in each for name, spent in one.items() if spent is not None}
    return {name: statistics.median(one[name] for one in each) for name in names}


def percent(share):
    """Returns a cell of the table."""
    return f"{share:.1%}"


def main(words=None):
    """Prints the tables."""
    parser = turns.arguments(__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--before", type=pathlib.Path, metavar="TREE", help="another checkout"
    )
    options = parser.parse_args(words)
    hidden = {"--before": "TREE"}
    page = turns.Page("The default job", options, hidden, packages=("jax", "flax"))
    page.say(
        "`maspo train experiments/arithmetic.py` on one core with nothing compiled "
        "before, from the start of the process to its end."
    )
    trees = {"ours": turns.ROOT}
    if options.before:
        trees["before"] = options.before.resolve()
    runs = {label: {} for label in trees}
    page.rates()
    for number, seed in enumerate(options.seeds, start=1):
        for label in turns.in_turn(trees, number):
            words = trees[label], seed, int(options.tiny)
            with tempfile.TemporaryDirectory() as folder:
                env = turns.environment(folder, trees[label])
                worker = turns.Worker(sys.executable, __file__, *words, env=env)
                worker.turn(number)
                worker.end()
            (runs[label][seed],) = worker.runs
            spent = worker.runs[0]["all"]
            print(f"{label}, seed {seed}: {spent:.0f} CPU s", flush=True)
    report(page, runs, floors_of(page.rates(), options.tiny))
    page.write()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        tree, seed, short = sys.argv[2:]
        turns.serve(lambda: lambda _: run(pathlib.Path(tree), int(seed), int(short)))
    else:
        main()
