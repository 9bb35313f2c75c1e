"""What is written is there as a whole, or as it was; a failure names its remedy."""

import errno
import os

import pytest
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
