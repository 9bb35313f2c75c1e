"""What an update costs whose responses are packed, or read in buckets of length.

    python experiments/benchmarks/packing.py [--json FILE] [--out FILE.md]

A tiny policy learns from one rollout batch of responses of heavy-tailed length: padded
rows, packed ones, and microbatches of like length, in one process. Each reads the
median CPU seconds of an update and of the log-probabilities before it, compiled, and
the share of what is read that is padding. All learn from the same responses.
"""

import dataclasses
import statistics
import time

import jax
import numpy as np
import turns  # beside this file

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

PROMPTS, RESPONSES, PROMPT, RESPONSE = 16, 16, 32, 224
MEAN = 0.15  # of the responses, as a share of the longest
WAYS = {
    "padded": {},
    "packed": {"row_length": PROMPT + RESPONSE},
    "buckets": {"length_buckets": 4},
}


def main():
    """Measures all ways, one after another."""
    options = turns.arguments(__doc__).parse_args()
    page = turns.Page("Packing", options, packages=("jax", "flax"))
    prompts = 2 if options.tiny else PROMPTS
    page.say(
        f"A policy of width 64 and 2 layers learns from {prompts * RESPONSES} "
        f"responses of up to {RESPONSE} tokens (lognormal, {MEAN:.0%} of that in the "
        f"mean) to prompts of {PROMPT}, in two updates of 4 microbatches, float32: "
        "medians of the CPU seconds."
    )
    rows, padded = [], {}
    for name, updates in WAYS.items():
        found = measure(updates, prompts, options.turns or 3)
        rows.append([name])
        for part, (seconds, _) in found.items():
            padded.setdefault(part, seconds)
            page.compare(f"{part}, {name}", seconds, padded[part], "padded rows")
            rows[-1] += [seconds, padded[part] / seconds]
        rows[-1].append(f"{found['update'][1]:.1%}")
    heads = "score, CPU s", "times faster", "update, CPU s", "times faster", "padding"
    page.table(("rows", *heads), rows)
    page.say(
        "What bounds it: what is read, padding included, at the rate of so small "
        "products; attention over a packed row costs what one long response would."
    )
    page.write()


def experiment_of(updates, prompts):
    """Returns an experiment of two updates a step, in 4 microbatches each."""
    tokenizer = arithmetic.tokenizer()
    chains = arithmetic.Chains(numbers=6)
    return Experiment(
        policy=DecoderConfig(vocabulary=tokenizer.size, width=64, depth=2),
        tokenizer=tokenizer,
        train_set=chains,
        validation=Validation(dataclasses.replace(chains, split="test")),
        sampling=Sampling(prompts, RESPONSES, PROMPT, RESPONSE),
        objective=Objective(gates.Maspo()),
        optimization=Optimization(1e-4),
        updates=Updates(minibatches=2, microbatches=4, **updates),
        steps=1,
    )


def rollout_of(learner):
    """Returns a `RewardedRollout` of random tokens."""
    prompts = learner.experiment.sampling.prompts
    draw, rows = np.random.default_rng(0), prompts * RESPONSES
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
    reward = draw.integers(0, 2, (prompts, RESPONSES)).astype(np.float32)
    problems = [Problem(str(n), "?", "0") for n in range(prompts)]
    rollout = distributed.shard_rows(rollout, learner.mesh)
    return RewardedRollout(problems, rollout, reward, reward.reshape(-1) == 1, [], {})


def measure(updates, prompts, repeats):
    """Returns {part of a step: (median CPU seconds, share of padding)}."""
    experiment = experiment_of(updates, prompts)
    mesh = distributed.make_mesh(devices=jax.devices()[:1])
    learner = learners.build(experiment, mesh)
    state = states.begin(experiment, learner.optimizer, mesh)
    rollout, found = rollout_of(learner), {"score": [], "update": []}
    for _ in range(repeats + 1):
        begun = time.process_time()
        batch, metrics = jax.block_until_ready(learner.assemble(state.policy, rollout))
        minibatch, _ = jax.block_until_ready(list(learner.minibatches(batch, 1)))
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
    main()
