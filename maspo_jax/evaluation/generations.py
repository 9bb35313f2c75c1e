"""The responses to one benchmark as JSON lines, appended batch by batch.

Line d is response d % n to problem d // n. A line that was cut off by the end of the
process that wrote it, and what follows it, is forgotten when the file is opened again.
"""

import contextlib
import json
import pathlib

FIELDS = (
    "problem sample gold outcome answer rule tokens truncated response".split()
)  # in this order, for who reads the file


def record(problem, sample, answer):
    """Returns the line of one response.

    Args:
        problem: the `Problem` it answers.
        sample: which of its responses, from 0.
        answer: the `scoring.Answer`.
    """
    verdict = answer.verdict
    values = (
        *(problem.id, sample, problem.answer),
        *(verdict.outcome, verdict.answer, verdict.rule),
        *(answer.tokens, answer.truncated, answer.text),
    )
    return json.dumps(dict(zip(FIELDS, values, strict=True)))


@contextlib.contextmanager
def appended(path, group):
    """Opens a file of responses to go on behind what it holds.

    Args:
        path: of the file; created if it is not there.
        group: responses drawn together; what is left of a group is forgotten.

    Yields:
        A function that appends lines, and the rows the file holds already.
    """
    rows, ends = _whole_lines(pathlib.Path(path))
    kept = len(rows) // group * group
    with pathlib.Path(path).open("ab") as file:
        if file.tell() > ends[kept]:
            file.truncate(ends[kept])

        def append(lines):
            file.write("".join(f"{line}\n" for line in lines).encode())
            file.flush()

        yield append, rows[:kept]


def _whole_lines(path):
    """Returns the rows of a file, and the bytes before each and behind the last."""
    rows, ends = [], [0]
    if not path.exists():
        return rows, ends
    with path.open("rb") as file:
        for line in file:
            try:
                row = json.loads(line)
            except ValueError:
                break
            if not line.endswith(b"\n") or list(row) != FIELDS:
                break
            rows.append(row)
            ends.append(ends[-1] + len(line))
    return rows, ends


def read(path, problems, samples):
    """Returns the rows of a finished file, one list per problem.

    Args:
        path: of the file.
        problems: how many it has to hold, and
        samples: how many responses to each.

    Raises:
        ValueError: some are missing.
    """
    rows, _ = _whole_lines(pathlib.Path(path))
    if len(rows) != problems * samples:
        raise ValueError(
            f"{path} holds {len(rows)} of {problems * samples} responses: start the "
            "evaluation again, it goes on from there"
        )
    return [rows[start : start + samples] for start in range(0, len(rows), samples)]
