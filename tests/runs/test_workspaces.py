"""What holds of every folder that a command works in, be it a run or an evaluation."""

import json

import pytest

from maspo_jax import distributed
from maspo_jax.evaluation import evaluation_folder
from maspo_jax.runs import run_folder

every_kind = pytest.mark.parametrize(
    "kind", [run_folder.RUN, evaluation_folder.EVALUATION], ids=lambda kind: kind.noun
)

# The least that a folder of either kind has to say of itself.
RECORDS = {
    "run": {"class": "maspo_jax.config:Experiment"},
    "evaluation": {"policy": "p", "answers": {}, "benchmarks": {}},
}


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@every_kind
def test_a_record_is_settled_between_what_was_and_what_is(kind, tmp_path):
    folder, seen = tmp_path / "deep" / "new", []
    least = RECORDS[kind.noun]
    for record in (least | {"a": 1}, least | {"a": 2}):
        with kind.opened(folder, lambda before, r=record: seen.append(before) or r):
            assert kind.read(folder) == record
    assert seen == [None, least | {"a": 1}]
    assert set(files(folder)) == {kind.record}


@every_kind
def test_a_start_that_was_cut_off_may_be_repeated(kind, tmp_path):
    (tmp_path / f"{kind.record}.partial").write_text('{"a"')
    least = RECORDS[kind.noun]
    with kind.opened(tmp_path, lambda before: least | {"a": before}):
        assert kind.read(tmp_path) == least | {"a": None}


def refuse_all(before):
    raise ValueError(f"not after {before}")


@every_kind
@pytest.mark.parametrize(
    "begun, message",
    [
        ({"thesis.tex": "precious"}, "exists and holds no {noun} .it has no {record}"),
        ({"record": "LEAST"}, "not after {{"),
        ({"record": '{"a"'}, "holds no {noun}: .*{record} is not JSON .*: restore it"),
        ({"record": "[]"}, "holds no {noun}: .*{record} holds no JSON object: restore"),
        ({"record": '{"model_type": "qwen2"}'}, "holds no {noun}: .* not that of"),
        (
            {"record": '{"class": 1, "policy": "p", "answers": {}, "benchmarks": []}'},
            "holds no {noun}: .*{record} is not that of {kind}",
        ),
    ],
)
def test_a_refused_folder_stays_as_it_was(kind, tmp_path, begun, message):
    for name, text in begun.items():
        text = text.replace("LEAST", json.dumps(RECORDS[kind.noun]))
        (tmp_path / name.replace("record", kind.record)).write_text(text)
    before = files(tmp_path)
    message = message.format(kind=kind, noun=kind.noun, record=kind.record)
    with pytest.raises(ValueError, match=message):
        with kind.opened(tmp_path, refuse_all):
            pass
    assert files(tmp_path) == before


@every_kind
def test_what_is_no_folder_is_refused_by_the_option_that_names_it(kind, tmp_path):
    (tmp_path / "file").write_text("precious")
    for folder, message in (
        (tmp_path / "file", "is no folder"),
        ("gs://bucket/folder", "mount the bucket"),
        (tmp_path / ("a" * 300), "File name too long.*another folder"),
    ):
        with pytest.raises(ValueError, match=f"^{kind.option} .*{message}"):
            with kind.opened(folder, refuse_all):
                pass
    with pytest.raises(FileNotFoundError, match=f"is not the folder of {kind}: no"):
        kind.read(tmp_path)
    assert files(tmp_path) == {"file": b"precious"}


@every_kind
@pytest.mark.parametrize("error", [ValueError, OSError, TypeError, KeyError])
def test_whatever_ends_the_first_process_ends_the_others(
    kind, tmp_path, monkeypatch, error
):
    told = []
    everyones = lambda failed: told.append(failed) or failed
    monkeypatch.setattr(distributed.hosts, "max_over_hosts", everyones)

    def settle(before):
        raise error("of a record that is damaged")

    with pytest.raises((error, ValueError)):
        with kind.opened(tmp_path, settle):
            pass
    assert told == [True]


@every_kind
def test_one_at_a_time_until_it_ends(kind, tmp_path):
    settle = lambda before: RECORDS[kind.noun]
    with kind.opened(tmp_path, settle):
        with pytest.raises(ValueError, match=f"another process .*{kind.option}"):
            with kind.opened(tmp_path, refuse_all):
                pass
    with kind.opened(tmp_path, settle):
        pass


@every_kind
def test_settings_that_differ_are_listed(kind):
    kind.refuse("there", [])
    with pytest.raises(ValueError) as error:
        kind.refuse("there", ["a: 1", "b: 2"])
    lines = str(error.value).splitlines()
    assert lines[:3] == [f"there holds a different {kind.noun}:", "  a: 1", "  b: 2"]
    assert kind.option in lines[3]


def test_the_kinds_are_told_apart(tmp_path):
    with run_folder.RUN.opened(tmp_path, lambda before: RECORDS["run"]):
        pass
    with pytest.raises(ValueError, match="holds no evaluation"):
        with evaluation_folder.EVALUATION.opened(tmp_path, refuse_all):
            pass
    assert json.loads((tmp_path / "config.json").read_text()) == RECORDS["run"]
