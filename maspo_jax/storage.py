"""Files and folders: read, digested, made; a bad one is refused by its name."""

import contextlib
import difflib
import errno
import hashlib
import json
import os
import pathlib
import re
import shutil

_LFS = b"version https://git-lfs.github.com/spec/"  # how each of its pointers begins

# What helps where something could not be written.
_REMEDIES = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room within the quota",
    errno.EFBIG: "raise the limit on the size of a file (ulimit -f)",
    errno.EACCES: "make it writable",
    errno.EPERM: "make it writable",
    errno.EROFS: "mount its file system writable",
}


class WriteError(OSError):
    """Something could not be written; says what, why, and what helps."""


def write_error(path, error):
    """Returns the `WriteError` of a path, or None if an error is of another kind.

    Args:
        path: of the file or folder that was written.
        error: an `OSError`, or one of a library that quotes the number of one.
    """
    code = error.errno if isinstance(error, OSError) else None
    if code is None:  # TensorStore writes "[os_error_code='28']"
        quoted = re.search(r"os_error_code='(\d+)'", str(error))
        code = int(quoted[1]) if quoted else None
    if code is None and not isinstance(error, OSError):
        return None
    reason = os.strerror(code) if code else str(error).partition("\n")[0]
    remedy = _REMEDIES.get(code, "see to the file system")
    return WriteError(f"{path} could not be written: {reason}; {remedy}")


@contextlib.contextmanager
def writing(path):
    """Makes an `OSError` in the block the `WriteError` of a path."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        raise write_error(path, error) from error


def write_whole(path, text):
    """Writes a text file, in the place of one that may be there, whole or not at all.

    In UTF-8, whatever the locale; also if the machine goes down in the middle.

    Raises:
        WriteError: it could not be written; what was there is as it was.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        with writing(path):
            with partial.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())  # or its name might be there before its text
            partial.replace(path)
    except WriteError:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def keep_aside(path, word):
    """Copies a file beside it, for the user to look at. Returns the copy.

    Args:
        path: of the file.
        word: that its name is followed by, and by a number if there is such a copy.
    """
    kept, number = path.with_name(f"{path.name}.{word}"), 1
    while kept.exists():
        number += 1
        kept = path.with_name(f"{path.name}.{word}.{number}")
    with writing(kept):
        shutil.copyfile(path, kept)
    return kept


class Appender:
    """A file that grows by whole records: of one that has no room, no part stays."""

    def __init__(self, path):
        """Opens the file, or creates it."""
        self._path = path
        with writing(path):
            self._file = open(path, "ab", buffering=0)

    def append(self, record):
        """Adds bytes to the file, at once.

        Raises:
            WriteError: they could not be written; the file is as it was.
        """
        size = os.fstat(self._file.fileno()).st_size
        try:
            with writing(self._path):
                rest = memoryview(record)
                while rest:
                    rest = rest[self._file.write(rest) :]
        except WriteError:
            with contextlib.suppress(OSError):
                self._file.truncate(size)
            raise

    def close(self):
        """Closes the file."""
        self._file.close()


def read_json_object(file):
    """Returns the JSON object that a file holds, a dict.

    Args:
        file: a `pathlib.Path`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds something else.
    """
    remedy = "restore it, or fetch it again"
    if file.is_file():
        check_no_pointer(file)
    try:
        found = json.loads(file.read_text("utf-8"))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{file.parent} has no {file.name}") from error
    except (ValueError, RecursionError) as error:  # the latter of deep nesting
        raise ValueError(f"{file} is not JSON ({error}): {remedy}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{file} holds no JSON object: {remedy}")
    return found


def check_no_pointer(file):
    """Refuses a file that Git LFS has left a pointer in the place of.

    Raises:
        ValueError: it holds where the content is, not the content.
    """
    with open(file, "rb") as opened:
        if opened.read(len(_LFS)) == _LFS:
            raise ValueError(
                f"{file} is a pointer of Git LFS, not the file it stands for: run "
                "`git lfs pull` in its repository, or download the file itself"
            )


