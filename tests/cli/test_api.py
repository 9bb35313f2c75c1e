"""What the commands do, as functions: values come back, and errors are raised."""

import dataclasses
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, TINY, run
from flax import struct
from support.evaluations import evaluation

import maspo_jax
from maspo_jax.cli import export
from maspo_jax.cli.main import COMMANDS
from maspo_jax.config import Objective, loading
from maspo_jax.data.prompts import Template
from maspo_jax.data.sources import Problem
from maspo_jax.runs import run_folder


@struct.dataclass
class Mine:
    """A gate of a cell of a notebook."""

    share: float = 0.5

    def __call__(self, log_ratio, advantage, old_logprob):
        return self.share + 0 * log_ratio


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """A run whose gate came from a cell, whose module is `__main__`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Mine, "__module__", "__main__")
        patch.setattr(sys.modules["__main__"], "Mine", Mine, raising=False)
        experiment = loading.load(TINY, ["--steps", "2", "--sft.phases.0.updates", "8"])
        experiment = dataclasses.replace(experiment, objective=Objective(Mine()))
        folder = tmp_path_factory.mktemp("runs") / "mine"
        yield maspo_jax.train(experiment, run_dir=folder, quiet=True)


def test_metrics_are_arrays_by_stage(result):
    steps = result.metrics["reinforcement"]
    assert steps["step"].tolist() == [1, 2] and steps["reward"].dtype == np.float64
    for stage in ("sft", "update", "validation"):
        lines = run_folder.read_metrics(result.run_dir, stage)
        found = result.metrics[stage]
        assert found["step"].tolist() == [line["step"] for line in lines]
        assert set(found) == set().union(*lines) - {"stage"}


def test_a_file_is_no_experiment_until_it_is_loaded():
    with pytest.raises(TypeError, match=r"config\.load\(FILE\) returns"):
        maspo_jax.train("experiments/arithmetic.py")


def test_a_policy_is_shown_in_a_line(result):
    assert len(repr(result.policy)) < 1000


def test_the_policy_answers(result):
    drawn = maspo_jax.sample(result.policy, ["2+3=?", "4+4=?", "9-1=?"], n=4, batch=8)
    assert [len(responses) for responses in drawn] == [4, 4, 4]
    # Nobody said what is right: nothing is graded.
    assert {(one.verdict, one.reward) for each in drawn for one in each} == {
        (None, None)
    }
    assert len({one.text for each in drawn for one in each}) > 1
    again = maspo_jax.sample(result.policy, ["2+3=?", "4+4=?", "9-1=?"], n=4)
    assert again == drawn  # whatever the batches


def test_problems_are_graded(result):
    problems = [Problem("a", "2+3=?", "5"), Problem("b", "1+1=?", "2")]
    ((one,), (other,)) = maspo_jax.sample(result.policy, problems, temperature=0)
    for response, problem in ((one, problems[0]), (other, problems[1])):
        graded = maspo_jax.grade(response.text, problem.answer)
        assert response.verdict == graded


def test_scores_are_plain_data(result, chain_files, tmp_path):
    out = tmp_path / "out"
    scores = maspo_jax.evaluate(
        result.policy, chain_files, out=out, samples=8, batch=32, quiet=True
    )
    assert scores == json.loads((out / "results.json").read_text())
    assert set(scores["benchmarks"]) == {"short", "two"}


def test_a_gate_of_a_cell_is_not_needed_to_evaluate_or_export(
    result, chain_files, tmp_path, monkeypatch
):
    record = json.loads((result.run_dir / "config.json").read_text())
    assert record["objective"]["gate"]["class"] == "__main__:Mine"
    monkeypatch.delattr(sys.modules["__main__"], "Mine")
    with pytest.raises(ValueError, match="run that cell first"):
        run_folder.read_experiment(result.run_dir)
    status, output = evaluation(result.run_dir, chain_files[0], out=tmp_path / "out")
    assert status == 0, output
    status, output = run(export, result.run_dir, "--out", tmp_path / "exported")
    assert status == 0, output
    asked = "exported FILE --template plain --prompt-length 6 --response-length 14"
    assert asked in output
    own = dataclasses.replace(result.policy, template=Template("mine", before="Q: "))
    told = export.asked_as(own, tmp_path / "out", "runs/mine")
    assert told == "Its template has no name for --template: evaluate runs/mine instead"
    told = export.asked_as(result.policy, "with space", "runs/mine")
    assert "maspo evaluate 'with space' FILE --template plain" in told


def test_what_cannot_run_is_raised(tmp_path):
    experiment = loading.load(TINY)
    with pytest.raises(ValueError, match="steps=-1: must lie in"):
        maspo_jax.train(dataclasses.replace(experiment, steps=-1), tmp_path / "run")
    with pytest.raises(FileNotFoundError, match="no policy"):
        maspo_jax.load_policy(tmp_path / "none")
    with pytest.raises(ValueError, match="deadline=0: give seconds"):
        maspo_jax.grade("5", "5", deadline=0)
    assert not (tmp_path / "run").exists()


def test_a_question_too_long_or_a_bad_setting_is_raised(result):
    with pytest.raises(ValueError, match="Raise the length to at least"):
        maspo_jax.sample(result.policy, ["1+2+3+4+5=?"])
    with pytest.raises(ValueError, match="top_p=2"):
        maspo_jax.sample(result.policy, ["1+2=?"], top_p=2)


def test_what_is_no_list_is_refused_with_the_remedy(result):
    with pytest.raises(TypeError, match=r"give a list of them, \['2\+3=\?'\]"):
        maspo_jax.sample(result.policy, "2+3=?")
    with pytest.raises(ValueError, match=r"questions=\[\]: give at least one"):
        maspo_jax.sample(result.policy, [])
    for name in ("prompt_length", "response_length"):
        with pytest.raises(ValueError, match=f"{name}=0: must lie in"):
            maspo_jax.sample(result.policy, ["1+2=?"], **{name: 0})
    with pytest.raises(TypeError, match="give a list of them"):
        maspo_jax.evaluate(result.policy, "a.jsonl", quiet=True)
    with pytest.raises(ValueError, match="give at least one"):
        maspo_jax.evaluate(result.policy, [], quiet=True)


def test_problems_of_the_session_are_evaluated(result, tmp_path):
    problems = [Problem(str(n), f"{n}+1=?", str(n + 1)) for n in range(4)]
    scores = maspo_jax.evaluate(
        result.policy, [("mine", problems)], out=tmp_path / "o", samples=2, quiet=True
    )
    assert scores["benchmarks"]["mine"]["problems"] == 4
    rows = (tmp_path / "o" / "mine.jsonl").read_text().splitlines()
    assert [json.loads(row)["gold"] for row in rows[::2]] == ["1", "2", "3", "4"]


def test_answers_are_graded_as_by_the_command():
    assert maspo_jax.grade(r"so \boxed{0.5}", r"\frac12").outcome == "correct"
    assert maspo_jax.grade(r"so \boxed{0.6}", r"\frac12").reward == 0


SUBCOMMANDS = [name for group in COMMANDS.values() for name in group]


def test_neither_the_package_nor_a_page_of_help_loads_jax():
    code = f"""
import contextlib, io, sys
import maspo_jax
from maspo_jax.cli.main import main
for words in [["--help"], ["--version"], *([name, "--help"] for name in {SUBCOMMANDS})]:
    page = io.StringIO()
    with contextlib.redirect_stdout(page), contextlib.suppress(SystemExit):
        main(words)
    assert page.getvalue(), words
    print(words[0], *({{"jax", "sympy", "matplotlib", "scipy"}} & set(sys.modules)))
"""
    shown = subprocess.check_output([sys.executable, "-c", code], text=True)
    lines = [line.strip() for line in shown.splitlines()]
    assert lines == ["--help", "--version", *SUBCOMMANDS]


def test_types_are_shipped():
    package = pathlib.Path(maspo_jax.__file__).parent
    assert (package / "py.typed").is_file()
    assert "py.typed" in (ROOT / "setup.cfg").read_text()
