"""The benchmarks start, count what they do, and write what they find."""

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


TABLES = ("sampler", "logprobs", "step", "compile", "default_job", "packing")


@pytest.mark.parametrize("name", ["accelerator.py", *(f"{n}.py" for n in TABLES)])
def test_a_benchmark_says_what_it_takes(name):
    assert "--tiny" in run(name, "--help")


@pytest.mark.slow
def test_packed_rows_are_measured_beside_padded_ones(tmp_path):
    file, page = tmp_path / "rows.json", tmp_path / "packing.md"
    run("packing.py", "--tiny", "--turns", 1, "--json", file, "--out", page)
    found = {row["name"]: row for row in rows(file)}
    assert len(found) == 6 and found["update, padded"]["ratio"] == 1
    assert all(row["ours"] > 0 for row in found.values())
    shares = {
        line.split("|")[1].strip(): float(line.split("|")[-2].strip(" %"))
        for line in page.read_text().splitlines()
        if line.startswith(("| padded", "| packed", "| buckets"))
    }
    assert shares["packed"] < shares["buckets"] < shares["padded"] < 100


def test_one_part_is_measured_and_others_are_kept(tmp_path):
    file = tmp_path / "rows.json"
    file.write_text('{"rows": [{"name": "another part", "ours": 1}]}')
    told = run("accelerator.py", "--tiny", "--parts", "attention", "--json", file)
    other, row = rows(file)
    assert other["name"] == "another part"
    assert row["name"].startswith("attention, chunked") and row["ours"] > 0
    # The peak of a CPU is not known, and kernels of others do not run there.
    assert row["peak share"] is None and "needs a GPU" in told
    assert row["peer"] is row["ratio"] is None and row["device"] == "cpu"


def test_implementations_of_attention_stand_beside_the_reference(tmp_path):
    file = tmp_path / "rows.json"
    run("attention.py", "--tiny", "--dtypes", "float32", "--json", file)
    found = {row["implementation"]: row for row in rows(file)}
    assert found["reference"]["ratio"] == 1
    own = found["chunked"]
    assert own["ratio"] == pytest.approx(own["peer"] / own["ours"])
    assert {own["peer_name"], own["unit"]} == {"reference", "ms"}
    assert {"date", "device", "python", "jax"} < {*json.loads(file.read_text())}


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


def measured(name, tmp_path, *words):
    """Runs a benchmark in small. Returns its rows by name, and its page."""
    file, page = tmp_path / "rows.json", tmp_path / "page.md"
    run(f"{name}.py", "--tiny", *words, "--json", file, "--out", page)
    found = rows(file)
    for row in found:
        assert set(row) == {"name", "ours", "peer", "ratio", "unit", "peer_name"}
        assert row["ours"] > 0 and row["peer"] > 0
        assert row["ratio"] == pytest.approx(row["peer"] / row["ours"])
    about = json.loads(file.read_text())
    text = page.read_text()
    for said in (about["date"], about["machine"], f"jax {about['jax']}"):
        assert said in text.replace("\n", " ")
    assert f"    python experiments/benchmarks/{name}.py --tiny" in text
    assert "What bounds" in text and str(tmp_path) not in text
    return {(row["name"], row["peer_name"]): row for row in found}, text


@pytest.mark.slow
def test_samplers_take_turns(tmp_path):
    pytest.importorskip("transformers")
    found, text = measured("sampler", tmp_path, "--turns", 1)
    names = {name for name, peer in found if peer == "transformers"}
    times = {name for name in names if "memory" not in name}
    uniform, *heavy = sorted(times, reverse=True)
    assert uniform == "uniform, 4 slots" and len(heavy) == 2
    assert names - times == {f"{name}, memory" for name in times}
    units = {row["unit"] for (name, _), row in found.items() if name in times}
    assert units == {"CPU s"} and "| transformers |" in text


@pytest.mark.slow
def test_log_probabilities_are_measured_beside_those_of_peers(tmp_path):
    pytest.importorskip("torch")
    found, text = measured("logprobs", tmp_path, "--turns", 1)
    for case in ("with entropy", "without entropy"):
        assert found[f"{case}, time", "torch"]["unit"] == "CPU s"
        assert found[f"{case}, time", "log_softmax + gather"]["unit"] == "CPU s"
        memory = found[f"{case}, temporary memory", "log_softmax + gather"]
        assert memory["unit"] == "GiB" and memory["ratio"] > 1
    assert "GFLOP/s" in text and "| torch |" in text


@pytest.mark.slow
def test_a_step_is_measured_beside_torch_and_another_tree(tmp_path):
    pytest.importorskip("transformers")
    tree = FOLDER.parents[1]
    found, text = measured("step", tmp_path, "--turns", 2, "--before", tree)
    names = {"tiny, step", "tiny, first step", "tiny, memory"}
    assert names == {name for name, peer in found if peer == "before"}
    assert ("tiny, update", "torch, update only") in found
    assert "--before TREE" in text and str(tree) not in text
    line = next(line for line in text.splitlines() if line.startswith("| ours |"))
    step, rollout, scoring, update, first, _ = map(float, line.split("|")[2:-1])
    assert first > step and min(rollout, scoring, update) > 0
    assert rollout + scoring + update == pytest.approx(step, rel=0.5)  # medians


@pytest.mark.slow
def test_a_second_start_is_measured_beside_the_first(tmp_path):
    found, text = measured("compile", tmp_path, "--turns", 1)
    for program in ("sampler", "update"):
        assert (f"{program}, 3 layers", "2 layers") in found
        second = found[f"{program}, 2 layers, second start", "first start"]
        assert second["ratio"] > 1
    assert found["default job, programs", "first start"]["unit"] == "s"
    cells = {
        line.split("|")[1].strip(): line.split("|")
        for line in text.splitlines()
        if line.startswith(("| first |", "| second |"))
    }
    programs, compiled, read = zip(
        *(map(int, cells[start][4:7]) for start in ("first", "second")), strict=True
    )
    assert programs[0] == programs[1] == compiled[0] == read[1] > 0
    assert compiled[1] == read[0] == 0


@pytest.mark.slow
def test_the_default_job_is_measured_by_part(tmp_path):
    tree = FOLDER.parents[1]
    found, text = measured("default_job", tmp_path, "--before", tree)
    assert found["default job, all", "before"]["unit"] == "CPU s"
    parts = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 7 and cells[2][:1].isdigit():
            parts[cells[1]] = float(cells[2])
    whole, first = parts.pop("all"), parts.pop("first update")
    assert sum(parts.values()) == pytest.approx(whole, rel=0.05) and first < whole
    assert parts["supervised training"] > 0 and parts["rollouts"] > 0
