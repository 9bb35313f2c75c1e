"""One evaluation, from what may be refused to the tables at its end."""

import contextlib
import dataclasses
import json
import pathlib
import zlib

import jax

from maspo_jax import distributed
from maspo_jax.cli.console import fail
from maspo_jax.config import validation
from maspo_jax.data import pipeline
from maspo_jax.data.prompts import Template
from maspo_jax.evaluation import (
    benchmarks,
    evaluation_folder,
    generate,
    policies,
    responses,
    scores,
)
from maspo_jax.reports import tables
from maspo_jax.reports.figures.evaluations import draw_results
from maspo_jax.rollout.batching import plan_batches
from maspo_jax.rollout.grading import make_verifier
from maspo_jax.rollout.responder import make_responder
from maspo_jax.runs import provenance
from maspo_jax.runs.display import Display
from maspo_jax.runs.interrupts import Interrupted, Interrupts
from maspo_jax.runs.keys import key_for
from maspo_jax.storage import created


def start(
    name,
    words,
    given,
    *,
    batch,
    template=None,
    step=None,
    dtype=None,
    fsdp=1,
    folder=None,
    pod=None,
):
    """Evaluates a policy. Returns the exit status.

    Args:
        name: of the policy, see `policies.open_policy`.
        words: the benchmarks, see `benchmarks.read_benchmarks`.
        given: fields of the `Evaluation` that are not to be the usual ones; the lengths
            are those the policy was trained with unless given.
        batch: responses drawn at a time.
        template, step, dtype: see `policies.open_policy`.
        fsdp: devices that share one copy of the parameters.
        folder: of the evaluation; None for `evaluations/` and the name of the policy.
        pod: see `parallel.join`.
    """
    try:
        distributed.initialize_distributed(pod)
    except ValueError as error:
        return fail(error)
    with (
        Display(quiet=jax.process_index() > 0) as display,
        contextlib.ExitStack() as held,
    ):
        try:
            display.stage("reading the benchmarks and the policy")
            with distributed.raise_on_all_hosts():
                read = benchmarks.read_benchmarks(words)
            mesh = distributed.make_mesh(fsdp)
            policy = policies.open_policy(name, mesh, step, dtype, template)
            with distributed.raise_on_all_hosts():
                evaluation = usual(policy, given)
                plans = check(policy, evaluation, read, batch, mesh)
            folder = folder or pathlib.Path("evaluations", policy.title)
            settings = settings_of(policy, evaluation, read)
            text = f"{json.dumps(settings)} in {folder}, {batch} at a time"
            distributed.assert_equal_across_hosts(
                text, "the policy, the benchmarks or the settings"
            )
            held.enter_context(evaluation_folder.opened(folder, settings))
            folder = pathlib.Path(folder)
        except (ValueError, OSError) as error:
            return fail(error)
        introduce(policy, settings, folder, display)
        try:
            draw(policy, evaluation, read, plans, mesh, folder, display)
            conclude(folder, read, settings, display)
        except Interrupted as interrupted:
            display.note(f"{interrupted}. The same command goes on from there.")
            return interrupted.exit_status
        except (ValueError, OSError) as error:  # of a file of responses or of results
            return fail(error)
    return 0


def introduce(policy, settings, folder, display):
    """Says what is about to be drawn, and where it goes."""
    if policy.step is None and isinstance(policy.template, Template):
        display.note(f"{policy.name} has no chat template: it is asked in plain text")
    devices = f"{jax.device_count()} {jax.default_backend()} device(s)"
    display.note(f"{settings['policy']}\non {devices}, in {folder}")


def draw(policy, evaluation, read, plans, mesh, folder, display):
    """Draws and grades what is missing of the responses to each benchmark."""
    with Interrupts(display) as interrupts:
        for benchmark, plan in zip(read, plans, strict=True):
            with make_verifier(grading_of(policy, benchmark)) as verifier:
                generate.complete(
                    policy.decoder,
                    benchmark,
                    responder_of(policy, evaluation, benchmark, plan, verifier, mesh),
                    plan,
                    folder / f"{benchmark.name}.jsonl",
                    display,
                    interrupts,
                )


def usual(policy, given):
    """Returns the `Evaluation` of a policy: what is given, and else the usual."""
    lengths = {
        "prompt_length": policy.prompt_length,
        "response_length": policy.response_length,
    }
    return benchmarks.Evaluation(**(lengths | given))


