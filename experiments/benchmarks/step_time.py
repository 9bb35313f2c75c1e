"""What a whole step costs, beside another commit of this project, taking turns.

    git worktree add ../before COMMIT
    python experiments/benchmarks/step_time.py ../before

Two shapes, S and M, on a CPU: 8 prompts of 32 tokens with 8 responses of 64, one
update. Each turn is a new process of `maspo train` with nothing
compiled before, so the first step is that of a new machine; the times of a warm step
are medians over the steps from the third on, of all turns.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parents[2]
SHAPES = {
    "S": dict(vocabulary=1024, width=128, feed_forward=384, query_heads=4),
    "M": dict(vocabulary=4096, width=256, feed_forward=768, query_heads=8),
}
PARTS = ("step", "sampling", "updating")
EXPERIMENT = '''
import dataclasses

import numpy as np

from maspo_jax.config import Experiment, Grading, Objective, Optimization, Sampling
from maspo_jax.config import Updates, Validation
from maspo_jax.data.sources import Problem
from maspo_jax.models.decoder import DecoderConfig
from maspo_jax.objectives import gates
from maspo_jax.rewards import Verdict

SHAPE = {shape}


@dataclasses.dataclass(frozen=True)
class Numbers:
    """A tokenizer: tokens are written as their numbers."""

    vocabulary: int
    bos_tokens = ()
    eos_token_id = 0
    eos_tokens = (0,)
    pad_token_id = 1

    @property
    def size(self):
        return self.vocabulary

    def encode(self, text):
        return [int(word) for word in text.split()]

    def decode(self, tokens):
        return " ".join(str(int(token)) for token in tokens)

    def decode_batch(self, rows):
        return [self.decode(row) for row in rows]


@dataclasses.dataclass(frozen=True)
class Random:
    """Prompts of 32 tokens."""

    vocabulary: int
    first: int = 0
    uniform = True

    def __len__(self):
        return 512

    def __getitem__(self, index):
        index += self.first
        rng = np.random.default_rng(index)
        words = map(str, rng.integers(2, self.vocabulary, 32))
        return Problem(str(index), " ".join(words), "1")


def more_even_than_odd(response, gold):
    words = [word for word in response.split() if word.isdecimal()]
    even = sum(int(word) % 2 == 0 for word in words)
    return Verdict("correct" if even * 2 > len(words) else "wrong", "", "even")


V, heads = SHAPE["vocabulary"], SHAPE["query_heads"]
experiment = Experiment(
    policy=DecoderConfig(
        depth=4,
        key_value_heads=heads // 2,
        head_width=32,
        rope_theta=1e6,
        qk_norm=True,
        **SHAPE,
    ),
    tokenizer=Numbers(V),
    train_set=Random(V),
    validation=Validation(Random(V, 512), problems=8, every=1000),
    sampling=Sampling(prompts=8, responses=8, prompt_length=32, response_length=64),
    objective=Objective(gate=gates.Clip()),
    optimization=Optimization(1e-4),
    updates=Updates(minibatches=1),
    grading=Grading(grader=more_even_than_odd),
    steps=12,
    checkpoint_every=1000,
)
'''


def lines(tree, shape):
    """Trains in a tree. Returns the metrics of its steps, a list of dicts."""
    with tempfile.TemporaryDirectory() as folder:
        file, run = pathlib.Path(folder, "experiment.py"), pathlib.Path(folder, "run")
        file.write_text(EXPERIMENT.format(shape=SHAPES[shape]))
        subprocess.run(
            [sys.executable, "-m", "maspo_jax", "train", str(file), "--run", str(run)],
            cwd=tree,
            env=os.environ | {"PYTHONPATH": str(tree), "JAX_PLATFORMS": "cpu"},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        text = (run / "metrics.jsonl").read_text()
        found = map(json.loads, text.splitlines())
        return [line for line in found if line["stage"] == "reinforcement"]


def main():
    """Prints a table: seconds per shape and tree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("others", nargs="*", type=pathlib.Path, help="other checkouts")
    parser.add_argument("--turns", type=int, default=2)
    options = parser.parse_args()
    trees = [*(other.resolve() for other in options.others), HERE]
    heads = ["shape", "tree", "first step", *(f"{part}, warm" for part in PARTS)]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for shape in SHAPES:
        turns = [[lines(tree, shape) for tree in trees] for _ in range(options.turns)]
        for tree, runs in zip(trees, zip(*turns, strict=True), strict=True):
            first = statistics.median(run[0]["time/step"] for run in runs)
            warm = [line for run in runs for line in run[3:]]
            spent = [
                statistics.median(line[f"time/{p}"] for line in warm) for p in PARTS
            ]
            numbers = " | ".join(f"{number:.2f}" for number in (first, *spent))
            print(f"| {shape} | {tree.name} | {numbers} |", flush=True)


if __name__ == "__main__":
    main()
