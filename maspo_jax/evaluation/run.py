"""One evaluation, from what may be refused to the last response in its folder."""

import contextlib
import dataclasses
import json
import pathlib
import zlib

import jax

from maspo_jax import distributed
from maspo_jax.config import validation
from maspo_jax.data import pipeline
from maspo_jax.data.prompts import Template
from maspo_jax.data.sources import Problem
from maspo_jax.evaluation import benchmarks, evaluation_folder, generate
from maspo_jax.evaluation.protocol import Evaluation
from maspo_jax.rollout import memory
from maspo_jax.rollout.batching import plan_batches
from maspo_jax.rollout.grading import make_verifier
from maspo_jax.rollout.responder import make_responder
from maspo_jax.rollout.weights import copy_for_sampling
from maspo_jax.runs import provenance
from maspo_jax.runs.interrupts import Interrupts
from maspo_jax.runs.keys import key_for


@contextlib.contextmanager
def complete(policy, read, given, *, batch, folder, display):
    """Completes the responses of a policy to benchmarks, and keeps the folder locked.

    Args:
        policy: a `policies.Policy`.
        read: a list of `Benchmark`.
        given: {field: value} of the `Evaluation` that are not to be the usual ones; the
            lengths are those the policy was trained with unless given.
        batch: responses drawn at a time; None for as many as `usual_batch` says.
        folder: of the evaluation; None for `evaluations/` and the title of the policy.
        display: a `Display`, entered.

    Yields:
        The folder and the settings of the evaluation, as `evaluation_folder` reads it.

    Raises:
        ValueError, OSError: something cannot be drawn, read or written.
        Interrupted: a signal asked to stop; what was drawn is in the folder.
    """
    mesh = policy.mesh
    with distributed.raise_on_all_hosts():
        evaluation = usual(policy, given)
    batch = usual_batch(policy, evaluation) if batch is None else batch
    with distributed.raise_on_all_hosts():
        plans = check_evaluation(policy, evaluation, read, batch, mesh)
    folder = folder or pathlib.Path("evaluations", policy.title)
    settings = settings_of(policy, evaluation, read)
    text = f"{json.dumps(settings)} in {folder}, {batch} at a time"
    distributed.assert_equal_across_hosts(
        text, "the policy, the benchmarks or the settings"
    )
    with evaluation_folder.opened(folder, settings):
        folder = pathlib.Path(folder)
        introduce(policy, settings, folder, display)
        draw(policy, evaluation, read, plans, mesh, folder, display)
        yield folder, settings


def introduce(policy, settings, folder, display):
    """Says what is about to be drawn, and where it goes."""
    if policy.step is None and isinstance(policy.template, Template):
        display.note(f"{policy.name} has no chat template: it is asked in plain text")
    devices = f"{jax.device_count()} {jax.default_backend()} device(s)"
    display.note(f"{settings['policy']}\non {devices}, in {folder}")


def draw(policy, evaluation, read, plans, mesh, folder, display):
    """Draws and grades what is missing of the responses to each benchmark."""
    decoder = copy_for_sampling(policy.decoder, mesh, policy.gather)
    with Interrupts(display) as interrupts:
        for benchmark, plan in zip(read, plans, strict=True):
            with make_verifier(grading_of(policy, benchmark)) as verifier:
                generate.complete(
                    decoder,
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
    return Evaluation(**(lengths | given))


def usual_batch(policy, evaluation):
    """Returns how many responses to draw at a time: no more than the devices hold."""
    return memory.evaluation_batch(
        policy.decoder.config,
        policy.mesh,
        memory.memory_limit(),
        evaluation.prompt_length,
        evaluation.response_length,
        policy.gather,
    )


def check_evaluation(policy, evaluation, read, batch, mesh):
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
        gather=policy.gather,
    )


def respond(policy, questions, given, batch):
    """Returns the responses of a policy to questions, a list for each of them.

    Args:
        policy: a `policies.Policy`.
        questions: a list of texts, or of `Problem`.
        given: {field: value} of the `Evaluation` that are not to be the usual ones.
        batch: the most responses drawn at a time; None for what `usual_batch` says.
    """
    if jax.process_count() > 1:
        raise ValueError(
            "several processes cannot share a list of responses: evaluate a file of "
            "problems instead"
        )
    evaluation, mesh = usual(policy, given), policy.mesh
    problems = [
        Problem(f"question-{number}", one, "") if isinstance(one, str) else one
        for number, one in enumerate(questions)
    ]
    pipeline.check_fits(
        problems,
        policy.template,
        policy.tokenizer,
        prompt_length=evaluation.prompt_length,
    )
    batch = usual_batch(policy, evaluation) if batch is None else batch
    plan = plan_batches(len(problems), evaluation.samples, batch, mesh.size)
    graded = any(problem.answer for problem in problems)
    held = make_verifier(policy.grading) if graded else contextlib.nullcontext()
    decoder, drawn = copy_for_sampling(policy.decoder, mesh, policy.gather), []
    with held as verifier:
        responder = responder_of(
            policy,
            evaluation,
            benchmarks.Benchmark("sample", tuple(problems)),
            plan,
            WhereAnswered(verifier),
            mesh,
        )
        total = plan.problems * plan.samples
        for start in range(0, total, plan.prompts * plan.responses):
            number, first = plan.batch(start)
            asked = [problems[index] for index in number]
            drawn += responder.respond(decoder, asked, number, first)
    size = plan.samples
    return [drawn[begin : begin + size] for begin in range(0, total, size)]


@dataclasses.dataclass(frozen=True)
class WhereAnswered:
    """Grades responses to problems that have an answer, and leaves the others."""

    verifier: object  # a `rewards.Verifier`; None where no problem has an answer

    def grade(self, responses, golds):
        """Returns one `Verdict` per pair, in order, None where there is no gold."""
        verdicts = [None] * len(golds)
        known = [index for index, gold in enumerate(golds) if gold]
        if known:
            pairs = [responses[i] for i in known], [golds[i] for i in known]
            for index, found in zip(known, self.verifier.grade(*pairs), strict=True):
                verdicts[index] = found
        return verdicts
