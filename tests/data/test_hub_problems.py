"""Sets of the Hugging Face Hub are read like files, or the remedy is named."""

import dataclasses
import json
import os
import subprocess
import sys
import types

import pyarrow
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


class Arrow:
    """Rows in tables of at most two, with the methods of `datasets.Dataset`."""

    def __init__(self, *rows):
        self.table = pyarrow.Table.from_pylist(list(rows))

    def with_format(self, kind):
        assert kind == "arrow"
        return self

    def iter(self, batch_size):
        batch_size = min(batch_size, 2)
        return (self.table[n : n + batch_size] for n in range(0, len(self.table), 2))


@pytest.fixture
def loads(monkeypatch):
    """Has the library load what is given, whether it is installed or not."""

    def loads(found):
        stub = types.SimpleNamespace(load_dataset=lambda *names, **settings: found)
        monkeypatch.setitem(sys.modules, "datasets", stub)
        return HubProblems("some/set")

    return loads


GOOD = {"problem": "1+1?", "answer": "2"}
HUMAN = {"from": "human", "value": "1+1?", "ground_truth": None}
ANSWERED = {"from": "assistant", "value": None, "ground_truth": {"value": "2"}}
every_row = pytest.mark.parametrize(
    "row",
    [
        GOOD,
        {"0": HUMAN, "1": ANSWERED},
        {"conversations": [HUMAN, ANSWERED]},
        {"data": [GOOD]},
        {"train": [GOOD], "test": [GOOD]},
        {**GOOD, "problem": "a\0b"},
        {**GOOD, "solution": "a\0b"},
        {**GOOD, "id": "a\0b"},
        {**GOOD, "image": {"bytes": b"no picture", "path": None}},
        {**GOOD, "answer": None},
        {"0": "a", "1": "b"},
    ],
)


def read(source):
    """Returns what a source holds besides its ids, or why it is refused."""
    try:
        return [(each.question, each.answer, each.solution) for each in source]
    except ValueError as refusal:
        assert "\n" not in str(refusal)
        return str(refusal)


@every_row
def test_rows_pass_the_check_of_rows_of_files(loads, write, row):
    """One rule, `containers.checked`: only the names of the places differ."""
    first = row if "answer" not in row else GOOD
    rows = [first, first, row]
    path = write(*rows, name="set.parquet")
    found = read(loads(Arrow(*rows)))
    expected = read(ProblemFile(path))
    if isinstance(expected, str):
        expected = expected.replace(f"{path}, row", "some/set, train row")
    assert found == expected


def test_what_is_no_row_or_no_split_is_refused(loads):
    with pytest.raises(ValueError, match=r"split=train is no split: give one of a, b$"):
        len(loads({"a": 1, "b": 2}))
    folder = dataclasses.replace(loads(Arrow(GOOD)), name=".", revision="abc")
    with pytest.raises(ValueError, match=r"revision='abc': \. is a folder here"):
        len(folder)
    source = loads(Arrow())
    with pytest.raises(ValueError, match=r"some/set:train is empty"):
        len(source)


@every_row
@pytest.mark.filterwarnings("ignore")
def test_the_library_keeps_rows_as_a_file_has_them(folder, write, row):
    import datasets

    rows = datasets.Dataset.from_list([row, row])
    if "image" in row:  # which opens it, and fails, if it may
        rows = rows.cast_column("image", datasets.Image())
    rows.to_parquet(f"{folder}/train.parquet")
    os.remove(f"{folder}/train.jsonl")
    found, expected = (
        read(source)
        for source in (HubProblems(folder), ProblemFile(f"{folder}/train.parquet"))
    )
    if isinstance(expected, str):
        expected = expected.replace("/train.parquet, row", ", train row")
        expected = expected.replace("train.parquet:", "set:")
    assert found == expected


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


@pytest.mark.filterwarnings("ignore")
def test_the_reason_is_named_and_not_where_it_arose(folder, write):
    write("3", "4", name="set/train.jsonl")
    with pytest.raises(ValueError, match="cannot be loaded: ") as caught:
        len(HubProblems(folder))
    assert "An error occurred while generating" not in str(caught.value)


def test_without_the_library_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ValueError, match=r"pip install 'maspo_jax\[hub\]'"):
        len(HubProblems("openai/gsm8k", "main"))


def test_all_that_chooses_the_problems_is_in_the_name_of_their_digest(loads):
    source = loads(Arrow(GOOD))
    assert list(source.digests) == ["some/set:train"]
    for change, said in (
        ({"subset": "main"}, "subset=main"),
        ({"revision": "abc"}, "revision=abc"),
        ({"schema": "problem"}, "schema=problem"),
        ({"first": 1}, "first=1"),
    ):
        (name,) = dataclasses.replace(source, **change).digests
        assert name == f"some/set:train ({said})"


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
