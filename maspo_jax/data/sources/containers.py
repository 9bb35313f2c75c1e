"""Files of rows: JSON lines, a JSON array, either compressed with gzip, or parquet.

The rows of a file come with their place, for errors to name. What a file holds is
seen from its name (`.gz`, `.parquet`) and, for JSON, from its first character; one that
begins as a file of another kind is named by that kind.
"""

import gzip
import json
import pathlib
import re
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
    _refuse_kind(path)
    return _parquet(path) if path.endswith(".parquet") else _json(path)


_ROWS = "one JSON object per line, or one array of them"
_LINES = f"write {_ROWS}"
# How files of other kinds begin: what they are, and what to do.
_KINDS = (
    (b"PAR1", "a parquet file", "rename it so that its name ends in .parquet"),
    (b"\x1f\x8b", "a gzip file", "rename it so that its name ends in .gz"),
    (b"PK\x03\x04", "a zip archive", "unpack it (unzip) and give the file inside"),
    (b"BZh", "a bzip2 file", "unpack it first (bunzip2)"),
    (b"\x28\xb5\x2f\xfd", "a zstd file", "unpack it first (unzstd)"),
    (b"\xfd7zXZ\0", "an xz file", "unpack it first (unxz)"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it and give the file inside"),
    (b"\x04\x22\x4d\x18", "an lz4 file", "unpack it first (lz4 -d)"),
    (b"ARROW1", "an Arrow file", "write it as parquet (Dataset.to_parquet)"),
    (
        b"\xff\xff\xff\xff",
        "an Arrow stream",
        "write it as parquet (Dataset.to_parquet)",
    ),
    (b"SQLite format 3", "a database of SQLite", _LINES),
    (b"\x80\x04\x95", "a Python pickle", _LINES),
    (b"\xff\xfe", "text in UTF-16", "write it in UTF-8 (iconv -f UTF-16 -t UTF-8)"),
    (b"\xfe\xff", "text in UTF-16", "write it in UTF-8 (iconv -f UTF-16 -t UTF-8)"),
)
_PAGE = re.compile(rb"\s*<(?:!doctype|html|\?xml|head|body)", re.IGNORECASE)


def _refuse_kind(path: str) -> None:
    """Refuses a file that begins as one of another kind than its name says.

    Raises:
        ValueError: the message says which kind it is, and what to do.
    """
    with open(path, "rb") as file:
        begin = file.read(512)
    own = {".parquet": b"PAR1", ".gz": b"\x1f\x8b"}.get(pathlib.Path(path).suffix)
    if own and begin.startswith(own):
        return
    for magic, kind, remedy in _KINDS:
        if begin.startswith(magic):
            raise ValueError(f"{path}, line 1: {kind}, not {_ROWS}: {remedy}")
    if _PAGE.match(begin):
        raise ValueError(
            f"{path}, line 1: a web page (HTML), not {_ROWS}: download the file itself"
        )
    if own and begin.lstrip(_BLANK)[:1] in (b"{", b"["):
        raise ValueError(
            f"{path}: JSON, not what its name says: rename it so that it ends in .jsonl"
        )


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
                    yield place, checked(row, place)
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
        found, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return
    if "\n" not in text[:end]:
        return
    columns = ", ".join(map(str, found)) or "none"
    raise ValueError(
        f"{place}: one JSON object over several lines, with the columns {columns}. "
        "Write every row as an object on one line (jq -c does), or all in one array"
    )


def _array(data: bytes, path: str) -> Iterator[Row]:
    for number, row in enumerate(_parse(data, path), 1):
        place = f"{path}, element {number}"
        yield place, checked(row, place)


def _parse(data: bytes, place: str) -> Any:
    try:
        return json.loads(data.decode("utf-8-sig"), object_pairs_hook=_unique)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{place}: not in UTF-8 ({error.reason}, byte 0x{data[error.start]:02x}): "
            f"write it in UTF-8 (iconv -f LATIN1 -t UTF-8, if it is of Latin-1). "
            f"Expected is {_ROWS}, or a file that ends in .parquet"
        ) from error
    except _Repeated as error:
        raise ValueError(f"{place}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{place}: malformed JSON ({error}){_looks_like(data)}. Expected is "
            f"{_ROWS}, or a file that ends in .parquet"
        ) from error


