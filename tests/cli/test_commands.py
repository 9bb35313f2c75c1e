"""What every command does with the folder that its results go to."""

import pathlib

import pytest
from conftest import run

from maspo_jax import storage
from maspo_jax.cli import compare, export
from maspo_jax.cli import contamination as data
from maspo_jax.cli import figures as figures

# Of what is not there: the folder for the results is looked at first.
COMMANDS = {
    "compare": (compare, ["a", "b"]),
    "export": (export, ["run"]),
    "data": (data, ["train.jsonl", "--against", "other.jsonl"]),
    "figures": (figures, ["run"]),
    "figures gates": (figures, ["gates"]),
}
every_command = pytest.mark.parametrize("name", COMMANDS)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, with a file in it and a folder closed to everybody."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("precious")
    (tmp_path / "closed").mkdir()
    access = storage.os.access
    closed = lambda path, mode: path.name != "closed" and access(path, mode)
    monkeypatch.setattr(storage.os, "access", closed)  # root may write everywhere
    return tmp_path


@every_command
@pytest.mark.parametrize(
    "out, reason",
    [
        ("file", "file: is no folder"),
        ("file/below", "file is no folder"),
        ("file/far/below", "file is no folder"),
        ("closed", "closed cannot be written to"),
        ("closed/below", "closed cannot be written to"),
        ("gs://bucket/out", "results go to a folder of the file system; mount"),
    ],
)
def test_a_place_that_cannot_take_results_is_one_clear_line(here, name, out, reason):
    module, words = COMMANDS[name]
    before = sorted(here.rglob("*"))
    status, output = run(module, *words, "--out", out)
    assert status == 2
    assert output.startswith(f"error: --out {out}: ") and reason in output
    assert output.count("\n") == 1
    assert "give another folder with --out" in output or "mount the bucket" in output
    assert sorted(here.rglob("*")) == before
    assert (here / "file").read_text() == "precious"


def test_a_folder_that_can_take_results_is_not_made_before_there_are_any(here):
    for path in ("new", "new/deep", ".", here / "other"):
        assert storage.results_folder(path) == pathlib.Path(path)
    assert {path.name for path in here.iterdir()} == {"file", "closed"}


def test_what_fails_in_writing_is_said_of_the_option(here):
    with storage.created(here / "new" / "deep", "--run"):
        assert (here / "new" / "deep").is_dir()
    with pytest.raises(ValueError, match="^--run file: File exists at file; give an"):
        with storage.created(pathlib.Path("file"), "--run"):
            raise AssertionError("there is no such folder")
    with pytest.raises(ValueError, match="^--out .: Is a directory at new; give"):
        with storage.created(pathlib.Path(".")):
            pathlib.Path("new").write_text("x")


def test_a_report_that_cannot_be_written_has_been_printed(here, write):
    file = write({"problem": "1+1=?", "answer": "2"})
    (here / "contamination.md").mkdir()
    status, output = run(data, file, "--against", file, "--out", ".")
    assert status == 2 and f"| {file} | 1 | 1 |" in " ".join(output.split())
    error = output.splitlines()[-1]
    assert error.startswith("error: --out .: Is a directory at contamination.md; give")
