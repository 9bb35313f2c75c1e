"""Two evaluations, side by side: the command, and the folder it leaves."""

import json
import shutil

import numpy as np
import pytest
from conftest import run
from support.evaluations import SAMPLES, evaluation, rows

from maspo_jax.cli import compare
from maspo_jax.evaluation.compare_folders import compare_folders
from maspo_jax.evaluation.evaluation_folder import read_settings


def test_two_evaluations_are_compared(evaluated, tiny_run, chain_files, tmp_path):
    other = tmp_path / "other"
    words = (*chain_files, "--step", 2, "--seed", 1)
    status, output = evaluation(tiny_run, *words, out=other, samples=4)
    assert status == 0, output
    status, output = run(compare, evaluated[0], other, "--out", tmp_path / "compared")
    assert status == 0, output
    names = {path.name for path in (tmp_path / "compared").iterdir()}
    assert names == {f"comparison.{kind}" for kind in ("json", "md", "png", "svg")}
    found = json.loads((tmp_path / "compared" / "comparison.json").read_text())
    assert found["differing"] == ["samples: 8 against 4"]
    assert set(found["scores"]) == {"avg@n", "pass@4"}
    row = found["scores"]["avg@n"]["short"]
    mean = lambda folder: np.mean([r["outcome"] == "correct" for r in rows(folder)])
    assert row["mine"] == pytest.approx(mean(evaluated[0]))
    assert row["difference"] == pytest.approx(mean(evaluated[0]) - mean(other))
    assert row["problems"] == 9
    assert row["corrected"] >= row["p_value"]
    picture = tmp_path / "compared" / "comparison.png"
    assert f"The picture is {picture}; the tables are in " in output


@pytest.fixture
def differing(evaluated, tmp_path):
    """Returns what differs where the settings of the other evaluation are changed."""

    def differing(change):
        other = tmp_path / "other"
        shutil.copytree(evaluated[0], other, dirs_exist_ok=True)
        settings = read_settings(other)
        change(settings["answers"], settings["benchmarks"])
        (other / "evaluation.json").write_text(json.dumps(settings))
        status, output = run(compare, evaluated[0], other, "--out", tmp_path / "out")
        assert status == 0, output
        found = json.loads((tmp_path / "out" / "comparison.json").read_text())
        assert not found["differing"] or "; ".join(found["differing"]) in output
        return found["differing"]

    return differing


def test_what_was_asked_and_how_it_was_graded_differs_too(differing):
    def change(answers, benchmarks):
        answers["evaluation"] |= {"top_p": 0.5}
        answers["template"] |= {"after": " Think!"}
        answers["grader"] = {
            "class": "maspo_jax.rewards.graders:Tolerant",
            "relative": 0.1,
        }
        benchmarks["short"]["grader"] = "countdown"
        benchmarks["two"]["digest"] = "0123"

    found = differing(change)
    assert [line for line in found if not line.startswith("two.digest: ")] == [
        "top_p: 0.95 against 0.5",
        "template.after:  against  Think!",
        "short.grader: grade against countdown",
        "two.grader: grade against Tolerant(relative=0.1)",
    ]
    assert found[-1].startswith("two.digest: ") and found[-1].endswith("against 0123")


def test_where_files_lie_and_what_changes_no_score_does_not_differ(differing):
    """Such as a run from its export, where the benchmark brings the grader."""

    def change(answers, benchmarks):
        answers["evaluation"] |= {"seed": 7, "prompt_length": 999}
        answers["template"] |= {"folder": "a", "path": "b", "revision": "c"}

    assert differing(change) == []


def test_the_grader_of_a_policy_counts_where_a_benchmark_brings_none(
    evaluated, tmp_path
):
    """And that of Minerva is the same, whoever brings it."""
    tolerant = {"class": "maspo_jax.rewards.graders:Tolerant", "relative": 0.01}
    countdown = {"function": "maspo_jax.rewards.graders:countdown"}

    def graded(name, of_policy, of_benchmark):
        folder = tmp_path / name
        shutil.copytree(evaluated[0], folder)
        settings = read_settings(folder)
        settings["answers"]["grader"] = of_policy
        for about in settings["benchmarks"].values():
            about["grader"] = of_benchmark
        (folder / "evaluation.json").write_text(json.dumps(settings))
        return folder

    mine = graded("mine", tolerant, "of the policy")
    own = graded("own", countdown, "Tolerant(relative=0.01)")
    other = graded("other", countdown, "of the policy")
    assert compare_folders(mine, own)["differing"] == []
    found = compare_folders(mine, other)["differing"]
    # `grade`, of problems that are no tasks
    assert found[0] == "short.grader: Tolerant(relative=0.01) against grade"


