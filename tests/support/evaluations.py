"""Evaluations of the tiny run that many tests start and read."""

import json

from conftest import run

from maspo_jax.cli import evaluate

SAMPLES, BATCH = 8, 32


def evaluation(policy, *words, out, batch=BATCH, samples=SAMPLES):
    """Runs the command in this process. Returns its status and what it printed."""
    words = (*words, "--out", out, "--batch", batch, "--samples", samples)
    return run(evaluate, policy, *words)


def rows(folder, name="short"):
    """Returns the responses to a benchmark, as they are written."""
    lines = (folder / f"{name}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]