def digest_files(name, folder, files):
    """Returns the digests of those files of a folder that are there.

    Args:
        name: of the folder, as the user gave it: a path, or a name on the hub.
        folder: where it is here.
        files: names within it.
    """
    return {
        str(pathlib.PurePath(name, file)): digest_file(folder / file)
        for file in files
        if (folder / file).is_file()
    }


def digest_file(path):
    """Returns the digest of the content of a file."""
    with open(path, "rb") as file:
        return f"sha256 {hashlib.file_digest(file, 'sha256').hexdigest()}"


def digest_values(values):
    """Returns the digest of plain data."""
    return f"sha256 {hashlib.sha256(json.dumps(values).encode()).hexdigest()}"


def check_experiment_file(path):
    """Refuses a path that is no Python file.

    Raises:
        FileNotFoundError: there is no file; the message names one that is spelled
            alike.
        ValueError: it is another kind of file, or a folder.
    """
    path = pathlib.Path(path)
    if not path.exists():
        hint = closest(path, "*.py")
        raise FileNotFoundError(
            f"no experiment file {path}{hint or ': give a Python file'}"
        )
    if not path.is_file() or path.suffix != ".py":
        raise ValueError(
            f"{path} is no experiment: give a Python file that ends in .py"
        )


def closest(path, pattern="*"):
    """Returns "; the closest is OTHER", of what is there and spelled alike, or "".

    Args:
        path: of what is not there.
        pattern: of the names beside it that would do.
    """
    path = pathlib.Path(path)
    try:
        there = {each.name for each in path.parent.glob(pattern)} - {path.name}
    except OSError:
        return ""
    close = difflib.get_close_matches(path.name, there, n=1)
    return f"; the closest is {path.parent / close[0]}" if close else ""


def check_folder(path, what):
    """Refuses a path that is no folder.

    Raises:
        FileNotFoundError: it is none of `what`, such as "a run"; the message names one
            that is spelled alike.
    """
    if not pathlib.Path(path).is_dir():
        raise FileNotFoundError(
            f"{path} is not the folder of {what}: it is not there"
            f"{closest(path) or '; correct the path'}"
        )


def results_folder(path, option="--out"):
    """Returns the folder that results go to, which need not be there yet.

    Asked before the work, so that nothing is computed in vain.

    Args:
        path: of the folder.
        option: of the command line, that names it.

    Raises:
        ValueError: it cannot be one; the message names the option and the reason.
    """
    another = f"give another folder with {option}"
    if "://" in str(path):
        raise ValueError(
            f"{option} {path}: results go to a folder of the file system; mount the "
            "bucket, for example with gcsfuse, and give its path"
        )
    folder = place = pathlib.Path(path)
    try:
        while not place.exists():
            place = place.parent
    except OSError as error:  # of a name that is too long, or a folder that is closed
        reason = error.strerror or str(error)
        raise ValueError(f"{option} {folder}: {reason}; {another}") from error
    if not place.is_dir():
        where = "" if place == folder else f"{place} "
        raise ValueError(f"{option} {folder}: {where}is no folder; {another}")
    if not os.access(place, os.W_OK | os.X_OK):
        raise ValueError(f"{option} {folder}: {place} cannot be written to; {another}")
    return folder


@contextlib.contextmanager
def created(folder, option="--out"):
    """Creates a folder to write to; an OSError becomes a ValueError of the option.

    A `WriteError` stays one: it names what helps.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except WriteError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        where = f" at {error.filename}" if error.filename else ""
        raise ValueError(
            f"{option} {folder}: {reason}{where}; give another folder with {option}"
        ) from error


def check_new(folder):
    """Refuses a place for a new folder where something is already.

    Raises:
        ValueError: it holds something, or is a file.
    """
    folder = pathlib.Path(folder)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        what = "is not empty" if folder.is_dir() else "is no folder"
        raise ValueError(f"{folder} {what}; give a new folder")
