"""Responses to a whole benchmark, in batches of one shape, from where it was left.

for each batch that is missing:
    draw G responses to each of P prompts
    grade them
    append them to the file of the benchmark

What is drawn for a problem depends on the seed, the problem and the number of the
response alone: neither the batches nor the devices change it.
"""

import contextlib
import json
import time

import jax
import numpy as np

from maspo_jax import distributed
from maspo_jax.evaluation import responses
from maspo_jax.runs.interrupts import Interrupted
from maspo_jax.runs.responses import response_row


def complete(policy, benchmark, responder, plan, path, display, interrupts):
    """Draws the responses to a benchmark that its file does not hold yet.

    Args:
        policy: the `Decoder`, as `rollout.weights.copy_for_sampling` returns it.
        benchmark: the `Benchmark`.
        responder: the `Responder`; it draws the plan's number of responses.
        plan: the `BatchPlan`.
        path: of the file; the first process of a pod writes it.
        display: a `Display`, entered.
        interrupts: the `Interrupts`, entered.

    Raises:
        ValueError, OSError: the file holds what is no response, or cannot be written.
        Interrupted: a signal asked to stop; what was drawn is in the file.
    """
    total = plan.problems * plan.samples
    with contextlib.ExitStack() as held:
        append, done, right = None, 0, 0
        with distributed.raise_on_all_hosts():
            if jax.process_index() == 0:
                opened = responses.appended(path, plan.responses)
                append, done, right = held.enter_context(opened)
        done = int(distributed.max_over_hosts(done))
        display.begin(f"{benchmark.name}: response", done, total)
        while done < total:
            display.stage("sampling")
            begun = time.perf_counter()
            lines, table = _next(policy, benchmark, responder, plan, done)
            lines = lines[: total - done]  # without what filled the batch up
            spent = time.perf_counter() - begun
            with distributed.raise_on_all_hosts():
                if append:
                    append(lines)
            done += len(lines)
            kept = table[: len(lines)]
            right += int(kept[:, 0].sum())
            numbers = {
                "accuracy_so_far": right / done,
                "response_length/mean": kept[:, 1].mean(),
            }
            numbers["tokens_per_second"] = table[:, 1].sum() / spent
            display.step(done, numbers)
            number = interrupts.requested
            if number and done < total:
                raise Interrupted(number, f"{done} responses to {benchmark.name}")


def _next(policy, benchmark, responder, plan, start):
    """Draws a batch. Returns its lines, and [N, 2]: correct and length of each."""
    number, first = plan.batch(start)
    problems = [benchmark.problems[index] for index in number]
    drawn = responder.respond(policy, problems, number, first)
    own = distributed.host_slice(plan.prompts)
    lines, table = [], []
    for index, response in enumerate(drawn):
        prompt = own.start + index // plan.responses
        sample = int(first[prompt]) + index % plan.responses
        row = response_row(problems[prompt], sample, response)
        lines.append(json.dumps(row))
        table.append((response.verdict.outcome == "correct", response.length))
    table = distributed.all_gather_hosts(np.array(table))
    return distributed.all_gather_texts(lines), table
