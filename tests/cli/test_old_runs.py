"""A run of the tree before modules and fields had the names of today.

`reference_data/old_run` was written by it: `tests/experiments/tiny.py`, with `WORDS`.
"""

import importlib
import json
import shutil

import pytest
from conftest import EXPERIMENTS, ROOT, TINY, command, measured, run
from support.evaluations import evaluation

from maspo_jax.cli import export
from maspo_jax.config import legacy, loading, serialization
from maspo_jax.objectives import gates
from maspo_jax.runs import run_folder

OLD_RUN = ROOT / "tests" / "reference_data" / "old_run"
WORDS = [
    *("--policy.width", 8, "--policy.head-width", 4, "--policy.feed-forward", 8),
    *("--sft.phases.0.updates", 6, "--sft.phases.1.updates", 6),
    *("--sft.checkpoint-every", 12, "--checkpoint-every", 2),
]


@pytest.fixture
def old_run(tmp_path):
    """A copy of it, which may be changed."""
    return shutil.copytree(OLD_RUN, tmp_path / "old_run")


def test_its_experiment_is_that_of_today():
    today = loading.load(TINY, [*WORDS, "--steps", 2])
    assert run_folder.read_experiment(OLD_RUN) == today
    record = serialization.upgraded(json.loads((OLD_RUN / "config.json").read_text()))
    assert serialization.differences(serialization.to_json(today), record) == []


def test_an_objective_with_everything_on_is_that_of_today():
    """The record was written by the old tree for `tests/experiments/tiny_all.py`."""
    record = json.loads(OLD_RUN.with_name("old_objective.json").read_text())
    today = serialization.to_json(loading.load(EXPERIMENTS / "tiny_all.py"))
    assert serialization.differences(today, serialization.upgraded(record)) == [
        f"{name}: {record[name]!r} in the run, None here"
        for name in ("files", "revisions")
        if record[name]
    ]


def test_what_was_renamed_in_files_is_found_again():
    hub = {"class": "maspo_jax.data.hub_problems:HubProblems", "layout": "gsm8k"}
    tokenizer = {"class": "maspo_jax.data.tokenizer:FileTokenizer", "end_token": "<e>"}
    record = {
        "class": "maspo_jax.config:Experiment",
        "train_set": hub,
        "tokenizer": tokenizer,
        "files": {"some/set:train (layout=gsm8k)": "sha256 0"},
    }
    today = serialization.upgraded(record)
    assert today["train_set"]["class"] == "maspo_jax.data.sources:HubProblems"
    assert (
        today["train_set"]["schema"] == "gsm8k" and "layout" not in today["train_set"]
    )
    assert today["tokenizer"]["eos_token"] == "<e>"
    assert today["files"] == {"some/set:train (schema=gsm8k)": "sha256 0"}


def test_it_goes_on(old_run):
    before = measured(old_run)
    status, output = command(TINY, *WORDS, "--steps", 3, "--run", old_run)
    assert status == 0 and "going on from step 2" in output, output
    steps = {
        stage: [line["step"] for line in run_folder.read_metrics(old_run, stage)]
        for stage in ("sft", "update", "reinforcement", "validation")
    }
    assert steps == {
        "sft": [line["step"] for line in before if line["stage"] == "warm_up"],
        "update": [1, 2, 3, 4, 5, 6],
        "reinforcement": [1, 2, 3],
        "validation": [0, 2, 3],
    }
    record = json.loads((old_run / "config.json").read_text())
    assert record["objective"]["gate"]["class"] == "maspo_jax.objectives.gates:Maspo"
    assert "sft" in record and "warm_up" not in record


def test_one_that_is_refused_is_left_as_it_was(old_run):
    everything = lambda: sorted(
        (path, path.is_file() and path.read_bytes()) for path in old_run.rglob("*")
    )
    shutil.rmtree(old_run / "checkpoints" / "reinforcement")
    before = everything()
    assert any(path.name == "warm_up" for path, _ in before)
    status, output = command(TINY, *WORDS, "--steps", 3, "--run", old_run)
    assert status == 2 and "has lost its checkpoints" in output, output
    assert everything() == before


def test_it_is_refused_with_another_setting_by_its_name_of_today(old_run):
    words = ["--objective.gate.alpha", 0.5, "--validation.every", 1]
    status, output = command(TINY, *WORDS, *words, "--run", old_run)
    assert status == 2
    assert "objective.gate.alpha: 0.3 in the run, 0.5 here" in output
    assert "validation.every: 2 in the run, 1 here" in output
    lines = [line for line in output.splitlines() if " in the run, " in line]
    assert len(lines) == 2, output


def test_it_is_evaluated_and_exported(old_run, chain_files, tmp_path):
    status, output = evaluation(old_run, chain_files[0], out=tmp_path / "out")
    assert status == 0, output
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["benchmarks"]["short"]["problems"] == 9
    status, output = run(export, old_run, "--out", tmp_path / "exported")
    assert status == 0 and (tmp_path / "exported" / "model.safetensors").is_file()


def test_every_old_name_leads_somewhere():
    for name in legacy.NAMES.values():
        assert serialization.public_name(serialization.found(name)) == name
    for module in legacy.MODULES.values():
        importlib.import_module(module)
    for kind, fields in legacy.FIELDS.items():
        known = {
            field.name
            for field in serialization.found(kind).__dataclass_fields__.values()
        }
        assert set(fields.values()) <= known and not set(fields) & known


def test_a_class_is_recorded_by_the_shortest_place_that_exports_it():
    for thing, name in (
        (gates.Maspo, "maspo_jax.objectives.gates:Maspo"),
        (loading.Experiment, "maspo_jax.config:Experiment"),
        (gates.clipping.between, "maspo_jax.objectives.gates.clipping:between"),
    ):
        assert (
            serialization.public_name(thing) == name
            and serialization.found(name) is thing
        )


def test_a_name_that_is_gone_stays_as_it_is():
    gate = {"class": "__main__:Mine", "share": 0.5}
    assert serialization.upgraded({"gate": gate}) == {"gate": gate}
    with pytest.raises(ValueError, match="defined in a notebook or a script"):
        serialization.from_json(gate)
