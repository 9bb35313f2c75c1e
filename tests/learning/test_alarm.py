"""The alarm of the answer checker, as a run shows and logs it."""

import pytest
from conftest import TINY, command

from maspo_jax.rewards import Verdict, Verifier
from maspo_jax.runs import run_folder


@pytest.mark.parametrize("outcome, rings", [("timeout", True), ("wrong", False)])
def test_a_run_says_once_that_answers_stay_undecided(
    tmp_path, monkeypatch, outcome, rings
):
    def grade(verifier, responses, golds):
        return [Verdict(outcome, response, "worker") for response in responses]

    monkeypatch.setattr(Verifier, "grade", grade)
    folder = tmp_path / "run"
    status, output = command(TINY, "--run", folder)
    assert status == 0, output
    assert output.count("100.0% of the answers ended as timeout") == rings
    for line in run_folder.read_metrics(folder, "reinforcement"):
        assert line["verifier/undecided"] == line["verifier/timeout"] == float(rings)
