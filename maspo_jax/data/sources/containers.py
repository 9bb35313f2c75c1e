"""Files of rows: JSON lines, a JSON array, either compressed with gzip, or parquet.

The rows of a file come with their place, for errors to name. What a file holds is
seen from its name (`.gz`, `.parquet`) and, for JSON, from its first character.
"""

import gzip
import json
import pathlib
import zlib
from collections.abc import Iterator
from typing import IO, Any

from maspo_jax import storage
from maspo_jax.data.sources import chats

_BLANK = b"\xef\xbb\xbf \t\r\n"  # and the mark of UTF-8

# The place of a row in words, and the row.
Row = tuple[str, dict]


def rows(path: str) -> Iterator[Row]:
    """Yields every row of a file, in order."""
    if not pathlib.Path(path).is_file():
        hint = storage.closest(path) or ": correct the path"
        if pathlib.Path(path).is_dir():
            hint = ": it is a folder; give a file of it"
        raise FileNotFoundError(f"no file of problems at {path}{hint}")
    storage.check_no_pointer(path)
    return _parquet(path) if path.endswith(".parquet") else _json(path)


def _json(path: str) -> Iterator[Row]:
    open_bytes = gzip.open if path.endswith(".gz") else open
    number = 0
    try:
        with open_bytes(path, "rb") as file:
            # Lines of bytes end at "\n" only. A row of GSM8K contains U+2028, which
            # ends a line for `str.splitlines`.
            for number, line in enumerate(file, 1):
                if number == 1 and _begins_array(line):
                    yield from _array(line + file.read(), path)
                    return
                if line.strip():
                    place = f"{path}, line {number}"
                    try:
                        row = _parse(line, place)
                    except ValueError:
                        _refuse_spread(line, file, place)
                        raise
                    yield place, _object(row, place)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(
            f"{path}: damaged gzip file after line {number} ({error}). Copy it again"
        ) from error


def _begins_array(line: bytes) -> bool:
    """Returns whether a file is one array, and not lines of which each is a chat."""
    if line.lstrip(_BLANK)[:1] != b"[":
        return False
    try:
        return not chats.is_chat(json.loads(line.decode("utf-8-sig")))
    except (ValueError, RecursionError):
        return True


def _refuse_spread(line: bytes, file: IO[bytes], place: str) -> None:
    """Refuses an object that a line begins and a later one of the file ends."""
    if line.lstrip(_BLANK)[:1] != b"{":
        return
    try:
        text = (line + file.read()).decode("utf-8-sig").lstrip()
        found, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return
    columns = ", ".join(map(str, found)) or "none"
    raise ValueError(
        f"{place}: one JSON object over several lines, with the columns {columns}. "
        "Write every row as an object on one line (jq -c does), or all in one array"
    )


def _array(data: bytes, path: str) -> Iterator[Row]:
    for number, row in enumerate(_parse(data, path), 1):
        place = f"{path}, element {number}"
        yield place, _object(row, place)


def _parse(data: bytes, place: str) -> Any:
    try:
        return json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # of the encoding, or the JSON in it
        raise ValueError(
            f"{place}: malformed JSON ({error}). Expected is one JSON object per line, "
            "one array of objects, or a file that ends in .parquet"
        ) from error


def _object(row: Any, place: str) -> dict:
    if chats.is_chat(row):  # Open-Reasoner-Zero: named as ShareGPT names it
        return {"conversations": row}
    if not isinstance(row, dict):
        raise ValueError(
            f"{place}: found a JSON {type(row).__name__}, expected one object per row"
        )
    return row


def _parquet(path: str) -> Iterator[Row]:
    # Imported here: it takes half a second, and few runs read parquet.
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", row
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(
            f"{path}: damaged parquet file after row {number} ({error}). Copy it again"
        ) from error