def check(policy, evaluation, read, batch, mesh):
    """Refuses what cannot be drawn. Returns the `BatchPlan` of each benchmark."""
    for benchmark in read:
        validation.check_grader(
            policy.template,
            grading_of(policy, benchmark).grader,
            benchmark.problems,
            benchmark.name,
        )
        pipeline.check_fits(
            benchmark.problems,
            policy.template,
            policy.tokenizer,
            prompt_length=evaluation.prompt_length,
        )
    return [
        plan_batches(len(one.problems), evaluation.samples, batch, mesh.size)
        for one in read
    ]


def settings_of(policy, evaluation, read):
    """Returns what an evaluation depends on, as `evaluation_folder.opened` takes it."""
    drawn = dataclasses.asdict(evaluation)
    return {
        "policy": f"{policy.title}: {evaluation.samples} responses of at most "
        f"{evaluation.response_length} tokens, temperature {evaluation.temperature:g}, "
        f"top-p {evaluation.top_p:g}",
        "answers": policy.settings() | {"evaluation": drawn},
        "benchmarks": {
            benchmark.name: benchmark.settings(policy.grading.grader)
            for benchmark in read
        },
        "revisions": provenance.revisions((policy.template, policy.tokenizer)),
    }


def grading_of(policy, benchmark):
    """Returns how the answers to a benchmark are checked: a `config.Grading`."""
    grader = benchmark.grader_of(policy.grading.grader)
    return dataclasses.replace(policy.grading, grader=grader)


def responder_of(policy, evaluation, benchmark, plan, verifier, mesh):
    """Returns how a benchmark is put to a policy."""
    key = key_for("evaluation", evaluation.seed)
    return make_responder(
        policy,
        verifier,
        mesh,
        jax.random.fold_in(key, zlib.crc32(benchmark.name.encode())),
        evaluation.prompt_length,
        responses=plan.responses,
        length=evaluation.response_length,
        temperature=evaluation.temperature,
        top_p=evaluation.top_p,
    )


def conclude(folder, read, settings, display):
    """Writes and shows what an evaluation has come to, in the first process."""
    with distributed.raise_on_all_hosts():
        if jax.process_index() == 0:
            display.stage("counting")
            with created(folder):
                write_results(folder, read, settings, display)


def write_results(folder, read, settings, display):
    """Writes the texts, the results, their tables and their picture."""
    samples = settings["answers"]["evaluation"]["samples"]
    rows = {one.name: write_texts(folder, one, samples) for one in read}
    for name, about in evaluation_folder.read_settings(folder)["benchmarks"].items():
        if name not in rows:  # of an earlier call, if it was finished
            earlier = finished(folder / f"{name}.jsonl", about["problems"], samples)
            rows |= {name: earlier} if earlier else {}
    found = {
        "benchmarks": {name: scores.of_benchmark(rows[name]) for name in rows},
        "average": scores.average([*rows.values()]) if len(rows) > 1 else None,
    }
    (folder / "results.json").write_text(json.dumps(found, indent=2) + "\n")
    text = tables.evaluation_markdown(settings["policy"], found)
    (folder / "results.md").write_text(text, encoding="utf-8")
    picture = draw_results(settings["policy"], found, folder / "results.png")
    display.note(text)
    display.note(f"The picture is {picture}; the responses are in {folder}/*.txt")
    display.note(f"Compare policies: maspo compare {folder} OTHER_FOLDER")


def finished(path, problems, samples):
    """Returns the rows of each problem without the texts; [] if some are missing."""
    try:
        drawn = list(responses.read_responses(path, problems, samples))
    except ValueError:
        return []
    return [[row | {"response": None} for row in rows] for rows in drawn]


def write_texts(folder, benchmark, samples):
    """Writes the responses for reading. Returns the rows of each problem without them.

    They may take gigabytes, so they are read one problem at a time.
    """
    count, kept = len(benchmark.problems), []
    drawn = responses.read_responses(folder / f"{benchmark.name}.jsonl", count, samples)
    with (folder / f"{benchmark.name}.txt").open("w", encoding="utf-8") as file:
        for problem, rows in zip(benchmark.problems, drawn, strict=True):
            file.writelines(tables.readable(problem, rows))
            kept.append([row | {"response": None} for row in rows])
    return kept
