"""What cannot be evaluated gets one clear error, before anything is written."""

import contextlib
import json
import pathlib
import shutil

import pytest
from conftest import run
from support.evaluations import evaluation

from maspo_jax.cli import evaluate
from maspo_jax.distributed import hosts
from maspo_jax.evaluation import evaluation_folder, responses
from maspo_jax.reports import results
from maspo_jax.runs import provenance


def test_another_setting_on_the_folder_is_refused_by_name(
    evaluated, tiny_run, chain_files, tmp_path
):
    before = (evaluated[0] / "evaluation.json").read_bytes()
    other = tmp_path / "short.jsonl"
    text = pathlib.Path(chain_files[0]).read_text()
    other.write_text(text.replace('"answer": "', '"answer": "1'))
    for words, message in (
        (
            (chain_files[0], "--temperature", 1),
            "evaluation.temperature: 0.6 in the folder, 1",
        ),
        ((chain_files[0], "--step", 2), "step: 4 in the folder, 2 here"),
        ((other,), "digest"),
    ):
        status, output = evaluation(tiny_run, *words, out=evaluated[0])
        assert status == 2 and message in output and "--out" in output, output
    assert (evaluated[0] / "evaluation.json").read_bytes() == before


@pytest.mark.parametrize(
    "words, message",
    [
        (["--samples", 0], "samples=0"),
        (["--temperature", -1], "temperature=-1"),
        (["--temperature", "nan"], "temperature=nan"),
        (["--temperature", 0], "samples=8 with temperature=0"),
        (["--top-p", 0], "--top-p=0.0: must lie in"),
        (["--seed", -1], "seed=-1"),
        (["--prompt-length", 2], "Raise the length to at least 5"),
        (["--batch", 7], "batch=7: at least one response for each of the 8"),
        (["--step", 3], "step=3: "),
        (["--fsdp", 3], "fsdp=3 does not divide the 8 devices"),
        (["--tensor", 2], "tensor=2 does not divide key_value_heads=1"),
        (["--dtype", "bfloat16"], "dtype=bfloat16: a run is held in the type it"),
        (["--pod", "nowhere"], "HOST:PORT/INDEX/COUNT"),
    ],
    ids=str,
)
def test_bad_settings_are_refused_before_anything_is_written(
    tiny_run, chain_files, tmp_path, words, message
):
    usual = ["--samples", 8, "--out", tmp_path / "out"]
    status, output = run(evaluate, tiny_run, chain_files[0], *usual, *words)
    assert status == 2 and message in output, output
    assert not (tmp_path / "out").exists()


def test_what_is_no_policy_is_refused(chain_files, tmp_path):
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
        ("other", "model_type is missing"),
    ):
        out = tmp_path / "out"
        status, output = evaluation(tmp_path / name, chain_files[0], out=out)
        assert status == 2 and message in output, output
        assert not out.exists()


def test_a_folder_that_holds_something_else_is_not_touched(
    tiny_run, chain_files, tmp_path
):
    (tmp_path / "thesis.tex").write_text("precious")
    status, output = evaluation(tiny_run, chain_files[0], out=tmp_path)
    assert status == 2 and "holds no evaluation" in output
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    status, output = evaluation(tiny_run, chain_files[0], out=tmp_path / "thesis.tex")
    assert status == 2 and "is no folder" in output
    status, output = evaluation(tiny_run, chain_files[0], out="gs://bucket/evaluation")
    assert status == 2 and "mount the bucket" in output


def test_a_folder_in_use_is_refused(evaluated, tiny_run, chain_files, tmp_path):
    folder = tmp_path / "used"
    shutil.copytree(evaluated[0], folder)
    with evaluation_folder.opened(folder, evaluation_folder.read_settings(folder)):
        status, output = evaluation(tiny_run, *chain_files, out=folder)
    assert status == 2 and "another process is working in" in output


def test_an_earlier_benchmark_is_left_out_unfinished_and_refused_broken(
    evaluated, tiny_run, chain_files, tmp_path
):
    """A line that cannot be read must not take a benchmark out of the mean unsaid."""
    folder = tmp_path / "earlier"
    shutil.copytree(evaluated[0], folder)
    lines = (folder / "two.jsonl").read_text().splitlines(keepends=True)
    (folder / "two.jsonl").write_text("".join(lines[:-1]))
    status, output = evaluation(tiny_run, chain_files[0], out=folder)
    assert status == 0, output
    found = json.loads((folder / "results.json").read_text())
    assert [*found["benchmarks"]] == ["short"] and found["average"] is None
    lines[3] = lines[3].replace('"outcome"', '"outcom"')
    (folder / "two.jsonl").write_text("".join(lines))
    status, output = evaluation(tiny_run, chain_files[0], out=folder)
    assert status == 2 and "two.jsonl, line 4, is not a response" in output, output


def fail(*_):
    raise OSError(28, "No space left on device", "a file")


@contextlib.contextmanager
def full(path, group):
    """A file of responses on a full disk."""
    yield fail, 0, 0


def failing_again():
    """Digests that can be read once, as the folder of the run is checked."""
    once = iter([{}])

    def digests(part):
        found = next(once, None)
        return fail() if found is None else found

    return digests


FAULTS = {
    "a file of the policy": (provenance, "digests", failing_again()),
    "the responses": (responses, "appended", full),
    "their texts": (results, "write_texts", fail),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_fails_is_one_line_and_the_pod_is_told(
    tiny_run, chain_files, tmp_path, monkeypatch, fault
):
    told = []
    everyones = lambda number: told.append(number) or number
    monkeypatch.setattr(hosts, "max_over_hosts", everyones)
    monkeypatch.setattr(*FAULTS[fault])
    status, output = evaluation(tiny_run, *chain_files, out=tmp_path / "out")
    assert status == 2 and "No space left on device" in output, output
    assert told[-1] is True
