"""What holds of every folder that a command works in, be it a run or an evaluation."""

import json

import pytest

from maspo_jax.evaluation import folders
from maspo_jax.training import runs

every_kind = pytest.mark.parametrize(
    "kind", [runs.RUN, folders.EVALUATION], ids=lambda kind: kind.noun
)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@every_kind
def test_a_record_is_settled_between_what_was_and_what_is(kind, tmp_path):
    folder, seen = tmp_path / "deep" / "new", []
    for record in ({"a": 1}, {"a": 2}):
        with kind.opened(folder, lambda before, r=record: seen.append(before) or r):
            assert kind.read(folder) == record
    assert seen == [None, {"a": 1}]
    assert set(files(folder)) == {kind.record}


@every_kind
def test_a_start_that_was_cut_off_may_be_repeated(kind, tmp_path):
    (tmp_path / f"{kind.record}.partial").write_text('{"a"')
    with kind.opened(tmp_path, lambda before: {"a": before}):
        assert kind.read(tmp_path) == {"a": None}


def refuse_all(before):
    raise ValueError(f"not after {before}")


@every_kind
@pytest.mark.parametrize(
    "begun, message",
    [
        ({"thesis.tex": "precious"}, "exists and holds no {noun} .it has no {record}"),
        ({"record": '{"a": 1}'}, "not after {{'a': 1}}"),
        ({"record": '{"a"'}, "{record} is not JSON .*: restore it"),
    ],
)
def test_a_refused_folder_stays_as_it_was(kind, tmp_path, begun, message):
    for name, text in begun.items():
        (tmp_path / name.replace("record", kind.record)).write_text(text)
    before = files(tmp_path)
    message = message.format(noun=kind.noun, record=kind.record)
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
    ):
        with pytest.raises(ValueError, match=f"^{kind.option} .*{message}"):
            with kind.opened(folder, refuse_all):
                pass
    with pytest.raises(FileNotFoundError, match=f"is not the folder of {kind}: no"):
        kind.read(tmp_path)
    assert files(tmp_path) == {"file": b"precious"}


@every_kind
def test_one_at_a_time_until_it_ends(kind, tmp_path):
    settle = lambda before: {"a": 1}
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
    with runs.RUN.opened(tmp_path, lambda before: {}):
        pass
    with pytest.raises(ValueError, match="holds no evaluation"):
        with folders.EVALUATION.opened(tmp_path, lambda before: {}):
            pass
    assert json.loads((tmp_path / "config.json").read_text()) == {}
