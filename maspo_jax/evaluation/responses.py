"""The responses to one benchmark as JSON lines, appended batch by batch.

Line d is response d % n to problem d // n. A last line that was cut off by the end of
the process that wrote it is forgotten when the file is opened again.
"""

import contextlib
import json
import pathlib

from maspo_jax.runs.responses import FIELDS

# As they were before: the length was called `tokens`, and the reward was not written.
_EARLIER = (
    *("problem", "sample", "gold", "outcome", "answer", "rule"),
    *("tokens", "truncated", "response"),
)


class Unfinished(ValueError):
    """A file of responses lacks some: the evaluation goes on if it is started again."""


@contextlib.contextmanager
def appended(path, group):
    """Opens a file of responses to go on behind what it holds.

    Args:
        path: of the file; created if it is not there.
        group: responses drawn together; what is left of a group is forgotten.

    Yields:
        A function that appends lines, the number of responses the file holds, and how
        many of them are right.
    """
    ends, right = [0], [0]
    for row, end in _whole_lines(path):
        ends.append(end)
        right.append(right[-1] + (row["outcome"] == "correct"))
    kept = (len(ends) - 1) // group * group
    # Without a buffer: what a full disk did not take would be written again at the end.
    with pathlib.Path(path).open("ab", buffering=0) as file:
        if file.tell() > ends[kept]:
            file.truncate(ends[kept])

        def append(lines):
            left = "".join(f"{line}\n" for line in lines).encode()
            try:
                while left:
                    left = left[file.write(left) :]
            except OSError as error:
                raise OSError(
                    f"{path}: {error.strerror}; make room, and start the evaluation "
                    "again, it goes on from there"
                ) from error

        yield append, kept, right[kept]


def read_responses(path, problems, samples):
    """Yields the rows of each problem of a finished file, a list at a time.

    Args:
        path: of the file.
        problems: how many it has to hold, and
        samples: how many responses to each.

    Raises:
        Unfinished: some are missing; said behind the last.
        ValueError: a line is no response, or there are too many.
    """
    count, rows = 0, []
    for row, _ in _whole_lines(path):
        count, rows = count + 1, [*rows, row]
        if len(rows) == samples:
            yield rows
            rows = []
    if count < problems * samples:
        raise Unfinished(
            f"{path} holds {count} of {problems * samples} responses: start the "
            "evaluation again, it goes on from there"
        )
    if count > problems * samples:
        raise ValueError(
            f"{path} holds {count} responses where {problems * samples} were asked "
            "for; restore it, or give another folder with --out"
        )


def _whole_lines(path):
    """Yields the rows of a file that are whole, and the number of bytes so far."""
    end = 0
    if not pathlib.Path(path).exists():
        return
    with pathlib.Path(path).open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            names = tuple(row) if isinstance(row, dict) else ()
            if names == _EARLIER:
                row = _translated(row)
            elif names != FIELDS:
                raise ValueError(
                    f"{path}, line {number}, is not a response as this version writes "
                    "them; repair it, or give another folder with --out"
                )
            end += len(line)
            yield row, end


def _translated(row):
    """Returns a row of `_EARLIER` fields with those of today."""
    reward = float(row["outcome"] == "correct")
    row = row | {"reward": reward, "length": row["tokens"]}
    return {name: row[name] for name in FIELDS}
