"""One run of an experiment, from what may be refused to the table at its end."""

import contextlib
import ctypes
import functools
import pathlib
import sys

import jax
import rich.table

from maspo_jax import distributed
from maspo_jax.cli.console import fail
from maspo_jax.config import loading, validation
from maspo_jax.data import pipeline
from maspo_jax.learning import loop
from maspo_jax.models.huggingface.load import Checkpoint, verify
from maspo_jax.reports.figures.training_curves import draw_learning_curves
from maspo_jax.rollout.grading import make_verifier
from maspo_jax.rollout.responder import accuracy, make_responder
from maspo_jax.runs import run_folder
from maspo_jax.runs.display import Display
from maspo_jax.runs.interrupts import Interrupted
from maspo_jax.runs.keys import key_for


def start(path, overrides=(), folder=None, pod=None):
    """Runs the experiment of a file. Returns the exit status.

    Args:
        path: of the file.
        overrides: command-line words that change leaves of the experiment.
        folder: of the run; by default `runs/` and the name of the file.
        pod: see `parallel.join`.
    """
    keep_freed_memory()
    try:
        distributed.initialize_distributed(pod)
        with distributed.raise_on_all_hosts():
            experiment = loading.load(path, overrides)
    except (ValueError, OSError) as error:
        return fail(error)
    folder = folder or pathlib.Path("runs", pathlib.Path(path).stem)
    with Display(quiet=jax.process_index() > 0) as display:
        return run(experiment, folder, display)


def run(experiment, folder, display):
    """Trains as an experiment says, in a folder. Returns the exit status."""
    with contextlib.ExitStack() as held:
        try:
            display.stage("checking the experiment and its problems")
            check(experiment, folder)
            held.enter_context(run_folder.opened(folder, experiment))
        except (ValueError, OSError) as error:
            return fail(error)
        folder = pathlib.Path(folder)
        verifier = held.enter_context(make_verifier(experiment.grading))
        introduce(experiment, folder, display)
        evaluate = functools.partial(measure, experiment, verifier)
        try:
            loop.train(experiment, folder, verifier, evaluate, display)
        except Interrupted as interrupted:
            display.note(f"{interrupted}. The same command goes on from there.")
            return interrupted.exit_status
        except FloatingPointError as error:
            return fail(error, status=1)
        if jax.process_index() == 0:
            display.stage("drawing")
            conclude(folder, display)
    return 0


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


def check(experiment, folder):
    """Refuses what cannot run, before anything is compiled or written."""
    with distributed.raise_on_all_hosts():
        validation.validate(experiment, jax.device_count())
        if isinstance(experiment.policy, Checkpoint):
            verify(experiment.policy.folder, experiment.decoder)
        check_problems(experiment)
        made_of = run_folder.record(experiment)
    distributed.assert_equal_across_hosts(
        f"{made_of} in {folder}", "the experiment, its files or its folder"
    )


def check_problems(experiment):
    """Refuses problems that do not fit the prompts, the responses or the batches."""
    sampling, sft = experiment.sampling, experiment.sft
    length = sampling.prompt_length
    asked = [
        (experiment.train_set, length, None, None),
        (experiment.validation.source, length, None, None),
    ]
    if sft:
        length = sft.prompt_length or length
        longest, row = sft.response_length, sft.row_length
        longest = None if row else longest or sampling.response_length
        asked += [(phase.source, length, longest, row) for phase in sft.phases]
    for source, prompt_length, response_length, row_length in asked:
        pipeline.check_fits(
            source,
            experiment.template,
            experiment.tokenizer,
            prompt_length=prompt_length,
            response_length=response_length,
            row_length=row_length,
        )
    if len(experiment.validation.source) < experiment.validation.problems:
        raise ValueError(
            f"validation.problems={experiment.validation.problems} but its source has "
            f"only {len(experiment.validation.source)}"
        )


def measure(experiment, verifier, policy, mesh):
    """Returns the accuracy and length on the held-out problems."""
    validation = experiment.validation
    responder = make_responder(
        experiment,
        verifier,
        mesh,
        key_for("evaluation", experiment.seed),
        experiment.sampling.prompt_length,
        responses=validation.samples,
        length=experiment.sampling.response_length,
        temperature=validation.temperature,
    )
    problems = [validation.source[index] for index in range(validation.problems)]
    return accuracy(responder, policy, problems)


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
    validation = run_folder.read_metrics(folder, "validation")
    table = rich.table.Table(title="Held-out problems")
    for name in ("", "accuracy", "response length"):
        table.add_column(name, justify="right")
    for name, line in (("before", validation[0]), ("after", validation[-1])):
        when = f"{name} ({line['step']} steps)"
        length = f"{line['response_length/mean']:.1f} tokens"
        table.add_row(when, f"{line['accuracy']:.1%}", length)
    display.console.print(table)
    picture = draw_learning_curves([folder], folder / "learning_curve.png")
    display.note(f"The learning curve is in {picture}")
    display.note(f"Sampled responses, with the gate of each token: {folder}/rollouts")
    display.note(f"Compare runs: maspo figures {folder} OTHER_RUN --out .")
