"""Every response is written once, under its problem and its own number."""

import dataclasses
import json
import types

import pytest

from maspo_jax.data.sources import Problem
from maspo_jax.evaluation import generate
from maspo_jax.evaluation.benchmarks import Benchmark
from maspo_jax.rewards import Verdict
from maspo_jax.rollout.batching import BatchPlan
from maspo_jax.runs.interrupts import Interrupted
from maspo_jax.types import Response

PROBLEMS = tuple(Problem(f"p{n}", f"{n}?", str(n)) for n in range(5))
SAMPLES, GROUP = 4, 2
PLAN = BatchPlan(len(PROBLEMS), SAMPLES, prompts=3, responses=GROUP)


class Responder:
    """Says which problem and which response it was asked for; odd ones are right."""

    def respond(self, policy, problems, number, first):
        drawn = []
        for problem, place, begin in zip(problems, number, first, strict=True):
            assert problem is PROBLEMS[place]
            for sample in range(begin, begin + GROUP):
                outcome = "correct" if sample % 2 else "wrong"
                verdict = Verdict(outcome, None, "")
                text = f"{problem.id}, {sample}"
                drawn.append(Response(text, verdict, verdict.reward, 3, False))
        return drawn


@dataclasses.dataclass
class Display:
    """Remembers what it shows."""

    shown: list = dataclasses.field(default_factory=list)

    def begin(self, *about):
        pass

    stage = begin

    def step(self, done, numbers):
        self.shown.append((done, numbers["accuracy_so_far"]))


def complete(path, interrupts, display):
    benchmark = Benchmark("five", PROBLEMS)
    generate.complete(None, benchmark, Responder(), PLAN, path, display, interrupts)


@pytest.mark.parametrize("stops", [0, 1, 2])
def test_a_file_holds_every_response_once_and_in_order(tmp_path, stops):
    """Also if it is stopped behind batches and started again."""
    path, display = tmp_path / "five.jsonl", Display()
    for _ in range(stops):
        with pytest.raises(Interrupted):
            complete(path, types.SimpleNamespace(requested=15), display)
    complete(path, types.SimpleNamespace(requested=0), display)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    expected = [(p.id, sample) for p in PROBLEMS for sample in range(SAMPLES)]
    assert [(row["problem"], row["sample"]) for row in rows] == expected
    for row in rows:
        assert row["response"] == f"{row['problem']}, {row['sample']}"
        assert row["gold"] == row["problem"].removeprefix("p")
        assert row["outcome"] == ("correct" if row["sample"] % 2 else "wrong")
    assert display.shown == [(6, 0.5), (12, 0.5), (18, 0.5), (20, 0.5)]
