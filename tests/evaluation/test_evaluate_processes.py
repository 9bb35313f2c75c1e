"""The evaluation command in real processes: signals, sudden death, and a pod."""

import json
import shutil
import signal

import pytest
from conftest import EXPERIMENTS
from support.processes import LIMIT, free_port, launch, wait_for

from maspo_jax.data.sources.arithmetic import Chains

PROBLEMS, SAMPLES = 96, 4


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """What to evaluate on what: a run, and a file of problems."""
    folder = tmp_path_factory.mktemp("policy")
    experiment = EXPERIMENTS / "tiny_right.py"
    process = launch("train", experiment, "--run", folder / "run", "--steps", 1)
    output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, output
    source = Chains(3, split="test")
    problems = [source[index] for index in range(PROBLEMS)]
    lines = [
        json.dumps({"id": p.id, "problem": p.question, "answer": p.answer})
        for p in problems
    ]
    (folder / "chains.jsonl").write_text("\n".join(lines))
    words = (folder / "run", folder / "chains.jsonl", "--samples", SAMPLES)
    return *words, "--prompt-length", 8, "--response-length", 20, "--batch", 4


def start(words, folder, *more, devices=1):
    words = (*words, "--out", folder, *more)
    return launch("evaluate", *words, devices=devices)


@pytest.fixture(scope="module")
def whole(words, tmp_path_factory):
    """An evaluation of one process that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "evaluation"
    finish(start(words, folder))
    return folder


def finish(*pod):
    outputs = [process.communicate(timeout=LIMIT)[0] for process in pod]
    assert [process.returncode for process in pod] == [0] * len(pod), "".join(outputs)


def same(folder, whole):
    for name in ("chains.jsonl", "chains.txt", "results.json", "results.md"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name


def begun(folder):
    """Whether some responses are in the file, but not all."""
    file = folder / "chains.jsonl"
    return file.exists() and 0 < file.read_text().count("\n")


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_a_signal_stops_behind_a_batch_and_the_same_command_goes_on(
    whole, words, tmp_path, number
):
    folder = tmp_path / "evaluation"
    process = start(words, folder)
    wait_for(lambda: begun(folder), process)
    process.send_signal(number)
    output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 128 + number, output
    assert "The same command resumes it" in output and "Traceback" not in output
    assert not (folder / "results.json").exists()
    drawn = (folder / "chains.jsonl").read_text().count("\n")
    assert drawn % 4 == 0 and 0 < drawn < PROBLEMS * SAMPLES
    finish(start(words, folder))
    same(folder, whole)


def test_before_anything_is_drawn_a_signal_ends_the_process(words, tmp_path):
    process = start(words, tmp_path / "evaluation")
    assert "loading JAX" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == -signal.SIGINT and output == "stopped by SIGINT\n"


@pytest.mark.slow
def test_sudden_death_loses_nothing_that_was_written(whole, words, tmp_path):
    folder = tmp_path / "evaluation"
    process = start(words, folder)
    wait_for(lambda: begun(folder), process)
    process.kill()
    process.communicate(timeout=LIMIT)
    drawn = (folder / "chains.jsonl").read_text()
    finish(start(words, folder))
    kept = drawn[: drawn.rfind("\n") + 1]
    assert (folder / "chains.jsonl").read_text().startswith(kept)
    same(folder, whole)


def test_two_processes_equal_one_and_go_on_after_a_signal(whole, words, tmp_path):
    folder = tmp_path / "evaluation"

    def start_pod():
        address = f"localhost:{free_port()}"
        return [
            start(words, folder, "--pod", f"{address}/{index}/2", devices=2)
            for index in range(2)
        ]

    pod = start_pod()
    wait_for(lambda: begun(folder), pod[0])
    pod[1].send_signal(signal.SIGTERM)
    outputs = [process.communicate(timeout=LIMIT)[0] for process in pod]
    status = [128 + signal.SIGTERM] * 2
    assert [process.returncode for process in pod] == status, "\n".join(outputs)
    assert begun(folder) and not (folder / "results.json").exists()
    finish(*start_pod())
    same(folder, whole)


def refused(words, folder):
    """Returns what two processes print that refuse to evaluate into a folder."""
    address = f"localhost:{free_port()}"
    pod = [
        start(words, folder, "--pod", f"{address}/{index}/2", devices=2)
        for index in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=60)[0] for process in pod]
    finally:
        for process in pod:
            process.kill()
    assert [process.returncode for process in pod] == [2] * 2, "\n".join(outputs)
    assert "Traceback" not in "".join(outputs)
    return outputs


def test_what_the_first_process_refuses_ends_the_other(words, tmp_path):
    first, other = refused(words, tmp_path / ("a" * 300))
    assert "--out" in first and "File name too long" in first
    assert "another process of this pod refused" in other


def test_responses_that_cannot_be_written_end_both_processes(whole, words, tmp_path):
    folder = tmp_path / "evaluation"
    shutil.copytree(whole, folder)
    (folder / "chains.jsonl").unlink()
    (folder / "chains.jsonl").mkdir()
    first, other = refused(words, folder)
    assert "Is a directory" in first and "chains.jsonl" in first
    assert "another process of this pod refused" in other


@pytest.mark.slow
def test_processes_that_disagree_stop_before_they_begin(words, tmp_path):
    folder, address = tmp_path / "evaluation", f"localhost:{free_port()}"
    pod = [
        start(words, folder, "--pod", f"{address}/{index}/2", "--seed", index)
        for index in range(2)
    ]
    outputs = [process.communicate(timeout=LIMIT)[0] for process in pod]
    for process, output in zip(pod, outputs, strict=True):
        assert process.returncode == 2, output
        assert "disagree about the policy, the benchmarks or the settings" in output
    assert not folder.exists()
