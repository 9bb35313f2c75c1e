"""What an update costs whose responses are packed, or read in buckets of length.

    python experiments/benchmarks/packing.py [--json FILE]

A tiny policy learns from one rollout batch of responses of heavy-tailed length: padded
rows, packed ones, and microbatches of like length, in one process. Each reads the
median CPU seconds of an update and of the log-probabilities before it, compiled, and
the share of what is read that is padding. Results are those of the same responses.
"""

import argparse
import dataclasses
import json
import statistics
import time

import jax
import numpy as np

from maspo_jax import distributed
from maspo_jax.config import (
    Experiment,
    Objective,
    Optimization,
    Sampling,
    Updates,
    Validation,
)
from maspo_jax.data.sources import Problem, arithmetic
from maspo_jax.learning import learner as learners
from maspo_jax.learning import train_state as states
from maspo_jax.models.decoder import DecoderConfig
from maspo_jax.objectives import gates
from maspo_jax.rollout.worker import RewardedRollout
from maspo_jax.types import Rollout, Sequences

PROMPTS, RESPONSES, PROMPT, RESPONSE = 8, 16, 32, 224
MEAN = 0.15  # of the responses, as a share of the longest
WAYS = {
    "padded": {},
    "packed": {"row_length": PROMPT + RESPONSE},
    "buckets": {"length_buckets": 4},
}


def main(words=None):
    """Measures all ways. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", help="a file for the rows of the table")
    options = parser.parse_args(words)
    rows, padded = [], {}
    for name, updates in WAYS.items():
        for part, (seconds, share) in measure(updates, options.repeats).items():
            padded.setdefault(part, seconds)
            ratio = padded[part] / seconds
            timed = f"{part:8} {name:8} {seconds:7.3f} s  {ratio:5.2f}x"
            print(f"{timed}  padding {share:.1%}")
            rows.append(
                {
                    "name": f"{part}, {name}",
                    "ours": seconds,
                    "peer": padded[part],
                    "ratio": ratio,
                    "unit": "CPU seconds",
                    "peer_name": "padded rows",
                }
            )
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"rows": rows}, file, indent=1)
    return 0


def experiment_of(updates):
    """Returns an experiment whose minibatch is its rollout batch, in 4 microbatches."""
    tokenizer = arithmetic.tokenizer()
    chains = arithmetic.Chains(numbers=6)
    return Experiment(
        policy=DecoderConfig(vocabulary=tokenizer.size, width=64, depth=2),
        tokenizer=tokenizer,
        train_set=chains,
        validation=Validation(dataclasses.replace(chains, split="test")),
        sampling=Sampling(PROMPTS, RESPONSES, PROMPT, RESPONSE),
        objective=Objective(gates.Maspo()),
        optimization=Optimization(1e-4),
        updates=Updates(minibatches=1, microbatches=4, **updates),
        steps=1,
    )


def rollout_of(learner):
    """Returns a `RewardedRollout` of random tokens."""
    draw, rows = np.random.default_rng(0), PROMPTS * RESPONSES
    size = learner.experiment.decoder.vocabulary
    lengths = draw.lognormal(np.log(MEAN * RESPONSE) - 0.5, 1.0, rows)
    lengths = np.clip(lengths.astype(int), 1, RESPONSE)
    mask = np.arange(RESPONSE)[None] < lengths[:, None]
    sequences = Sequences(
        draw.integers(0, size, (rows, PROMPT), np.int32),
        np.ones((rows, PROMPT), bool),
        draw.integers(0, size, (rows, RESPONSE), np.int32),
        mask,
    )
    rollout = Rollout(sequences, np.where(mask, np.float32(-1), 0))
    reward = draw.integers(0, 2, (PROMPTS, RESPONSES)).astype(np.float32)
    problems = [Problem(str(n), "?", "0") for n in range(PROMPTS)]
    rollout = distributed.shard_rows(rollout, learner.mesh)
    return RewardedRollout(problems, rollout, reward, reward.reshape(-1) == 1, [], {})


def measure(updates, repeats):
    """Returns {part of a step: (median CPU seconds, share of padding)}."""
    experiment = experiment_of(updates)
    mesh = distributed.make_mesh(devices=jax.devices()[:1])
    learner = learners.build(experiment, mesh)
    state = states.begin(experiment, learner.optimizer, mesh)
    rollout, found = rollout_of(learner), {"score": [], "update": []}
    for _ in range(repeats + 1):
        begun = time.process_time()
        batch, metrics = jax.block_until_ready(learner.assemble(state.policy, rollout))
        (minibatch,) = jax.block_until_ready(list(learner.minibatches(batch, 1)))
        scored = time.process_time()
        state, _, _ = jax.block_until_ready(learner.update(state, minibatch))
        found["score"].append(scored - begun)
        found["update"].append(time.process_time() - scored)
    share = metrics.get("padding")
    if share is None:
        share = padding(minibatch.sequences)
    return {part: (statistics.median(t[1:]), share) for part, t in found.items()}


def padding(sequences):
    """Returns the share of what is read of rows that are not packed."""
    read = np.asarray(sequences.prompt_mask).sum(1) - 1
    read = read + np.asarray(sequences.response_mask).sum(1)
    parts = read.reshape(4, -1)
    widths = np.full(4, PROMPT + RESPONSE - 1)
    if sequences.reading is not None:
        choices = np.array(sequences.reading.widths)
        widths = choices[np.searchsorted(choices, parts.max(axis=1))]
    return 1 - parts.sum() / (widths * parts.shape[1]).sum()


if __name__ == "__main__":
    raise SystemExit(main())
