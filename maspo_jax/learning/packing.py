"""Which response stands where in packed rows: host work on lengths, without jax.

    lengths [N] --plan--> Plan: an order of the responses, and where each one begins

The batch of an update is split over devices and microbatches into parts of equally many
responses. They are dealt out so that parts have about as many tokens, and the texts of
each part go into rows of one length by best fit, the longest first. All parts get as
many rows, out of few numbers: each number is a program to compile.
"""

import bisect
import dataclasses
import heapq

import numpy as np

SIZES = 16  # numbers of rows between a power of two and the next


@dataclasses.dataclass(frozen=True)
class Plan:
    """Where the responses of a batch stand in packed rows. `plan` makes one."""

    order: np.ndarray  # [N] int32, which response each place of the batch gets
    start: np.ndarray  # [N] int32, its first column, through the rows of its part
    microbatches: int  # parts of a device
    rows: int  # of each part

    @property
    def total(self):
        """Rows of a device."""
        return self.microbatches * self.rows


def plan(lengths, row_length, devices, most):
    """Returns the `Plan` of a batch: of as few rows as can be, in few microbatches.

    Args:
        lengths: [N] int, columns that each text takes, at most `row_length`.
        row_length: columns of a row.
        devices: the batch is split over, each with as many responses.
        most: rows of a microbatch, at most, on a device.

    Raises:
        ValueError: a text is longer than a row.
    """
    if lengths.max() > row_length:
        raise ValueError(
            f"row_length={row_length}: a text of {lengths.max()} tokens does not fit; "
            f"take at least {lengths.max()}"
        )
    responses, best = len(lengths) // devices, None
    for microbatches in range(1, responses + 1):
        if responses % microbatches:
            continue
        shared = devices * microbatches * row_length
        fewest = max(-(-int(lengths.sum()) // shared), 1)
        if fewest > most or (best and microbatches * fewest >= best.total):
            continue
        parts = deal(lengths, devices * microbatches)
        packed = [best_fit(lengths[part], row_length) for part in parts]
        rows = max(rows for _, rows in packed)
        if rows > most:
            continue
        made = Plan(
            order=np.concatenate(parts),
            start=np.concatenate([start for start, _ in packed]),
            microbatches=microbatches,
            rows=min(rounded(rows), most),
        )
        if best is None or made.total < best.total:
            best = made
    return best


def deal(lengths, parts):
    """Deals texts out to parts of as many texts, and about as many tokens.

    The longest first, each to the part with the fewest tokens that is not full.

    Args:
        lengths: [N] int.
        parts: a number that divides N.

    Returns:
        A list of [N / parts] int32, the texts of each part.
    """
    dealt, full = [[] for _ in range(parts)], len(lengths) // parts
    waiting = [(0, part) for part in range(parts)]
    for text in np.argsort(-lengths, kind="stable").tolist():
        tokens, part = heapq.heappop(waiting)
        dealt[part].append(text)
        if len(dealt[part]) < full:
            heapq.heappush(waiting, (tokens + int(lengths[text]), part))
    return [np.array(part, np.int32) for part in dealt]


def best_fit(lengths, row_length):
    """Puts texts whole into rows: each where the least room is left behind it.

    The longest first (best-fit decreasing, at most 11/9 of the fewest rows, and one).

    Args:
        lengths: [n] int; texts of none take no room.
        row_length: of a row; no text may be longer.

    Returns:
        The first column of each text, [n] int32, counted through the rows, and the
        number of rows, at least one.
    """
    start = np.zeros(len(lengths), np.int32)
    left, rows = [], 0  # (columns left, row), ascending
    for text in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[text])
        place = bisect.bisect_left(left, (length, -1))
        if not length:
            continue
        if place < len(left):
            room, row = left.pop(place)
        else:
            room, row, rows = row_length, rows, rows + 1
        start[text] = row * row_length + row_length - room
        bisect.insort(left, (room - length, row))
    return start, max(rows, 1)


def rounded(rows):
    """Returns the number of rows to compile for: at least so many, out of few.

    Up to 2 * `SIZES` every one, then `SIZES` to each doubling: at most one part in
    `SIZES` is added.
    """
    step = 2 ** max((rows - 1).bit_length() - (2 * SIZES - 1).bit_length(), 0)
    return -(-rows // step) * step


def sort_by_length(lengths, devices):
    """Returns an order of texts in which those that are near are of like length.

    The longest come first, on all devices at the same time.

    Args:
        lengths: [N] int.
        devices: the batch is split over, each with as many texts.

    Returns:
        [N] int32, which text each place of the batch gets.
    """
    order = np.argsort(-lengths, kind="stable").astype(np.int32)
    return order.reshape(-1, devices).T.reshape(-1)
