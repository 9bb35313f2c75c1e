"""Sets of the Hugging Face Hub are read like files, or the remedy is named."""

import json
import sys

import pytest

from maspo_jax import config, origins
from maspo_jax.data.hub_problems import HubProblems
from maspo_jax.data.layouts import Columns
from maspo_jax.data.problems import ProblemFile

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
    named = HubProblems(folder, layout=Columns("question", "id"))
    assert named[1].answer == "2"


@pytest.mark.filterwarnings("ignore")
def test_problems_that_changed_have_another_digest(folder, write):
    (before,) = origins.digests(HubProblems(folder)).items()
    assert before[0] == f"{folder}:train"
    assert origins.digests(HubProblems(folder)) == dict([before])
    write(*ROWS[:2], {**ROWS[2], "answer": "#### 7"}, name="set/train.jsonl")
    (after,) = origins.digests(HubProblems(folder)).items()
    assert after[0] == before[0] and after[1] != before[1]


@pytest.mark.parametrize("commit", ["e53f048856ff4f594e959d75785d2c2d37b678ee", None])
def test_the_revision_is_the_commit_that_was_fetched(monkeypatch, commit):
    class Rows(list):
        class info:
            files = f"hf://datasets/openai/gsm8k@{commit}/main/train.parquet"
            download_checksums = {files: {}} if commit else None

    monkeypatch.setattr(HubProblems, "_rows", Rows(ROWS))
    source = HubProblems("openai/gsm8k", "main")
    assert len(source) == 3
    expected = {"openai/gsm8k": commit} if commit else {}
    assert origins.revisions(source) == expected


@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_loaded_or_read_is_refused(folder):
    for source, message in (
        (HubProblems("nobody/nothing"), "nobody/nothing .*cannot be loaded.*network"),
        (HubProblems(folder, split="dev"), "split dev.*cannot be loaded"),
        (HubProblems(folder, layout="verl"), "train row 1: `prompt`"),
    ):
        with pytest.raises(ValueError, match=message):
            len(source)


def test_without_the_library_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ValueError, match=r"pip install 'maspo_jax\[hub\]'"):
        len(HubProblems("openai/gsm8k", "main"))


def test_an_experiment_can_hold_it():
    source = HubProblems("openai/gsm8k", "main", "test", layout=Columns("q", "a"))
    again = config.from_json(json.loads(json.dumps(config.to_json(source))))
    assert again == source


def test_bad_settings_are_refused_before_anything_is_loaded():
    with pytest.raises(ValueError, match="'gsm' is unknown"):
        HubProblems("openai/gsm8k", layout="gsm")
    with pytest.raises(ValueError, match="first=0"):
        HubProblems("openai/gsm8k", first=0)
