"""Sets of the Hugging Face Hub are read like files, or the remedy is named."""

import json
import os
import subprocess
import sys

import pytest
from conftest import ROOT
from support.hub_server import COMMIT, hub_of

from maspo_jax.config import serialization
from maspo_jax.data.sources import Columns, HubProblems, ProblemFile
from maspo_jax.runs import provenance

ROWS = [
    {"question": f"{i}+{i}?", "answer": f"So.\n#### {2000 * i}", "id": i}
    for i in range(1, 4)
]


@pytest.fixture
def folder(write, tmp_path, monkeypatch):
    """A set as it lies on the Hub, with its cache beside it and no network."""
    pytest.importorskip("datasets", reason="needs the `hub` extra")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    (tmp_path / "set").mkdir()
    write(*ROWS, name="set/train.jsonl")
    return str(tmp_path / "set")


@pytest.mark.filterwarnings("ignore")  # of the library, about itself
def test_a_set_is_read_like_its_file(folder):
    source = HubProblems(folder)
    assert list(source) == list(ProblemFile(f"{folder}/train.jsonl"))
    assert source[2].answer == "6000"
    assert len(HubProblems(folder, first=2)) == 2
    named = HubProblems(folder, schema=Columns("question", "id"))
    assert named[1].answer == "2"


@pytest.mark.filterwarnings("ignore")
def test_problems_that_changed_have_another_digest(folder, write):
    assert provenance.revisions(HubProblems(folder)) == {}
    (before,) = provenance.digests(HubProblems(folder)).items()
    assert before[0] == f"{folder}:train"
    assert provenance.digests(HubProblems(folder)) == dict([before])
    write(*ROWS[:2], {**ROWS[2], "answer": "#### 7"}, name="set/train.jsonl")
    (after,) = provenance.digests(HubProblems(folder)).items()
    assert after[0] == before[0] and after[1] != before[1]


@pytest.mark.filterwarnings("ignore")
def test_two_readings_of_one_set_are_told_apart(folder, tmp_path):
    others = [{**row, "answer": "#### 7"} for row in ROWS]
    for name, rows in (("main", ROWS), ("other", others)):
        (tmp_path / "set" / name).mkdir()
        lines = "".join(f"{json.dumps(row)}\n" for row in rows)
        (tmp_path / "set" / name / "train.jsonl").write_text(lines)
    (tmp_path / "set" / "README.md").write_text(
        "---\nconfigs:\n- config_name: main\n  data_files: main/train.jsonl\n"
        "- config_name: other\n  data_files: other/train.jsonl\n---\n"
    )
    (tmp_path / "set" / "train.jsonl").unlink()
    changes = (
        {"subset": "main"},
        {"subset": "other"},
        {"subset": "main", "first": 2},
        {"subset": "main", "schema": "gsm8k"},
        {"subset": "main", "schema": Columns("question", "id")},
    )
    sources = tuple(HubProblems(folder, **change) for change in changes)
    found = provenance.digests(sources)
    assert len(found) == len(sources)
    assert set(found.values()) >= {
        digest for source in sources for digest in source.digests.values()
    }
    assert len(set(found.values())) == 4, "the two schemas read the same"


def load(name, home, hub, **variables):
    """Reads a set by name in a process of its own. Returns what it says, or None."""
    code = (
        "import json, sys; from maspo_jax.runs import provenance; "
        "from maspo_jax.data.sources.hub import HubProblems; "
        "source = HubProblems(sys.argv[1]); print(json.dumps([len(source), "
        "source[2].answer, provenance.revisions(source), provenance.digests(source)]))"
    )
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    done = subprocess.run(
        [sys.executable, "-c", code, name],
        env=inherited | hub.environment | {"HF_HOME": str(home)} | variables,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return None, done.stderr.splitlines()[-1]
    return json.loads(done.stdout.splitlines()[-1]), None


def test_a_name_is_fetched_and_kept_with_its_commit(folder, tmp_path):
    name = "someone/sums"
    with hub_of({name: tmp_path / "set"}) as hub:
        found, error = load(name, tmp_path / "home", hub)
        assert error is None, error
        assert found[:3] == [3, "6000", {name: COMMIT}]
        assert set(found[3]) == {f"{name}:train"}
        assert hub.fetched == ["train.jsonl"]
        offline = load(name, tmp_path / "home", hub, HF_HUB_OFFLINE="1")
        assert offline == (found, None) and hub.fetched == ["train.jsonl"]

        hub.cut.add("train.jsonl")
        for other, home in ((name, "empty"), ("someone/unknown", "home")):
            found, error = load(other, tmp_path / home, hub)
            assert found is None and f"{other} (subset None, split train)" in error
            assert "cannot be loaded: " in error
            assert "load it once where there is one, or give a file" in error


@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_loaded_or_read_is_refused(folder):
    for source, message in (
        (HubProblems("nobody/nothing"), "nobody/nothing .*cannot be loaded.*network"),
        (HubProblems(folder, split="dev"), "split dev.*cannot be loaded"),
        (HubProblems(folder, schema="verl"), "train row 1: `prompt`"),
    ):
        with pytest.raises(ValueError, match=message):
            len(source)


def test_without_the_library_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ValueError, match=r"pip install 'maspo_jax\[hub\]'"):
        len(HubProblems("openai/gsm8k", "main"))


def test_an_experiment_can_hold_it():
    source = HubProblems("openai/gsm8k", "main", "test", schema=Columns("q", "a"))
    again = serialization.from_json(
        json.loads(json.dumps(serialization.to_json(source)))
    )
    assert again == source


def test_bad_settings_are_refused_before_anything_is_loaded():
    with pytest.raises(ValueError, match="'gsm' is unknown"):
        HubProblems("openai/gsm8k", schema="gsm")
    with pytest.raises(ValueError, match="first=0"):
        HubProblems("openai/gsm8k", first=0)
