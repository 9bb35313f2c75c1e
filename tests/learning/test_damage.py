"""A run that was damaged goes on as if nothing had been, or says why it cannot.

One that cannot be written, or is asked to stop within a step, loses no finished step.
"""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys

import pytest
from conftest import EXPERIMENTS, ROOT, arrays, command, measured, run
from support.processes import LIMIT, files_of_at_most

from maspo_jax.cli import evaluate
from maspo_jax.learning.learner import Learner
from maspo_jax.rollout.worker import Worker
from maspo_jax.runs.checkpoints import steps_of
from maspo_jax.runs.metrics_log import MetricsLog

RIGHT = EXPERIMENTS / "tiny_right.py"


@pytest.fixture
def folder(tiny_run, tmp_path):
    """A copy of a run of four steps, with checkpoints after two and after four."""
    return shutil.copytree(tiny_run, tmp_path / "run")


def stage(folder, name="reinforcement"):
    return folder / "checkpoints" / name


def goes_on(folder, tiny_run, *words):
    """Starts the command again. Returns what it said; the end has to be bit-equal."""
    status, output = command(RIGHT, "--run", folder, *words)
    assert status == 0, output
    assert measured(folder) == measured(tiny_run)
    assert arrays(folder) == arrays(tiny_run)
    return output


def refused(folder, *words):
    """Starts the command again, in vain. Returns the one line of the error."""
    log = folder / "metrics.jsonl"
    before = log.read_bytes()
    status, output = command(RIGHT, "--run", folder, *words)
    assert status == 2 and "Traceback" not in output, output
    assert log.read_bytes() == before
    (line,) = [line for line in output.splitlines() if line.startswith("error: ")]
    assert output.endswith(f"{line}\n")
    return line


def spoil(folder):
    """Writes noise into the middle of the largest file, where the parameters are."""
    file = max(folder.rglob("*"), key=lambda path: path.stat().st_size)
    data = bytearray(file.read_bytes())
    begin = len(data) // 2 - 1500
    data[begin : begin + 3000] = random.Random(0).randbytes(3000)
    file.write_bytes(bytes(data))


def test_noise_in_the_newest_checkpoint_costs_the_steps_behind_the_one_before(
    folder, tiny_run
):
    spoil(stage(folder) / "4")
    output = goes_on(folder, tiny_run)
    assert "reinforcement/4 is damaged: state/" in output
    assert "that of step 2" in output and "going on from step 2" in output
    assert "learning_rate" not in output


def test_a_damaged_checkpoint_is_not_evaluated(folder, chain_files, tmp_path):
    spoil(stage(folder) / "4")
    words = (folder, *chain_files, "--out", tmp_path / "out", "--samples", 1)
    status, output = run(evaluate, *words, "--temperature", 0)
    assert status == 2 and "Traceback" not in output
    assert "reinforcement/4 is damaged: state/" in output and "--step 2" in output


def test_where_no_checkpoint_is_whole_the_run_is_refused(folder):
    for steps in "24":
        spoil(stage(folder) / steps)
    line = refused(folder)
    assert "no checkpoint in" in line and "4: state/" in line and "--run" in line


@pytest.mark.parametrize(
    "gone",
    [
        ["checkpoints"],
        ["checkpoints/reinforcement"],
        ["checkpoints/reinforcement/2", "checkpoints/reinforcement/4"],
        ["checkpoints/reinforcement", "checkpoints/sft"],
    ],
    ids=lambda gone: gone[-1],
)
def test_lost_checkpoints_do_not_begin_a_run_anew(folder, gone):
    for place in gone:
        shutil.rmtree(folder / place)
    line = refused(folder)
    assert "has lost its checkpoints: metrics.jsonl holds 4 steps" in line
    assert "--run" in line and f"remove {folder}" in line


def test_a_run_without_its_log_ends_with_what_there_is(folder, tiny_run):
    (folder / "metrics.jsonl").write_text("")
    status, output = command(RIGHT, "--run", folder)
    assert status == 0 and "of 4 of 4 steps (from 1 to 4) are gone" in output, output
    assert "no held-out accuracy left" in output
    assert arrays(folder) == arrays(tiny_run)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_at_the_rollouts(folder, tiny_run):
    shutil.rmtree(stage(folder) / "4")
    file = folder / "rollouts" / "step_000004.jsonl"
    file.unlink()
    link = file.with_name(f"{file.name}.partial")
    link.symlink_to("/dev/full")
    status, output = command(RIGHT, "--run", folder)
    line = f"error: {file} could not be written: No space left on device; make room; "
    assert status == 2 and f"{line}the same command goes on from step 2" in output
    assert "Traceback" not in output and not file.exists()
    link.unlink(missing_ok=True)
    goes_on(folder, tiny_run)


