"""Files of every container are read whole, or say which row is at fault and why."""

import json
import pathlib

import pytest

from maspo_jax.config import serialization
from maspo_jax.data.sources import ProblemFile
from maspo_jax.data.sources.schemas import SCHEMAS, Columns


def refuse(source, *words, error=ValueError):
    """Asserts that reading fails, with all the words, and for `len` as for an item."""
    for read in (len, lambda s: s[0]):
        with pytest.raises(error) as caught:
            read(source)
        assert not [word for word in words if word not in str(caught.value)]


def test_identifiers_are_kept_or_say_where_the_row_is(write):
    row = {"problem": "?", "answer": "1"}
    rows = [{**row, "id": 0}, {**row, "unique_id": "a/b"}, row, {**row, "id": None}]
    names = [problem.id for problem in ProblemFile(write(*rows))]
    assert names == ["0", "a/b", "some.jsonl:3", "some.jsonl:4"]
    indexed = {"prompt": "?", "reward_model": {"ground_truth": "1"}}
    indexed["extra_info"] = {"index": 5}
    assert ProblemFile(write(indexed))[0].id == "5"


def test_only_a_newline_ends_a_row(write):
    text = "One\u2028two\u0085three\x0cfour\r?"
    row = json.dumps({"problem": text, "answer": "1"}, ensure_ascii=False)
    source = ProblemFile(write(row.replace("\\r", "\\r"), "", "  \r", row))
    assert [problem.question for problem in source] == [text, text]


@pytest.mark.parametrize(
    "bad", ['{"problem": ', "not JSON", "[1]", "3", '"a"', "\ufffe"]
)
def test_a_malformed_line_is_named(write, bad):
    path = write({"problem": "?", "answer": "1"}, "", bad)
    refuse(ProblemFile(path), f"{path}, line 3", "one")


def test_bytes_that_are_no_text_are_named(write, tmp_path):
    path = tmp_path / "some.data"
    path.write_bytes(b"PAR1\xff\xfe\x00\n")
    refuse(ProblemFile(str(path)), f"{path}, line 1", "one JSON object per line")
    refuse(ProblemFile(str(path)), "ends in .parquet")


@pytest.mark.parametrize("keep", [0, 4, 200, -9])
def test_a_damaged_parquet_file_is_named(write, tmp_path, keep):
    rows = [{"problem": f"{i}?", "answer": str(i)} for i in range(200)]
    whole = pathlib.Path(write(*rows, name="whole.parquet"))
    part = tmp_path / "part.parquet"
    data = whole.read_bytes()
    part.write_bytes(data[:keep])
    refuse(ProblemFile(str(part)), str(part), "damaged parquet")
    part.write_bytes(data[:4] + b"\xff" * 60 + data[64:])
    refuse(ProblemFile(str(part)), str(part), "damaged parquet")


def test_a_parquet_file_of_other_columns_is_refused_with_their_names(write):
    path = write({"text": "1+1=2", "score": 0.5}, name="other.parquet")
    refuse(ProblemFile(path), f"{path}, row 1", "text, score", *SCHEMAS, "Columns(")


def test_the_row_of_a_parquet_file_is_named(write):
    good, bad = {"problem": "?", "answer": "1"}, {"problem": "", "answer": "1"}
    path = write(good, bad, name="some.parquet")
    refuse(ProblemFile(path), f"{path}, row 2", "`problem`", "empty")


@pytest.mark.parametrize("name", ["some.json", "some.jsonl", "some.json.gz"])
def test_an_array_is_read_whatever_its_name(write, name):
    row = {"problem": "One\u2028two?", "answer": "1"}
    path = write(json.dumps([row, row], indent=1, ensure_ascii=False), name=name)
    if name == "some.json":  # the fixture has put brackets around it already
        path = write(row, row, name=name)
    assert [problem.question for problem in ProblemFile(path)] == [row["problem"]] * 2


@pytest.mark.parametrize("content", ['[{"problem": ', "[1]", '["a"]', "[[]]"])
def test_a_malformed_array_is_named(write, content):
    path = write(content)
    refuse(ProblemFile(path), path, "one")


