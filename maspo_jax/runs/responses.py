"""Responses as rows of JSON lines, for people to read: those of training and of others.

One row is one response; its `FIELDS` mean the same in the `rollouts/` of a run and in
the files of an evaluation. Those of training go on with what an update saw of each
token. (Before, rows of training called the reference `answer`, had nothing else of the
verdict but the reward, and left out the `<think>` of a prompt that ends in it.)
"""

import json
import pathlib

import jax
import numpy as np

from maspo_jax import distributed
from maspo_jax.objectives.ratios import MAX_LOG_RATIO
from maspo_jax.storage import write_whole, writing

# problem: its id; sample: which of its responses, from 0; gold: the reference answer;
# outcome, answer, rule, reward: of the verdict, the answer as it was extracted; length:
# in tokens; response: the text that was graded, as `maspo grade GOLD` takes it.
FIELDS = (
    *("problem", "sample", "gold", "outcome", "answer", "rule"),
    *("reward", "length", "truncated", "response"),
)


def response_row(problem, sample, response):
    """Returns the `FIELDS` of one response, as plain data.

    Args:
        problem: the `Problem` it answers.
        sample: which of its responses, from 0.
        response: the `Response`.
    """
    verdict = response.verdict
    values = (
        *(problem.id, sample, problem.answer),
        *(verdict.outcome, verdict.answer, verdict.rule),
        *(response.reward, response.length, response.truncated, response.text),
    )
    return dict(zip(FIELDS, values, strict=True))


def write_responses(folder, step, tokenizer, rollout, batch, trace, later=None):
    """Writes the responses of a step's last update, one JSON line each.

    Called by every process of a pod: each writes a file of its own, of the rows of the
    update that it holds, and learns from the others what it did not grade itself.

    Args:
        folder: of the run.
        step: which.
        tokenizer: of the policy.
        rollout: the `RewardedRollout` of the step; its arrays may be gone.
        batch: the `TrainBatch` of the update.
        trace: the `surrogate.TokenTrace` of the update.
        later: called with a function without arguments that makes the lines and writes
            them, when all that processes exchange is there; None: they are written now.

    Raises:
        WriteError: they cannot be written; no part of a file is left.
    """
    part = f".{jax.process_index()}" if jax.process_count() > 1 else ""
    problems = rollout.problems
    group = len(rollout.correct) // len(problems)
    batch, trace = distributed.local_rows((batch, trace))
    updated = set(distributed.all_gather_hosts(batch.row).tolist())
    graded = {
        row: response_row(problems[row // group], row % group, response)
        for row, response in rollout.own_responses().items()
        if row in updated
    }
    texts = distributed.all_gather_texts([json.dumps([*graded.items()])])
    everyones = dict(pair for text in texts for pair in json.loads(text))
    file = pathlib.Path(folder, "rollouts", f"step_{step:06d}{part}.jsonl")

    def write():
        of_rows = everyones, problems, group
        _write_lines(file, tokenizer, *of_rows, batch, trace)

    write() if later is None else later(write)


def _write_lines(file, tokenizer, everyones, problems, group, batch, trace):
    """Writes a line for each row of an update. Needs neither devices nor processes.

    Args:
        file: where to.
        tokenizer: of the policy.
        everyones: {row: its `FIELDS`}, by whoever graded it.
        problems: P, of the step.
        group: G.
        batch: the `TrainBatch` of this process, as NumPy.
        trace: its `surrogate.TokenTrace`, likewise.
    """
    with writing(file.parent):
        file.parent.mkdir(exist_ok=True)
    lines = []
    for index, row in enumerate(batch.row.tolist()):
        question = {"question": problems[row // group].question}
        seen = token_fields(index, batch, trace, tokenizer)
        lines.append(json.dumps(everyones[row] | question | seen) + "\n")
    write_whole(file, "".join(lines))


def token_fields(row, batch, trace, tokenizer):
    """Returns what an update saw of the tokens of a response, as plain data.

    `advantage` is one number, or a list where it differs between tokens.
    """
    mask = batch.sequences.response_mask[row]
    tokens = batch.sequences.response[row][mask]
    logprob = trace.logprob[row][mask]
    old_logprob = logprob if batch.old_logprob is None else batch.old_logprob[row][mask]
    difference = logprob - old_logprob
    ratio = np.exp(np.clip(difference, -MAX_LOG_RATIO, MAX_LOG_RATIO))
    rounded = lambda values: [round(float(value), 4) for value in values]
    advantage = batch.advantage[row][mask]
    same = (advantage == advantage[0]).all()
    found = {
        "advantage": rounded(advantage[:1])[0] if same else rounded(advantage),
        "tokens": tokenizer.decode_batch([[token] for token in tokens.tolist()]),
        "old_logprob": rounded(old_logprob),
        "ratio": rounded(ratio),
        "gate": rounded(trace.gate[row][mask]),
    }
    if batch.policy_version is not None:
        found["policy_version"] = int(batch.policy_version[row])
    return found