def test_a_benchmark_of_one_of_them_is_named(differing):
    def change(answers, benchmarks):
        benchmarks["extra"] = benchmarks.pop("two")

    assert differing(change) == [
        "two: only A answered it",
        "extra: only B answered it",
    ]


def test_an_evaluation_does_not_differ_from_itself(evaluated, tmp_path):
    status, output = run(compare, evaluated[0], evaluated[0], "--out", tmp_path)
    assert status == 0 and "is better" not in output
    found = json.loads((tmp_path / "comparison.json").read_text())["scores"]
    for row in (row for score in found.values() for row in score.values()):
        assert row["difference"] == 0 and row["p_value"] == 1 and row["low"] < 0


def test_only_problems_of_both_are_compared(evaluated, tmp_path):
    less = tmp_path / "less"
    shutil.copytree(evaluated[0], less)
    settings = read_settings(less)
    settings["benchmarks"]["short"]["problems"] = 5
    (less / "evaluation.json").write_text(json.dumps(settings))
    lines = (less / "short.jsonl").read_text().splitlines(keepends=True)
    (less / "short.jsonl").write_text("".join(lines[4 * SAMPLES :]))
    status, output = run(compare, evaluated[0], less, "--out", tmp_path / "out")
    assert status == 0, output
    found = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert found["scores"]["avg@n"]["short"]["problems"] == 5
    assert found["scores"]["avg@n"]["short"]["difference"] == 0


def test_what_cannot_be_compared_is_refused(evaluated, tmp_path):
    def changed(name, change):
        folder = tmp_path / name
        shutil.copytree(evaluated[0], folder)
        change(folder)
        return folder

    def cut(folder):
        (folder / "two.jsonl").write_text("")

    def other_gold(folder):
        text = (folder / "short.jsonl").read_text()
        (folder / "short.jsonl").write_text(text.replace('"gold": "', '"gold": "9'))

    def other_names(folder):
        settings = read_settings(folder)
        settings["benchmarks"] = {"else": settings["benchmarks"]["short"]}
        (folder / "evaluation.json").write_text(json.dumps(settings))

    for folder, message in (
        (tmp_path / "none", "is not the folder of an evaluation"),
        (changed("cut", cut), "holds 0 of 48 responses: start the evaluation again"),
        (changed("gold", other_gold), "evaluate both on one file"),
        (changed("names", other_names), "no benchmark in common"),
    ):
        out = tmp_path / "out"
        status, output = run(compare, evaluated[0], folder, "--out", out)
        assert status == 2 and message in output, output
        assert not out.exists()


def test_evaluations_of_one_name_do_not_overwrite_each_other(
    evaluated, tmp_path, monkeypatch
):
    """The usual folder is called by the last names of both, which others may have."""
    monkeypatch.chdir(tmp_path)
    for name in "xyuv":
        shutil.copytree(evaluated[0], tmp_path / name / "eval")
    out = tmp_path / "comparisons" / "eval-eval"
    assert run(compare, "x/eval", "y/eval")[0] == 0
    before = {file: file.read_bytes() for file in out.iterdir()}
    for pair in (("u/eval", "v/eval"), ("y/eval", "x/eval")):
        for words in ((), ("--out", out)):
            status, output = run(compare, *pair, *words)
            names = [str(tmp_path / name) for name in ("x/eval", "y/eval", *pair)]
            said = "the comparison of {} and {}, not of {} and {}: give another folder"
            assert status == 2 and f"{said.format(*names)} with --out" in output
            assert {file: file.read_bytes() for file in out.iterdir()} == before
    status, output = run(compare, "u/eval", "v/eval", "--out", "other")
    assert status == 0, output
    assert run(compare, "x/eval", tmp_path / "y" / "eval")[0] == 0  # the same again
    (out / "comparison.json").write_text('{"scores": {}}')  # of an earlier version
    status, output = run(compare, "x/eval", "y/eval")
    assert status == 2 and "evaluations that it does not name" in output


def test_a_folder_that_cannot_be_is_one_line():
    status, output = run(compare, "a", "b", "--out", "a" * 300)
    assert status == 2 and "--out" in output and "File name too long" in output
