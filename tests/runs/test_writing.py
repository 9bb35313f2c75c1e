"""What is written is there as a whole, or as it was; a failure names its remedy."""

import errno
import os
import pathlib
import subprocess
import sys

import pytest
from conftest import ROOT
from support.processes import files_of_at_most

from maspo_jax.storage import Appender, WriteError, write_error, write_whole


def test_of_a_record_without_room_no_part_stays(tmp_path):
    file = Appender(tmp_path / "log")
    file.append(b"x" * 900)
    with files_of_at_most(1000):
        with pytest.raises(
            WriteError, match="log could not be written: File too large"
        ):
            file.append(b"y" * 200)
        file.append(b"z" * 100)
    file.close()
    assert (tmp_path / "log").read_bytes() == b"x" * 900 + b"z" * 100


def test_a_file_that_cannot_be_replaced_is_as_it_was(tmp_path):
    file = tmp_path / "record.json"
    write_whole(file, "before")
    with files_of_at_most(1000), pytest.raises(WriteError, match="ulimit -f"):
        write_whole(file, "after" * 1000)
    assert file.read_text() == "before" and os.listdir(tmp_path) == ["record.json"]


def test_a_file_is_on_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """Or a machine that goes down would leave an empty one in the place of another."""
    order, sync, replace = [], os.fsync, pathlib.Path.replace

    def synced(descriptor):
        order.append(("on disk", os.fstat(descriptor).st_size))
        sync(descriptor)

    def replaced(file, name):
        order.append(("named", file.stat().st_size))
        return replace(file, name)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(pathlib.Path, "replace", replaced)
    write_whole(tmp_path / "record.json", "whole")
    assert order == [("on disk", 5), ("named", 5)]


def test_a_file_is_written_in_utf_8_whatever_the_locale(tmp_path):
    code = "import pathlib; from maspo_jax.storage import write_whole"
    code += f"; write_whole(pathlib.Path({str(tmp_path)!r}, 'text'), '\\u00e9\\u65e5')"
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environment = os.environ | plain | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "text").read_text("utf-8") == "\u00e9\u65e5"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_is_told_from_others(tmp_path):
    file = Appender("/dev/full")
    with pytest.raises(WriteError, match="/dev/full could not .*No space left.*make"):
        file.append(b"x")
    file.close()
    with pytest.raises(WriteError, match="No such file"):
        write_whole(tmp_path / "gone" / "file", "text")


@pytest.mark.parametrize(
    "error, told",
    [
        (OSError(errno.EROFS, "x"), "Read-only file system; mount"),
        (PermissionError(errno.EACCES, "x"), "Permission denied; make it writable"),
        (OSError(errno.EIO, "x"), "Input/output error; see to"),
        (OSError("a text alone\nand more"), "a text alone; see to"),
        (ValueError("Failed: x [os_error_code='28']"), "No space left on device; make"),
    ],
)
def test_every_reason_has_a_remedy(error, told):
    assert f"there could not be written: {told}" in str(write_error("there", error))


def test_an_error_of_another_kind_stays_what_it_is():
    assert write_error("there", ValueError("of a wrong shape")) is None