class _Repeated(ValueError):
    """An object has a name twice, of which JSON readers silently keep the last."""


def _unique(pairs: list[tuple[str, Any]]) -> dict:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _Repeated(f"`{twice}` is there twice in one object: leave one of them")
    return found


def _looks_like(data: bytes) -> str:
    """Returns what a line that is no JSON may be, with the remedy."""
    line = data.decode("utf-8-sig", "replace").strip().partition("\n")[0]
    if line.startswith("<<<<<<<") or line.startswith("======="):
        return ": a conflict of Git, which has to be resolved"
    if re.match(r"\{\s*'", line):
        return ": a dict as Python prints it; write it with json.dumps"
    if line.startswith("{") and re.search(r"\}\s*\{", line):
        return ": several objects on one line; write each on a line of its own"
    if line.startswith("{") and not line.endswith("}"):
        return ": half a row, as of a file that was cut; copy it again"
    if re.search(r",\s*[\]}]\s*$", data[-200:].decode("utf-8", "replace")):
        return ": a comma behind the last element; leave it out"
    if line[:1] not in "{[":
        for mark, kind in (("\t", "TSV"), (",", "CSV"), (";", "CSV")):
            if mark in line:
                return f": it may be {kind}; write it as JSON lines, such as with " + (
                    "pandas.read_csv(FILE"
                    + (f", sep={mark!r}" if mark != "," else "")
                    + ").to_json('FILE.jsonl', orient='records', lines=True)"
                )
    return ""


def checked(row: Any, place: str) -> dict:
    """Returns a row as its columns, which a chat that is the whole row has not.

    Files and the Hub alike give it whatever they hold.

    Args:
        row: as it was read.
        place: of the row, in words.

    Raises:
        ValueError: it is no object, or one that holds all rows of a file.
    """
    if isinstance(row, dict) and row and all(name.isdigit() for name in row):
        row = _numbered(row)
    if chats.is_chat(row):  # Open-Reasoner-Zero: named as ShareGPT names it
        return {"conversations": row}
    if not isinstance(row, dict):
        kind = _JSON_KINDS.get(type(row), "value")
        raise ValueError(
            f"{place}: a JSON {kind}, expected one object per row: write the columns "
            'with their names, such as {"question": ..., "answer": ...}'
        )
    _refuse_nested(row, place)
    return row


_JSON_KINDS = {
    int: "number", float: "number", str: "text", bool: "truth value",
    list: "list", type(None): "null",
}  # fmt: skip


def _numbered(row: dict) -> Any:
    """Returns the chat of a row whose columns count its turns, else the row."""
    turns = [row[name] for name in sorted(row, key=int)]
    turns = [turn for turn in turns if turn is not None]
    return turns if chats.is_chat(turns) else row


def _refuse_nested(row: dict, place: str) -> None:
    """Refuses an object that holds all rows of a file, under one name or several."""
    tables = {
        name: value
        for name, value in row.items()
        if isinstance(value, list)
        and len(value) > 0
        and all(isinstance(each, dict) for each in value)
        and not chats.is_chat(value)
    }
    if tables and tables.keys() & {*_TABLES} and not row.keys() & {*_QUESTIONS}:
        name = next(each for each in tables if each in _TABLES)
        names = ", ".join(f"`{each}`" for each in tables)
        raise ValueError(
            f"{place}: an object that holds its rows under {names}: write the rows "
            f"alone (jq -c '.{name}[]' FILE > ROWS.jsonl)"
        )


# Names that files give to all of their rows, and what a row has in their place.
_TABLES = (
    "data", "rows", "examples", "instances", "problems", "questions", "items",
    "records", "train", "test", "validation", "valid", "dev", "eval", "dataset",
)  # fmt: skip
_QUESTIONS = ("question", "problem", "prompt", "messages", "conversations", "query")


def _parquet(path: str) -> Iterator[Row]:
    # Imported here: it takes half a second, and few runs read parquet.
    import pyarrow
    import pyarrow.parquet

    if not pathlib.Path(path).stat().st_size:
        raise ValueError(f"{path}: damaged parquet file of 0 bytes. Copy it again")
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    place = f"{path}, row {number}"
                    yield place, checked(row, place)
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(
            f"{path}: damaged parquet file after row {number} ({error}). Copy it again"
        ) from error
