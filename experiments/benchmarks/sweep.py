"""What a sweep costs beside its runs one after another, on one core of a CPU.

    python experiments/benchmarks/sweep.py [--json FILE] [--out FILE.md]

16 settings of MASPO's gate with 4 seeds each, trained by `maspo sweep`, and each alone
by `maspo_jax.train`, in one process and with one compilation cache: 64 runs whose
programs are compiled once. With supervised training before, which the sweep makes once
for each seed, and without. At the end the policies of both are compared.
"""

import dataclasses
import functools
import json
import pathlib
import subprocess
import sys
import tempfile

import turns  # beside this file

ALPHAS, BASES, SEEDS = (0.1, 0.2, 0.3, 1.0), (0.5, 1.0, 2.0, 4.0), (0, 1, 2, 3)
STEPS, SFT = 10, (60, 20)  # steps, and supervised updates of two phases


def main():
    """Measures both, with and without supervised training."""
    parser = turns.arguments(__doc__)
    parser.add_argument("--work", nargs=4, help=turns.argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        return work(*options.work)
    page = turns.Page("A sweep", options, packages=("jax", "flax"))
    size = "tiny" if options.tiny else "full"
    runs = len(list(settings(size))) * len(seeds(size))
    page.say(
        f"{runs} runs of {STEPS} steps of the policy and task of the arena "
        "(0.1 M parameters, 64 responses a step, 4 updates): CPU seconds."
    )
    rows = []
    for start in ("supervised", "random"):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            # Into the cache, which both then read: neither has it colder.
            measure("alone", size, start, folder / "warm")
            found = {
                how: measure(how, size, start, folder / how)
                for how in ("together", "alone")
            }
            apart = distance(folder, start)
        ours, peer = (found[how]["cpu"] for how in ("together", "alone"))
        what = {"supervised": "with supervised training", "random": "without"}[start]
        page.compare(f"{runs} runs, {what}", ours, peer, "one after another")
        rows.append((what, ours, peer, ours / peer, found["together"]["update"], apart))
    heads = "together", "one after another", "share", "programs named update", "apart"
    page.table(("", *heads), rows)
    page.say(
        "Apart: the largest difference of a parameter between a run of the sweep and "
        "the same run alone. What bounds it: a CPU makes the products of many small "
        "policies no faster together than one after another, so what is left are the "
        "products; saved are supervised training, tracing, checkpoints and pictures "
        "of each run."
    )
    page.write()
    return 0


def measure(how, size, start, folder):
    """Runs one way in a process of its own. Returns what it says."""
    words = [sys.executable, __file__, "--work", how, size, start, str(folder)]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def settings(size):
    """Yields the changes of each trial."""
    alphas, bases = (ALPHAS[:2], BASES[:1]) if size == "tiny" else (ALPHAS, BASES)
    for alpha in alphas:
        for base in bases:
            yield {"objective.gate.alpha": alpha, "objective.gate.sigma_base": base}


def seeds(size):
    """Returns the training seeds."""
    return SEEDS[:2] if size == "tiny" else SEEDS


def experiment_of(start):
    """Returns the experiment that is changed."""
    sys.path.insert(0, str(turns.ROOT / "experiments" / "sweeps"))
    from arena_regimes import BASE

    from maspo_jax.config.changes import changed
    from maspo_jax.objectives import gates

    phases = tuple(
        dataclasses.replace(phase, updates=updates)
        for phase, updates in zip(BASE.sft.phases, SFT, strict=True)
    )
    experiment = changed(
        BASE,
        {"objective.gate": gates.Maspo(), "steps": STEPS, "sft.phases": phases},
    )
    return (
        experiment
        if start == "supervised"
        else dataclasses.replace(experiment, sft=None)
    )


def work(how, size, start, folder):
    """Trains all runs one way, and says what it took."""
    folder = pathlib.Path(folder)
    experiment, watch = experiment_of(start), turns.Stopwatch()

    import maspo_jax
    from maspo_jax import sweeps
    from maspo_jax.runs.programs import compilations
    from maspo_jax.sweeps.sweep import trials_of

    cache = str(folder.parent / "cache")
    begin = compilations().finished
    if how == "together":
        asked = sweeps.Sweep(experiment, [*settings(size)], seeds(size))
        maspo_jax.sweep(asked, folder, quiet=True, compilation_cache=cache)
    else:
        trials = trials_of(experiment, [*settings(size)])
        few = 1 if folder.name == "warm" else None
        for trial in trials[:few]:
            for seed in seeds(size)[:few]:
                one = dataclasses.replace(trial.experiment, seed=seed)
                place = folder / f"{trial.number}_{seed}"
                maspo_jax.train(one, place, quiet=True, compilation_cache=cache)
    names = [program.name for program in compilations().since(begin)]
    print(json.dumps(watch.read() | {"update": names.count("update")}))
    return 0


def distance(folder, start):
    """Returns how far the policies of the two ways are apart, at most."""
    import jax
    import numpy as np

    from maspo_jax import distributed
    from maspo_jax.learning import learner
    from maspo_jax.runs.checkpoints import read_policy

    mesh = distributed.make_mesh(devices=jax.devices()[:1])
    skeleton = learner.build(experiment_of(start), mesh).skeleton.policy
    read = functools.partial(read_policy, steps=STEPS, skeleton=skeleton)
    found = 0.0
    for alone in sorted((folder / "alone").iterdir()):
        trial, seed = alone.name.split("_")
        same = folder / "together" / "trials" / f"{int(trial):04d}" / f"seed_{seed}"
        both = [read(one / "checkpoints" / "reinforcement") for one in (alone, same)]
        far = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), *both)
        found = max(found, *jax.tree.leaves(far))
    return found


if __name__ == "__main__":
    raise SystemExit(main())
