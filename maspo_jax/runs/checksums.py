"""Checksums of a checkpoint: damage is noticed before anything is read from it.

They find what disks and copies do to files, and are no proof against intent: CRC-32 of
each chunk, the fastest in Python's library, so that a large checkpoint is read about as
fast as its disk allows.
"""

import concurrent.futures
import json
import os
import zlib

import jax

from maspo_jax.storage import write_whole

FILE = "checksums.json"
CHUNK = 2**26  # bytes; many of them, so that one large file is read by many threads
_THREADS = min(16, 2 * (os.cpu_count() or 1))


def write_checksums(folder, without=()):
    """Writes the `FILE` of a checkpoint, or adds to it the files that it does not name.

    Args:
        folder: of the checkpoint, a `pathlib.Path`.
        without: names of files that will still change.
    """
    known, size = _read(folder) if (folder / FILE).exists() else ({}, CHUNK)
    names = {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    files = {
        name: total
        for name, total in names.items()
        if name not in known and name not in (FILE, *without)
    }
    chunks = _chunks(files, size)
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
        sums = list(threads.map(lambda chunk: _checksum(folder, *chunk), chunks))
    found = {name: {"bytes": total, "crc32": []} for name, total in files.items()}
    for (name, _, _), checksum in zip(chunks, sums, strict=True):
        found[name]["crc32"].append(checksum)
    write_whole(folder / FILE, _text(known | found, size))


def _text(files, size):
    """Returns the content of a `FILE`, which vouches for itself, too."""
    listed = json.dumps(files).encode()
    record = {"chunk_bytes": size, "crc32": zlib.crc32(listed), "files": files}
    return json.dumps(record, indent=1) + "\n"


def _read(folder):
    """Returns {name: {"bytes", "crc32"}} of files, and the bytes of a chunk."""
    text = (folder / FILE).read_text("utf-8")
    record = json.loads(text)
    files, size = record["files"], record["chunk_bytes"]
    if text != _text(files, size):
        raise ValueError(f"{FILE} is not what was written")
    return files, size


def damage_of(folder):
    """Returns what is wrong with the files of a checkpoint, a text, or None.

    In a pod, each process reads a part of the files, and answers for that.

    Args:
        folder: of the checkpoint, a `pathlib.Path`; it has a `FILE`.

    Raises:
        OSError: a file cannot be read, which says nothing of what it holds.
    """
    try:
        files, size = _read(folder)
        expected = {
            chunk: checksum
            for name, file in files.items()
            for chunk, checksum in zip(
                _chunks({name: file["bytes"]}, size), file["crc32"], strict=True
            )
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        return f"{FILE} is damaged"
    for name, file in files.items():
        try:
            found = (folder / name).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return f"{name} is missing"
        if found != file["bytes"]:
            return f"{name} has {found} bytes instead of {file['bytes']}"
    own = list(expected)[jax.process_index() :: jax.process_count()]
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
        check = lambda chunk: _damage_of_chunk(folder, chunk, expected[chunk])
        found = threads.map(check, own)
        return next(filter(None, found), None)


def _damage_of_chunk(folder, chunk, expected):
    name = chunk[0]
    try:
        found = _checksum(folder, *chunk)
    except (FileNotFoundError, IsADirectoryError):
        return f"{name} is no file"
    return None if found == expected else f"{name} is not what was written"


def _chunks(files, size):
    """Returns the chunks of files, (name, offset, bytes), of {name: bytes}."""
    return [
        (name, offset, min(size, total - offset))
        for name, total in files.items()
        for offset in range(0, total, size)
    ]


def _checksum(folder, name, offset, size):
    """Returns the CRC-32 of a part of a file."""
    checksum, piece = 0, 2**20
    with open(folder / name, "rb") as file:
        file.seek(offset)
        for begin in range(0, size, piece):
            checksum = zlib.crc32(file.read(min(piece, size - begin)), checksum)
    return checksum
