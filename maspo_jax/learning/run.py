"""One run of an experiment in its folder: refused, or trained and recorded."""

import contextlib
import ctypes
import functools
import pathlib
import sys

import jax

from maspo_jax import distributed
from maspo_jax.config import validation
from maspo_jax.learning import loop
from maspo_jax.models.attention import name_chosen
from maspo_jax.models.huggingface.load import Checkpoint, verify
from maspo_jax.refusals import Refusals
from maspo_jax.rollout import memory
from maspo_jax.rollout.grading import make_verifier
from maspo_jax.rollout.responder import accuracy, make_responder
from maspo_jax.runs import programs, provenance, run_folder
from maspo_jax.runs.keys import key_for
from maspo_jax.storage import results_folder

# Settings that decide how large the state of training is.
STATE = ("policy", "fsdp", "tensor", "objective", "optimization")


def run(experiment, folder, display, source=None, accept_code_changes=False):
    """Trains as an experiment says, in a folder; goes on if it holds the run already.

    Args:
        experiment: the `Experiment`.
        folder: of the run.
        display: a `Display`, entered.
        source: the file the experiment was read from, if it was; recorded.
        accept_code_changes: goes on with gates, graders and other code of one's own
            that is not what the run began with.

    Raises:
        ValueError, OSError: something cannot run or be read; nothing has been written.
        Interrupted: a signal asked to stop; the state is saved.
        FloatingPointError: an update was not finite; nothing was saved after it.
    """
    if jax.default_backend() == "cpu":
        keep_freed_memory()
    begin = programs.compilations().finished
    with contextlib.ExitStack() as held:
        display.stage("checking the experiment and its problems")
        remarks = check_experiment(experiment, folder)
        opened = run_folder.opened(folder, experiment, accept_code_changes)
        held.enter_context(opened)
        held.enter_context(programs.recorded(folder, begin, display.note))
        folder = pathlib.Path(folder)
        remarks += record_start(experiment, folder, source)
        verifier = held.enter_context(make_verifier(experiment.grading))
        introduce(experiment, folder, display, remarks)
        evaluate = functools.partial(measure, experiment, verifier)
        loop.train(experiment, folder, verifier, evaluate, display)


def record_start(experiment, folder, source):
    """Records where this start of a run comes from.

    Called by all processes of a pod together; the first one writes.

    Returns:
        What is said of it, in lines, such as what is not as it was at the start before.
    """
    with distributed.raise_on_all_hosts():
        if jax.process_index() > 0:
            said = []
        else:
            said = provenance.write(folder, provenance.start(experiment, source))
    return said


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


def check_experiment(experiment, folder):
    """Refuses what cannot run, before anything is compiled or written.

    Returns:
        What was found of its problems, in lines.

    Raises:
        ValueError, OSError: why; a `Refused` if there are several reasons.
    """
    limit = memory.memory_limit()
    with distributed.raise_on_all_hosts():
        with Refusals() as refusals:
            devices, hosts = jax.device_count(), jax.process_count()
            validation.check_settings(experiment, devices, refusals, hosts)
            if isinstance(experiment.policy, Checkpoint) and refusals.unaffected(
                "policy"
            ):
                with refusals.of("policy"):
                    verify(experiment.policy.folder, experiment.decoder)
            if refusals.unaffected(*STATE):
                with refusals.of("fsdp"):
                    memory.check_state(experiment, devices, limit)
            begun = pathlib.Path(folder, run_folder.RUN.record).is_file()
            remarks = validation.check_problems(experiment, refusals, begun)
            with refusals.of():
                results_folder(folder, "--run")
        made_of = run_folder.record(experiment)
    distributed.assert_equal_across_hosts(
        f"{made_of} in {folder}", "the experiment, its files or its folder"
    )
    return remarks


def measure(experiment, verifier, policy, mesh):
    """Returns the accuracy and length on the validation problems."""
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
        gather=experiment.sampling.gather,
    )
    problems = [validation.source[index] for index in range(validation.problems)]
    batch = memory.validation_batch(experiment, mesh, memory.memory_limit())
    return accuracy(responder, policy, problems, batch)


def introduce(experiment, folder, display, remarks):
    """Says what is about to run, in the field's terms, and what to beware of."""
    sampling, updates = experiment.sampling, experiment.updates
    tokens = sampling.row_length - 1  # nothing follows the last one
    read = f"rows of {tokens} tokens, read by "
    read += f"{name_chosen(experiment.decoder, tokens)} attention"
    if updates.row_length:
        reader = name_chosen(experiment.decoder, updates.row_length, packed=True)
        read += f"; of updates, packed rows of {updates.row_length}, by {reader}"
    display.note(
        f"{type(experiment.objective.gate).__name__} on {jax.device_count()} "
        f"{jax.default_backend()} device(s), in {folder}\n"
        f"{experiment.steps} steps of {sampling.prompts} prompts x "
        f"{sampling.responses} responses; {experiment.updates_per_step} updates per "
        f"step, {sampling.prompts // updates.minibatches} prompts each\n"
        f"{read}"
    )
    mesh = distributed.make_mesh(experiment.fsdp, experiment.tensor)
    taken = memory.describe(experiment, mesh, memory.memory_limit())
    for remark in [*remarks, *([taken] if taken else [])]:
        display.note(remark)
    if experiment.updates_per_step == 1:
        display.note(
            "warning: with one update per step the ratio never leaves 1 and all gates "
            "coincide; raise updates.minibatches or updates.epochs to compare them"
        )
