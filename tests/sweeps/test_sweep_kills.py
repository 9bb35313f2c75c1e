"""A sweep that is killed again and again loses no finished run and repeats none."""

import random
import signal
import subprocess

import pytest
from support.processes import LIMIT, launch
from support.sweeps import SWEEP, write_sweep

from maspo_jax.runs import run_folder
from maspo_jax.sweeps import table
from maspo_jax.sweeps.chunk import FINISHED, STATUS

MANY = SWEEP.replace("[0, 3]", "range(5)").replace("together=4", "together=2")


def finished(folder):
    """Returns {run: when it was written that it has ended}."""
    return {
        file.parent: file.stat().st_mtime_ns
        for file in folder.glob(f"trials/*/*/{STATUS}")
    }


def kill_and_go_on(folder, path, kills, seed, least, most):
    """Kills a sweep so often, at random times, and lets it come to its end."""
    draw, before, happened = random.Random(seed), {}, 0
    for number in range(kills + 1):
        process = launch("sweep", path, "--run", folder)
        try:
            limit = LIMIT if number == kills else draw.uniform(least, most)
            output, _ = process.communicate(timeout=limit)
            assert process.returncode == 0, output
        except subprocess.TimeoutExpired:
            how = draw.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
            process.send_signal(how)
            output, _ = process.communicate(timeout=LIMIT)
            happened += process.returncode != 0
            assert "Traceback" not in output, output
        now = finished(folder)
        assert {run: now.get(run) for run in before} == before
        before = now
    runs = table.runs_of(folder)
    assert {run.status for run in runs} == {FINISHED}
    for run in runs:
        lines = run_folder.read_metrics(run.folder)
        places = [(line["stage"], line["step"]) for line in lines]
        assert len(places) == len({*places})
        assert run.curve("reward")[0] == [1, 2, 3, 4]
    assert not [*(folder / "chunks").iterdir()]
    return happened, runs


def test_a_sweep_survives_kills(tmp_path, tiny_sweep):
    path = write_sweep(tmp_path)
    _, runs = kill_and_go_on(tmp_path / "run", path, 3, 0, 4, 12)
    expected = {(run.trial, run.seed): run for run in table.runs_of(tiny_sweep[0])}
    for run in runs:
        same = expected[run.trial, run.seed]
        for metric in ("reward", "validation/accuracy"):
            assert run.curve(metric) == same.curve(metric)


@pytest.mark.slow
def test_a_sweep_survives_twenty_kills(tmp_path):
    path = write_sweep(tmp_path, MANY)
    happened, runs = kill_and_go_on(tmp_path / "run", path, 20, 1, 3, 8)
    assert happened >= 15 and len(runs) == 20


@pytest.mark.slow
def test_two_processes_share_a_sweep(tmp_path, tiny_sweep):
    path = write_sweep(tmp_path, SWEEP.replace("together=4", "together=1"))
    folder = tmp_path / "run"
    both = [launch("sweep", path, "--run", folder) for _ in range(2)]
    for process in both:
        output, _ = process.communicate(timeout=LIMIT)
        assert process.returncode == 0, output
    expected = {(run.trial, run.seed): run for run in table.runs_of(tiny_sweep[0])}
    runs = table.runs_of(folder)
    assert len(runs) == len(expected)
    for run in runs:
        same = expected[run.trial, run.seed]
        assert run.curve("reward") == same.curve("reward")
