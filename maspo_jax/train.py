"""Trains a policy.

    python -m maspo_jax.train EXPERIMENT.py [--a.b VALUE ...] [--run DIR] [--pod WHERE]

EXPERIMENT.py holds an `Experiment` named `experiment`; `--a.b VALUE` overrides a
leaf of it (`--help` after the file lists them). The run is the folder DIR, by
default `runs/` and the name of the file; if it holds this run already, it goes on.
WHERE is `auto` on a TPU pod, or HOST:PORT/INDEX/COUNT for other processes.
"""

import argparse
import ctypes
import functools
import pathlib
import sys

import jax
import rich.table

from maspo_jax import config, parallel, validation
from maspo_jax.data import pipeline
from maspo_jax.data.problems import ProblemFile
from maspo_jax.evaluation import scoring
from maspo_jax.figures.training_curves import draw_learning_curves
from maspo_jax.rewards import Verifier
from maspo_jax.rollout.sampler import Decoding
from maspo_jax.training import loop, runs
from maspo_jax.training.display import Display
from maspo_jax.training.interrupts import Interrupted, at_once
from maspo_jax.training.keys import key_for


def main(words=None):
    """Runs the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m maspo_jax.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    parser.add_argument("experiment", nargs="?")
    parser.add_argument("--run")
    parser.add_argument("--pod")
    arguments, overrides = parser.parse_known_args(words)
    if arguments.experiment is None:
        print(__doc__)
        return 0 if {"-h", "--help"} & set(overrides) else 2
    keep_freed_memory()
    with at_once():
        return start(arguments, overrides)


def start(arguments, overrides):
    """Prepares and runs what the command line says. Returns the exit status."""
    try:
        if arguments.pod:
            print(f"waiting for all processes of the pod ({arguments.pod})", flush=True)
        parallel.join(arguments.pod)
        experiment = config.load(arguments.experiment, overrides)
        name = pathlib.Path(arguments.experiment).stem
        folder = prepare(experiment, arguments.run or pathlib.Path("runs") / name)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return run(experiment, folder)


def keep_freed_memory():
    """Makes glibc keep the buffers of an update for the next one.

    XLA allocates and frees the same large buffers at every step; on a CPU, giving
    them back to the system and faulting them in again cost a quarter of a run. Other
    C libraries are left alone.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt:
            trim_threshold, top_pad, mmap_max = -1, -2, -4  # of <malloc.h>
            mallopt(mmap_max, 0)
            mallopt(trim_threshold, 2**31 - 1)
            mallopt(top_pad, 2**26)


def prepare(experiment, folder):
    """Refuses what cannot run; else creates the folder of the run and returns it."""
    validation.validate(experiment, jax.device_count())
    check_data(experiment)
    parallel.same_everywhere(str(config.to_json(experiment)), "the experiment")
    return runs.open_run(folder, experiment)


def run(experiment, folder):
    """Trains as an experiment says, in its folder. Returns the exit status."""
    with (
        Display(quiet=jax.process_index() > 0) as display,
        Verifier(
            workers=experiment.grading.workers, deadline=experiment.grading.deadline
        ) as verifier,
    ):
        introduce(experiment, folder, display)
        evaluate = functools.partial(measure, experiment, verifier)
        try:
            loop.train(experiment, folder, verifier, evaluate, display)
        except Interrupted as interrupted:
            display.note(f"{interrupted}. The same command goes on from there.")
            return interrupted.exit_status
        except FloatingPointError as error:
            display.note(f"error: {error}")
            return 1
        if jax.process_index() == 0:
            display.stage("drawing")
            conclude(folder, display)
    return 0


def check_data(experiment):
    """Refuses problems that do not fit, before anything is compiled or written."""
    sampling, warm_up = experiment.sampling, experiment.warm_up
    length = sampling.prompt_length
    asked = [
        (experiment.train_set, length, None),
        (experiment.held_out.source, length, None),
    ]
    if warm_up:
        length = warm_up.prompt_length or length
        longest = warm_up.response_length or sampling.response_length
        asked += [(phase.source, length, longest) for phase in warm_up.phases]
    for source, prompt_length, response_length in asked:
        pipeline.check(
            source,
            experiment.template,
            experiment.tokenizer,
            prompt_length=prompt_length,
            response_length=response_length,
            rows=None if isinstance(source, ProblemFile) else 256,
        )
    if len(experiment.held_out.source) < experiment.held_out.problems:
        raise ValueError(
            f"held_out.problems={experiment.held_out.problems} but its source has "
            f"only {len(experiment.held_out.source)}"
        )


def measure(experiment, verifier, policy, mesh):
    """Returns the greedy accuracy and length on the held-out problems."""
    held_out, tokenizer = experiment.held_out, experiment.tokenizer
    return scoring.accuracy(
        policy,
        [held_out.source[index] for index in range(held_out.problems)],
        verifier,
        template=experiment.template,
        tokenizer=tokenizer,
        length=experiment.sampling.prompt_length,
        decoding=Decoding(
            responses=1,
            length=experiment.sampling.response_length,
            end=tokenizer.end,
            pad=tokenizer.pad,
            temperature=0.0,
        ),
        mesh=mesh,
        key=key_for("evaluation", experiment.seed),
    )


def introduce(experiment, folder, display):
    """Says what is about to run, in the field's terms, and what to beware of."""
    sampling, updates = experiment.sampling, experiment.updates
    display.note(
        f"{type(experiment.objective.gate).__name__} on {jax.device_count()} "
        f"{jax.default_backend()} device(s), in {folder}\n"
        f"{experiment.steps} steps of {sampling.prompts} prompts x "
        f"{sampling.responses} responses; {experiment.updates_per_step} updates per "
        f"step, {sampling.prompts // updates.minibatches} prompts each"
    )
    if experiment.updates_per_step == 1:
        display.note(
            "warning: with one update per step the ratio never leaves 1 and all gates "
            "coincide; raise updates.minibatches or updates.epochs to compare them"
        )


def conclude(folder, display):
    """Shows what the run has come to, and where to look further."""
    held_out = runs.read_metrics(folder, "held_out")
    table = rich.table.Table(title="Held-out problems, greedy")
    for name in ("", "accuracy", "response length"):
        table.add_column(name, justify="right")
    for name, line in (("before", held_out[0]), ("after", held_out[-1])):
        when = f"{name} ({line['step']} steps)"
        table.add_row(when, f"{line['accuracy']:.1%}", f"{line['length']:.1f} tokens")
    display.console.print(table)
    picture = draw_learning_curves([folder], folder / "learning_curve.png")
    display.note(f"The learning curve is in {picture}")
    display.note(f"Sampled responses, with the gate of each token: {folder}/rollouts")
    display.note(
        f"Compare runs: python -m maspo_jax.figures {folder} OTHER_RUN --out ."
    )


if __name__ == "__main__":
    sys.exit(main())
