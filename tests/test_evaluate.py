"""The command, from its words to the folder it leaves."""

import itertools
import json
import pathlib
import shutil

import jax
import numpy as np
import pytest
from conftest import EXPERIMENTS, command, mesh_of, run

from maspo_jax import compare, evaluate, parallel
from maspo_jax.data.arithmetic import Chains
from maspo_jax.evaluation import drawing, folders, policies
from maspo_jax.training import checkpoints, runs, state
from maspo_jax.training.optimizer import make_optimizer

SAMPLES, BATCH = 8, 32


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run with checkpoints after 2 and after 4 steps."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    status, output = command(EXPERIMENTS / "tiny_right.py", "--run", folder)
    assert status == 0, output
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two files of held-out chains."""
    folder = tmp_path_factory.mktemp("problems")
    for name, numbers, count in (("short", 2, 9), ("twos", 2, 6)):
        source = Chains(numbers, split="test", seed=len(name))
        rows = [source[index] for index in range(count)]
        lines = [
            json.dumps({"id": p.id, "problem": p.question, "answer": p.answer})
            for p in rows
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    return [str(folder / "short.jsonl"), f"two={folder / 'twos.jsonl'}"]


@pytest.fixture(scope="module")
def evaluated(trained, files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluations") / "whole"
    status, output = evaluation(trained, *files, out=folder)
    assert status == 0, output
    return folder, output


def evaluation(trained, *words, out, batch=BATCH, samples=SAMPLES):
    """Runs the command in this process. Returns its status and what it printed."""
    words = (*words, "--out", out, "--batch", batch, "--samples", samples)
    return run(evaluate, trained, *words)


def rows(folder, name="short"):
    lines = (folder / f"{name}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_an_evaluation_leaves_what_it_promises(evaluated):
    folder, output = evaluated
    assert {path.name for path in folder.iterdir()} == {
        "evaluation.json",
        *("short.jsonl", "short.txt", "two.jsonl", "two.txt"),
        *("results.json", "results.md", "results.png"),
    }
    assert (folder / "results.png").read_bytes().startswith(b"\x89PNG")
    tables = (folder / "results.md").read_text()
    assert tables.strip() in output and "right so far" in output
    assert (
        "| benchmark | problems | avg@8 | drawing again | pass@8 | best@8 |" in tables
    )
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
    assert found["length"] == pytest.approx(np.mean([row["tokens"] for row in drawn]))
    assert sum(found["outcomes"].values()) == pytest.approx(1)
    assert found["outcomes"]["correct"] == pytest.approx(right.mean())
    cut = [row["tokens"] == 14 and row["truncated"] for row in drawn]
    assert found["truncated"] == pytest.approx(np.mean(cut))
    average = np.mean([part["avg"]["mean"] for part in results["benchmarks"].values()])
    assert results["average"]["avg"]["mean"] == pytest.approx(average)


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
    evaluated, trained, files, tmp_path, monkeypatch
):
    """Fewer responses are the first of more; neither layout nor batch is seen."""
    monkeypatch.setattr(parallel, "make_mesh", lambda: mesh_of(1, 1))
    status, output = evaluation(
        trained, files[0], out=tmp_path / "one", batch=3, samples=4
    )
    assert status == 0, output
    expected = [row for row in rows(evaluated[0]) if row["sample"] < 4]
    assert rows(tmp_path / "one") == expected


def test_the_same_question_is_answered_anew_under_another_number_or_name(
    trained, tmp_path
):
    rows_of_one = [{"id": i, "problem": "1+2=?", "answer": "3"} for i in range(2)]
    file = tmp_path / "twins.jsonl"
    file.write_text("\n".join(map(json.dumps, rows_of_one)))
    words = (file, f"again={file}", "--temperature", 1.5, "--top-p", 1)
    status, output = evaluation(trained, *words, out=tmp_path / "out", samples=16)
    assert status == 0, output
    said = [
        [row["response"] for row in rows(tmp_path / "out", name)]
        for name in ("twins", "again")
    ]
    halves = [half for both in said for half in (both[:16], both[16:])]
    assert all(a != b for a, b in itertools.combinations(halves, 2))
    assert len(set(halves[0])) > 4


def test_another_seed_draws_others(trained, files, tmp_path):
    said = []
    for seed in (0, 1):
        words = (files[0], "--temperature", 1.5, "--top-p", 1, "--seed", seed)
        folder = tmp_path / str(seed)
        status, output = evaluation(trained, *words, out=folder)
        assert status == 0, output
        said.append([row["response"] for row in rows(folder)])
    assert np.mean([a == b for a, b in zip(*said, strict=True)]) < 0.5


@pytest.mark.parametrize("batch", [BATCH, 8])
def test_an_evaluation_killed_in_the_middle_goes_on_to_the_same_end(
    evaluated, trained, files, tmp_path, monkeypatch, batch
):
    """Killed in the second benchmark, within a line; then in other batches."""
    folder, draw = tmp_path / "killed", drawing._next

    def killed(policy, benchmark, interview, plan, start):
        if (benchmark.name, start) == ("two", 32):
            raise KeyboardInterrupt
        return draw(policy, benchmark, interview, plan, start)

    monkeypatch.setattr(drawing, "_next", killed)
    with pytest.raises(KeyboardInterrupt):
        evaluation(trained, *files, out=folder)
    monkeypatch.undo()
    assert len(rows(folder, "two")) == 32 and not (folder / "results.json").exists()
    file = folder / "two.jsonl"
    file.write_bytes(file.read_bytes()[:-20])
    status, output = evaluation(trained, *files, out=folder, batch=batch)
    assert status == 0, output
    for path in evaluated[0].iterdir():
        if path.suffix != ".png":
            assert (folder / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_finished_evaluation_draws_nothing_again(
    evaluated, trained, files, monkeypatch
):
    before = (evaluated[0] / "short.jsonl").stat().st_mtime_ns
    monkeypatch.setattr(drawing, "_next", None)
    status, output = evaluation(trained, *files, out=evaluated[0])
    assert status == 0 and "| short | 9 |" in output
    assert (evaluated[0] / "short.jsonl").stat().st_mtime_ns == before


def test_a_benchmark_can_be_added_to_a_folder(trained, files, tmp_path, evaluated):
    for words in (files[:1], files[1:]):
        status, output = evaluation(trained, *words, out=tmp_path / "grown")
        assert status == 0, output
    assert set(folders.read(tmp_path / "grown")["benchmarks"]) == {"short", "two"}
    for name in ("short", "two"):
        assert rows(tmp_path / "grown", name) == rows(evaluated[0], name)
    together = json.loads((evaluated[0] / "results.json").read_text())
    grown = json.loads((tmp_path / "grown" / "results.json").read_text())
    assert grown["benchmarks"] == together["benchmarks"] and grown["average"]


def test_another_setting_on_the_folder_is_refused_by_name(
    evaluated, trained, files, tmp_path
):
    before = (evaluated[0] / "evaluation.json").read_bytes()
    other = tmp_path / "short.jsonl"
    text = pathlib.Path(files[0]).read_text()
    other.write_text(text.replace('"answer": "', '"answer": "1'))
    for words, message in (
        (
            (files[0], "--temperature", 1),
            "evaluation.temperature: 0.6 in the folder, 1",
        ),
        ((files[0], "--step", 2), "step: 4 in the folder, 2 here"),
        ((other,), "digest"),
    ):
        status, output = evaluation(trained, *words, out=evaluated[0])
        assert status == 2 and message in output and "--out" in output, output
    assert (evaluated[0] / "evaluation.json").read_bytes() == before


@pytest.mark.parametrize(
    "words, message",
    [
        (["--samples", 0], "samples=0"),
        (["--temperature", -1], "temperature=-1"),
        (["--temperature", "nan"], "temperature=nan"),
        (["--temperature", 0], "samples=8 with temperature=0"),
        (["--top-p", 0], "top_p=0"),
        (["--seed", -1], "seed=-1"),
        (["--prompt-length", 2], "Raise the length to at least 5"),
        (["--batch", 7], "batch=7: at least one response for each of the 8"),
        (["--step", 3], "step=3: "),
        (["--pod", "nowhere"], "HOST:PORT/INDEX/COUNT"),
    ],
    ids=str,
)
def test_bad_settings_are_refused_before_anything_is_written(
    trained, files, tmp_path, words, message
):
    usual = ["--samples", 8, "--out", tmp_path / "out"]
    status, output = run(evaluate, trained, files[0], *usual, *words)
    assert status == 2 and message in output, output
    assert not (tmp_path / "out").exists()


def test_what_is_no_policy_is_refused(files, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "qwen").mkdir()
    (tmp_path / "qwen" / "config.json").write_text('{"model_type": "qwen2"}')
    for name, text in (("broken", '{"model'), ("other", '{"hidden_size": 3}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(text)
    for name, message in (
        ("none", "no policy"),
        ("empty", "is not the folder of a run"),
        ("qwen", "num_attention_heads=None: must be a whole number"),
        ("broken", "config.json is not JSON"),
        ("other", "config.json is not that of a run"),
    ):
        out = tmp_path / "out"
        status, output = evaluation(tmp_path / name, files[0], out=out)
        assert status == 2 and message in output, output
        assert not out.exists()


def test_a_folder_that_holds_something_else_is_not_touched(trained, files, tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    status, output = evaluation(trained, files[0], out=tmp_path)
    assert status == 2 and "holds no evaluation" in output
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    status, output = evaluation(trained, files[0], out=tmp_path / "thesis.tex")
    assert status == 2 and "is no folder" in output
    status, output = evaluation(trained, files[0], out="gs://bucket/evaluation")
    assert status == 2 and "mount the bucket" in output


def test_a_folder_in_use_is_refused(evaluated, trained, files, tmp_path):
    folder = tmp_path / "used"
    shutil.copytree(evaluated[0], folder)
    with folders.opened(folder, folders.read(folder)):
        status, output = evaluation(trained, *files, out=folder)
    assert status == 2 and "another process is working in" in output


def test_a_policy_alone_is_read_bit_equal(trained):
    mesh, experiment = mesh_of(4, 2), runs.read_experiment(trained)
    policy = policies.open_policy(trained, mesh)
    optimizer = make_optimizer(experiment.optimization, 8)
    skeleton = state.skeleton(experiment.policy, optimizer, mesh)
    with checkpoints.Checkpoints(trained / "checkpoints" / "reinforcement") as saved:
        whole, _ = saved.restore(skeleton)
    for got, expected in zip(*map(leaves, (policy.decoder, whole.policy)), strict=True):
        assert got.tobytes() == expected.tobytes()
    assert policies.checksum(policy.decoder) == policies.checksum(whole.policy)
    one = policies.open_policy(trained, mesh_of(1, 1))
    assert policies.checksum(one.decoder) == policies.checksum(whole.policy)
    earlier = policies.open_policy(trained, mesh, step=2)
    assert policies.checksum(earlier.decoder) != policies.checksum(whole.policy)


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def test_two_evaluations_are_compared(evaluated, trained, files, tmp_path):
    other = tmp_path / "other"
    words = (*files, "--step", 2, "--seed", 1)
    status, output = evaluation(trained, *words, out=other, samples=4)
    assert status == 0, output
    status, output = run(compare, evaluated[0], other, "--out", tmp_path / "compared")
    assert status == 0, output
    names = {path.name for path in (tmp_path / "compared").iterdir()}
    assert names == {f"comparison.{kind}" for kind in ("json", "md", "png")}
    found = json.loads((tmp_path / "compared" / "comparison.json").read_text())
    assert found["differing"] == ["samples: 8 against 4"]
    assert set(found["scores"]) == {"avg@n", "pass@4"}
    row = found["scores"]["avg@n"]["short"]
    mean = lambda folder: np.mean([r["outcome"] == "correct" for r in rows(folder)])
    assert row["mine"] == pytest.approx(mean(evaluated[0]))
    assert row["difference"] == pytest.approx(mean(evaluated[0]) - mean(other))
    assert row["problems"] == 9
    assert row["corrected"] >= row["p_value"]


def test_an_evaluation_does_not_differ_from_itself(evaluated, tmp_path):
    status, output = run(compare, evaluated[0], evaluated[0], "--out", tmp_path)
    assert status == 0 and "is better" not in output
    found = json.loads((tmp_path / "comparison.json").read_text())["scores"]
    for row in (row for score in found.values() for row in score.values()):
        assert row["difference"] == 0 and row["p_value"] == 1 and row["low"] < 0


def test_only_problems_of_both_are_compared(evaluated, tmp_path):
    less = tmp_path / "less"
    shutil.copytree(evaluated[0], less)
    settings = folders.read(less)
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
        settings = folders.read(folder)
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
