"""The default task, measured as the papers measure: what training did is real."""

import json
import shutil

import pytest
from conftest import ROOT, command, run

from maspo_jax.cli import compare, evaluate
from maspo_jax.data.sources.arithmetic import Chains


@pytest.mark.slow
def test_training_on_chains_is_a_real_gain_on_others(tmp_path):
    source = Chains(numbers=6, split="test", seed=1)
    problems = {source[index].question: source[index] for index in range(64)}
    lines = [
        json.dumps({"id": p.id, "problem": p.question, "answer": p.answer})
        for p in problems.values()
    ]
    (tmp_path / "chains.jsonl").write_text("\n".join(lines))
    after, before = tmp_path / "after", tmp_path / "before"
    experiment = ROOT / "experiments" / "arithmetic.py"
    for steps in (1, 40):
        status, output = command(experiment, "--run", after, "--steps", steps)
        assert status == 0, output
        if steps == 1:
            shutil.copytree(after, before)
    for folder in (after, before):
        words = (folder, tmp_path / "chains.jsonl", "--samples", 8)
        status, output = run(evaluate, *words, "--out", folder / "evaluation")
        assert status == 0, output
    pair = (after / "evaluation", before / "evaluation")
    status, output = run(compare, *pair, "--out", tmp_path / "compared")
    assert status == 0, output
    found = json.loads((tmp_path / "compared" / "comparison.json").read_text())
    row = found["scores"]["avg@n"]["chains"]
    assert row["low"] > 0.2 and row["corrected"] < 0.001
    assert row["mine"] > 0.5 > row["theirs"]
