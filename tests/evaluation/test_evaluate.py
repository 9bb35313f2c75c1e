"""The command, from its words to the folder it leaves."""

import io
import itertools
import json
import pathlib

import numpy as np
import pytest
import rich.console
from conftest import mesh_of
from support.evaluations import BATCH, SAMPLES, evaluation, rows

import maspo_jax
from maspo_jax import distributed
from maspo_jax.data.sources import Problem
from maspo_jax.evaluation import benchmarks, evaluation_folder, generate
from maspo_jax.rewards import Verdict
from maspo_jax.runs import display


def test_an_evaluation_leaves_what_it_promises(evaluated):
    folder, output = evaluated
    assert {path.name for path in folder.iterdir()} == {
        "evaluation.json",
        *("short.jsonl", "short.txt", "two.jsonl", "two.txt"),
        *("results.json", "results.md", "results.png", "results.svg"),
    }
    assert (folder / "results.png").read_bytes().startswith(b"\x89PNG")
    tables = (folder / "results.md").read_text()
    assert tables.strip() in output and "right so far" in output
    heads = "| benchmark | problems | avg@8 | drawing again | pass@8 | best@8 |"
    assert heads in " ".join(tables.split())
    assert "tiny_step_4: 8 responses of at most 14 tokens, temperature 0.6" in tables
    assert len(rows(folder)) == 9 * SAMPLES and len(rows(folder, "two")) == 6 * SAMPLES


def test_the_results_are_those_of_the_responses(evaluated):
    folder, _ = evaluated
    results = json.loads((folder / "results.json").read_text())
    found, drawn = results["benchmarks"]["short"], rows(folder)
    right = np.array([row["outcome"] == "correct" for row in drawn]).reshape(9, SAMPLES)
    assert 0 < right.sum() < right.size, "or these tests would see nothing"
    assert found["avg"]["mean"] == pytest.approx(right.mean())
    assert found["pass"]["8"]["mean"] == pytest.approx(right.any(axis=1).mean())
    assert found["pass"]["1"] == found["avg"]
    best = np.mean(1 - (1 - right.mean(axis=1)) ** 8)
    assert found["best"]["8"]["mean"] == pytest.approx(best)
    assert found["length"] == pytest.approx(np.mean([row["length"] for row in drawn]))
    assert sum(found["outcomes"].values()) == pytest.approx(1)
    assert found["outcomes"]["correct"] == pytest.approx(right.mean())
    cut = [row["length"] == 14 and row["truncated"] for row in drawn]
    assert found["truncated"] == pytest.approx(np.mean(cut))
    average = np.mean([part["avg"]["mean"] for part in results["benchmarks"].values()])
    assert results["average"]["avg"]["mean"] == pytest.approx(average)


def half(response, gold):
    """A grader that rewards what is wrong."""
    return Verdict("wrong", "", "half", reward=0.5)


def test_what_is_shown_counts_correct_answers_not_rewards(
    tiny_run, tmp_path, monkeypatch
):
    shown = io.StringIO()
    console = rich.console.Console(file=shown, width=200)
    monkeypatch.setattr(display.rich.console, "Console", lambda **_: console)
    problems = [Problem(str(number), "1+2=", "3") for number in range(4)]
    maspo_jax.evaluate(
        maspo_jax.load_policy(tiny_run),
        [benchmarks.Benchmark("four", problems, half)],
        out=tmp_path / "out",
        samples=2,
    )
    assert "right so far 0.0%" in shown.getvalue()
    assert {row["reward"] for row in rows(tmp_path / "out", "four")} == {0.5}


def test_responses_can_be_read(evaluated):
    folder, _ = evaluated
    drawn, text = rows(folder), (folder / "short.txt").read_text()
    for start in range(0, len(drawn), SAMPLES):
        group = drawn[start : start + SAMPLES]
        right = [row for row in group if row["outcome"] == "correct"]
        assert [row["sample"] for row in group] == list(range(SAMPLES))
        assert f"{group[0]['problem']}: right {len(right)} of 8" in text
        if right:
            assert f"--- right: response {right[0]['sample']}" in text
            assert f"{right[0]['rule']}\n{right[0]['response']}\n" in text


def test_other_samples_devices_and_batches_draw_the_same(
    evaluated, tiny_run, chain_files, tmp_path, monkeypatch
):
    """Fewer responses are the first of more; neither layout nor batch is seen."""
    expected = [row for row in rows(evaluated[0]) if row["sample"] < 4]
    words = (tiny_run, chain_files[0], "--fsdp", 4)
    status, output = evaluation(*words, out=tmp_path / "shared", batch=16, samples=4)
    assert status == 0, output
    assert rows(tmp_path / "shared") == expected
    monkeypatch.setattr(distributed, "make_mesh", lambda *shape: mesh_of(1, *shape))
    status, output = evaluation(*words[:2], out=tmp_path / "one", batch=3, samples=4)
    assert status == 0, output
    assert rows(tmp_path / "one") == expected