def test_a_full_disk_at_the_metrics(folder, tiny_run, monkeypatch):
    shutil.rmtree(stage(folder) / "4")
    log, append = folder / "metrics.jsonl", MetricsLog._add

    def full(writer, name, step, metrics):
        last = (name, step) == ("reinforcement", 4)
        size = log.stat().st_size + 100 if last else resource.RLIM_INFINITY
        with files_of_at_most(size):
            append(writer, name, step, metrics)

    monkeypatch.setattr(MetricsLog, "_add", full)
    status, output = command(RIGHT, "--run", folder)
    monkeypatch.undo()
    line = f"error: {log} could not be written: File too large; raise"
    assert status == 2 and line in output and "goes on from step 2" in output, output
    assert "Traceback" not in output and steps_of(stage(folder)) == [2]
    assert log.read_text().endswith("}\n")
    assert "damaged" not in goes_on(folder, tiny_run)


# A limit on the size of files is a disk that is full, to whoever writes.
FULL_AT_STEP_4 = """
import resource, sys
from maspo_jax.cli import train
from maspo_jax.runs.checkpoints import Checkpoints

save = Checkpoints.save

def full(checkpoints, steps, state):
    if steps == 4:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, resource.RLIM_INFINITY))
    save(checkpoints, steps, state)

Checkpoints.save = full
sys.exit(train.main(sys.argv[1:]))
"""


def test_a_save_that_fails_stops_the_run_in_one_line(folder, tiny_run):
    shutil.rmtree(stage(folder) / "4")
    words = [sys.executable, "-c", FULL_AT_STEP_4, str(RIGHT), "--run", str(folder)]
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_COMPILATION_CACHE": "false",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        words, env=environment, capture_output=True, text=True, timeout=LIMIT
    )
    output = done.stdout + done.stderr
    assert done.returncode == 2 and "Traceback" not in output, output
    saved = f"error: {stage(folder) / '4'} could not be written: File too large; raise"
    (line,) = [line for line in output.splitlines() if line.startswith("error: ")]
    assert line.startswith(saved) and line.endswith("goes on from step 2")
    assert steps_of(stage(folder)) == [2]
    goes_on(folder, tiny_run)


@pytest.mark.parametrize(
    "step, update, left",
    [(3, 0, 2), (3, 1, 2), (4, 0, 3), (4, 1, 4)],
    ids=["drawn", "updating", "drawn, not saved", "updating, not saved"],
)
def test_a_signal_within_a_step_drops_it_if_nothing_is_lost(
    folder, tiny_run, monkeypatch, step, update, left
):
    """After its first update, only what is on disk is left of the state before it."""
    shutil.rmtree(stage(folder) / "4")
    collect, minibatches = Worker.collect, Learner.minibatches

    def interrupted_collect(worker, policy, at, *rest):
        drawn = collect(worker, policy, at, *rest)
        if (at, 0) == (step, update):
            signal.raise_signal(signal.SIGTERM)
        return drawn

    def interrupted_minibatches(learner, batch, at):
        for number, minibatch in enumerate(minibatches(learner, batch, at)):
            if number and (at, number) == (step, update):
                signal.raise_signal(signal.SIGTERM)
            yield minibatch

    monkeypatch.setattr(Worker, "collect", interrupted_collect)
    monkeypatch.setattr(Learner, "minibatches", interrupted_minibatches)
    status, output = command(RIGHT, "--run", folder)
    monkeypatch.undo()
    assert status == 128 + signal.SIGTERM, output
    assert f"stopped by SIGTERM after {left} steps" in output
    assert steps_of(stage(folder))[-1] == left
    goes_on(folder, tiny_run)


def test_checkpoints_are_written_by_the_clock_too(folder, tiny_run):
    shutil.rmtree(stage(folder) / "4")
    words = ("--checkpoint-every", 1000, "--checkpoint-minutes")
    goes_on(folder, tiny_run, *words, 1e9)
    assert steps_of(stage(folder)) == [2, 4]
    shutil.rmtree(stage(folder) / "4")
    goes_on(folder, tiny_run, *words, 1e-9)
    assert steps_of(stage(folder)) == [3, 4]
    record = json.loads((folder / "config.json").read_text())
    assert record["checkpoint_minutes"] == 1e-9