def test_an_empty_array_is_refused(write):
    refuse(ProblemFile(write(name="some.json")), "is empty")


UNANSWERED = (
    {"problem": "?"},
    {"problem": "?", "answer": None},
    {"problem": "?", "answer": " "},
)


@pytest.mark.parametrize("row", UNANSWERED, ids=str)
def test_rows_without_an_answer_are_left_out_only_as_counted(write, row, caplog):
    good = {"problem": "?", "answer": "1"}
    path = write(good, row, good, row)
    for known in (0, 1, 3):
        source = ProblemFile(path, "problem", unanswered=known)
        refuse(source, f"{path}, line 2", "`answer`", "2 rows", "unanswered=2")
    source = ProblemFile(path, unanswered=2)
    assert len(source) == 2 and source[1].id == "some.jsonl:3"
    assert caplog.text.count("2 rows without an answer are left out") == 1
    with pytest.raises(ValueError, match="unanswered=-1"):
        ProblemFile(path, unanswered=-1)


@pytest.mark.parametrize("keep", [4, 30, -9])
def test_a_damaged_gzip_file_is_named(write, tmp_path, keep):
    rows = [{"problem": f"{i}{i * i}?", "answer": str(i)} for i in range(200)]
    whole = pathlib.Path(write(*rows, name="whole.jsonl.gz"))
    part = tmp_path / "part.jsonl.gz"
    part.write_bytes(whole.read_bytes()[:keep])
    refuse(ProblemFile(str(part)), str(part), "damaged gzip")
    part.write_bytes(b"plain text")
    refuse(ProblemFile(str(part)), str(part), "damaged gzip")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (str(tmp_path / "gone.jsonl"), str(tmp_path)):
        refuse(ProblemFile(path), path, error=FileNotFoundError)


@pytest.mark.parametrize("lines", [(), ("", " ")])
def test_an_empty_file_is_refused(write, lines):
    path = write(*lines)
    refuse(ProblemFile(path), path, "is empty")


def test_an_unknown_schema_lists_columns_and_schemas(write):
    path = write({"text": "1+1=2", "score": 1})
    refuse(ProblemFile(path), "line 1", "text, score", *SCHEMAS)
    with pytest.raises(ValueError, match="'gsm'.*verl, .*gsm8k"):
        ProblemFile(path, schema="gsm")


def test_the_first_rows_are_read_alone(write):
    rows = [{"problem": "?", "answer": str(i)} for i in range(3)]
    path = write(*rows, "damaged")
    assert [p.answer for p in ProblemFile(path, first=2)] == ["0", "1"]
    with pytest.raises(ValueError, match="first=0"):
        ProblemFile(path, first=0)
    path = write({"problem": "?", "answer": None}, *rows, "damaged")
    first = ProblemFile(path, "problem", first=2, unanswered=1)
    assert [p.answer for p in first] == ["0", "1"]  # rows without one do not count


def test_an_experiment_can_hold_it(write):
    source = ProblemFile(write({"problem": "?", "answer": "1"}), first=1)
    assert len(source) == 1
    named = ProblemFile(source.path, Columns("problem", "answer"), unanswered=0)
    for held in (source, named):
        again = serialization.from_json(
            json.loads(json.dumps(serialization.to_json(held)))
        )
        assert again == held and hash(again) == hash(held)
        assert len(again) == 1


def test_nothing_is_read_before_it_is_asked_for():
    ProblemFile("gone.jsonl")


@pytest.mark.parametrize("name", ["some.jsonl", "some.json"])
def test_a_row_that_is_nested_too_deeply_is_named(write, name):
    with pytest.raises(ValueError, match="some.json.*: malformed JSON .*recursion"):
        len(ProblemFile(write('{"problem": ' + "[" * 100_000, name=name)))


def test_a_path_may_be_an_object(write):
    text = write({"problem": "1+1=?", "answer": "2"})
    source = ProblemFile(pathlib.Path(text))
    assert source == ProblemFile(text) and len(source) == 1
    assert (
        serialization.from_json(json.loads(json.dumps(serialization.to_json(source))))
        == source
    )
