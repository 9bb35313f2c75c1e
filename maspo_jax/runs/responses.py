"""Responses as text, with what an update saw of each token, for people to read."""

import json
import pathlib

import jax
import numpy as np

from maspo_jax import distributed
from maspo_jax.objectives.ratios import MAX_LOG_RATIO


def write_responses(folder, step, tokenizer, problems, rewards, batch, trace):
    """Writes the responses of a step's last update, one JSON line each.

    Args:
        folder: of the run; every process of a pod writes a file of its own.
        step: which.
        tokenizer: of the policy.
        problems: all P of the step.
        rewards: of all N responses of the step.
        batch: the `TrainBatch` of the update.
        trace: the `surrogate.TokenTrace` of the update.
    """
    folder = pathlib.Path(folder) / "rollouts"
    folder.mkdir(exist_ok=True)
    part = f".{jax.process_index()}" if jax.process_count() > 1 else ""
    group = len(rewards) // len(problems)
    batch, trace = distributed.local_rows((batch, trace))
    with (folder / f"step_{step:06d}{part}.jsonl").open("w") as file:
        for index, row in enumerate(batch.row):
            problem = problems[row // group]
            record = {
                "problem": problem.id,
                "question": problem.question,
                "answer": problem.answer,
                "reward": float(rewards[row]),
                **response_record(index, batch, trace, tokenizer),
            }
            file.write(json.dumps(record) + "\n")


def response_record(row, batch, trace, tokenizer):
    """Returns a response and what an update saw of its tokens, as plain data.

    `advantage` is one number, or a list where it differs between tokens.
    """
    mask = batch.sequences.response_mask[row]
    tokens = batch.sequences.response[row][mask]
    old_logprob = batch.old_logprob[row][mask]
    difference = trace.logprob[row][mask] - old_logprob
    ratio = np.exp(np.clip(difference, -MAX_LOG_RATIO, MAX_LOG_RATIO))
    rounded = lambda values: [round(float(value), 4) for value in values]
    advantage = batch.advantage[row][mask]
    same = (advantage == advantage[0]).all()
    record = {
        "response": tokenizer.decode(tokens),
        "advantage": rounded(advantage[:1])[0] if same else rounded(advantage),
        "tokens": [tokenizer.decode([token]) for token in tokens],
        "old_logprob": rounded(old_logprob),
        "ratio": rounded(ratio),
        "gate": rounded(trace.gate[row][mask]),
    }
    if batch.policy_version is not None:
        record["policy_version"] = int(batch.policy_version[row])
    return record
