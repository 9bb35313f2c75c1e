"""The benchmarks of the sampler and of an accelerator start, and count what they do."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

FOLDER = pathlib.Path(__file__).parents[2] / "experiments" / "benchmarks"


def run(name, *words):
    path = os.pathsep.join(filter(None, [str(FOLDER.parents[1]), *sys.path]))
    return subprocess.run(
        [sys.executable, FOLDER / name, *map(str, words)],
        env=os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def rows(path):
    return json.loads(path.read_text())["rows"]


@pytest.mark.parametrize("name", ["accelerator.py", "sampler.py"])
def test_a_benchmark_says_what_it_takes(name):
    assert "--tiny" in run(name, "--help")


def test_one_part_is_measured_and_others_are_kept(tmp_path):
    file = tmp_path / "rows.json"
    file.write_text('{"rows": [{"name": "another part", "ours": 1}]}')
    told = run("accelerator.py", "--tiny", "--parts", "attention", "--json", file)
    other, row = rows(file)
    assert other["name"] == "another part"
    assert row["name"].startswith("attention, chunked") and row["ours"] > 0
    # The peak of a CPU is not known, and kernels of others do not run there.
    assert row["peak share"] is None and "needs a GPU" in told


def test_steps_are_those_of_slots_that_are_handed_on(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    import accelerator

    # Slots:     step 1  2  3  4  5
    #   first     row 0  0  2  2  2
    #   second    row 1  1  1  1  -
    lengths = np.array([2, 4, 3])
    read = (10 + 10) + (11 + 11) + (10 + 12) + (11 + 13) + 12
    assert accelerator.steps_of(lengths, count=2, prompt=10) == (5, read)
    assert accelerator.steps_of(lengths, count=3, prompt=0) == (4, 0 + 3 + 4 + 3)


@pytest.mark.slow
def test_an_accelerator_is_measured_in_all_parts(tmp_path):
    run("accelerator.py", "--tiny", "--json", tmp_path / "rows.json")
    names = [row["name"].split()[0].strip(",") for row in rows(tmp_path / "rows.json")]
    assert names == ["decode", "decode", "update", "attention", "maspo"]


@pytest.mark.slow
def test_samplers_take_turns(tmp_path):
    pytest.importorskip("transformers")
    file = tmp_path / "rows.json"
    run("sampler.py", "--tiny", "--turns", 1, "--json", file)
    found = {row["name"] for row in rows(file) if row["peer_name"] == "transformers"}
    uniform, *heavy = sorted(found, reverse=True)
    assert uniform == "uniform, 4 slots" and len(heavy) == 2
    assert all(row["ratio"] > 0 and row["unit"] == "CPU s" for row in rows(file))