def test_the_same_question_is_answered_anew_under_another_number_or_name(
    tiny_run, tmp_path
):
    rows_of_one = [{"id": i, "problem": "1+2=?", "answer": "3"} for i in range(2)]
    file = tmp_path / "twins.jsonl"
    file.write_text("\n".join(map(json.dumps, rows_of_one)))
    words = (file, f"again={file}", "--temperature", 1.5, "--top-p", 1)
    status, output = evaluation(tiny_run, *words, out=tmp_path / "out", samples=16)
    assert status == 0, output
    said = [
        [row["response"] for row in rows(tmp_path / "out", name)]
        for name in ("twins", "again")
    ]
    halves = [half for both in said for half in (both[:16], both[16:])]
    assert all(a != b for a, b in itertools.combinations(halves, 2))
    assert len(set(halves[0])) > 4


def test_another_seed_draws_others(tiny_run, chain_files, tmp_path):
    said = []
    for seed in (0, 1):
        words = (chain_files[0], "--temperature", 1.5, "--top-p", 1, "--seed", seed)
        folder = tmp_path / str(seed)
        status, output = evaluation(tiny_run, *words, out=folder)
        assert status == 0, output
        said.append([row["response"] for row in rows(folder)])
    assert np.mean([a == b for a, b in zip(*said, strict=True)]) < 0.5


@pytest.mark.parametrize("batch", [BATCH, 8])
def test_an_evaluation_killed_in_the_middle_goes_on_to_the_same_end(
    evaluated, tiny_run, chain_files, tmp_path, monkeypatch, batch
):
    """Killed in the second benchmark, within a line; then in other batches."""
    folder, draw = tmp_path / "killed", generate._next

    def killed(policy, benchmark, responder, plan, start):
        if (benchmark.name, start) == ("two", 32):
            raise KeyboardInterrupt
        return draw(policy, benchmark, responder, plan, start)

    monkeypatch.setattr(generate, "_next", killed)
    with pytest.raises(KeyboardInterrupt):
        evaluation(tiny_run, *chain_files, out=folder)
    monkeypatch.undo()
    assert len(rows(folder, "two")) == 32 and not (folder / "results.json").exists()
    file = folder / "two.jsonl"
    file.write_bytes(file.read_bytes()[:-20])
    status, output = evaluation(tiny_run, *chain_files, out=folder, batch=batch)
    assert status == 0, output
    for path in evaluated[0].iterdir():
        if path.suffix != ".png":
            assert (folder / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_published_benchmark_is_graded_as_published(
    tiny_run, chain_files, tmp_path, monkeypatch
):
    """Each right answer as Minerva would have it: off by less than a hundredth."""
    short = list(map(json.loads, pathlib.Path(chain_files[0]).read_text().splitlines()))
    off = [row | {"answer": f"{float(row['answer']) * 1.005:.4f}"} for row in short]
    file = tmp_path / "problems.jsonl"
    file.write_text("\n".join(map(json.dumps, off)))
    minerva = benchmarks.Published(len(off), benchmarks.PUBLISHED["minerva"].grader)
    monkeypatch.setitem(benchmarks.PUBLISHED, "minerva", minerva)
    words = f"minerva={file}", f"short={file}"
    status, output = evaluation(tiny_run, *words, out=tmp_path / "out", samples=4)
    assert status == 0, output
    rules = {
        name: {row["rule"] for row in rows(tmp_path / "out", name)}
        for name in ("minerva", "short")
    }
    assert "within 0.01" in rules["minerva"] and "within 0.01" not in rules["short"]
    settings = evaluation_folder.read_settings(tmp_path / "out")["benchmarks"]
    assert settings["minerva"]["grader"] == "Tolerant(relative=0.01)"
    assert settings["short"]["grader"] == "of the policy"


def test_a_finished_evaluation_draws_nothing_again(
    evaluated, tiny_run, chain_files, monkeypatch
):
    before = (evaluated[0] / "short.jsonl").stat().st_mtime_ns
    monkeypatch.setattr(generate, "_next", None)
    status, output = evaluation(tiny_run, *chain_files, out=evaluated[0])
    assert status == 0 and "| short | 9 |" in " ".join(output.split())
    assert (evaluated[0] / "short.jsonl").stat().st_mtime_ns == before


def test_a_benchmark_can_be_added_to_a_folder(
    tiny_run, chain_files, tmp_path, evaluated
):
    for words in (chain_files[:1], chain_files[1:]):
        status, output = evaluation(tiny_run, *words, out=tmp_path / "grown")
        assert status == 0, output
    assert set(evaluation_folder.read_settings(tmp_path / "grown")["benchmarks"]) == {
        "short",
        "two",
    }
    for name in ("short", "two"):
        assert rows(tmp_path / "grown", name) == rows(evaluated[0], name)
    together = json.loads((evaluated[0] / "results.json").read_text())
    grown = json.loads((tmp_path / "grown" / "results.json").read_text())
    assert grown["benchmarks"] == together["benchmarks"] and grown["average"]
