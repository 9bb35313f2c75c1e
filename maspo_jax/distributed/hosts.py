"""Collectives between the processes of a pod, and failing together.

No other module talks between processes.
"""

import contextlib
import hashlib

import jax
import numpy as np
from jax.experimental import multihost_utils


def all_gather_hosts(rows):
    """Returns the rows of all processes, from those of each, as NumPy."""
    if jax.process_count() == 1:
        return np.asarray(rows)
    return multihost_utils.process_allgather(np.asarray(rows), tiled=True)


def all_gather_texts(texts):
    """Returns the texts of all processes, in their order, from those of each."""
    if jax.process_count() == 1:
        return list(texts)
    rows = [np.frombuffer(text.encode(), np.uint8) for text in texts]
    width = int(max_over_hosts(max(map(len, rows), default=0)))
    # A byte that UTF-8 never uses fills what is shorter.
    padded = [np.pad(row, (0, width - len(row)), constant_values=255) for row in rows]
    everyones = all_gather_hosts(np.stack(padded))
    return [row[row != 255].tobytes().decode() for row in everyones]


def max_over_hosts(number):
    """Returns the largest of one number per process."""
    return np.max(all_gather_hosts(np.array([number])))


@contextlib.contextmanager
def raise_on_all_hosts():
    """Ends the block in every process of a pod if it ends by an error in one.

    Raises:
        ValueError: in the processes that had no error of their own.
    """
    failed = True
    try:
        yield
        failed = False
    finally:
        failed = max_over_hosts(failed)
    if failed:
        raise ValueError("another process of this pod refused; see what it says")


_SAME = "start all of them with the same command and the same files"


def assert_equal_across_hosts(text, what, remedy=_SAME):
    """Raises unless every process passes the same `text`.

    Args:
        text: of this process.
        what: it is about, for the message.
        remedy: what the user can do.

    Raises:
        ValueError: in every process, if any differs.
    """
    digest = np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8)
    if not (all_gather_hosts(digest[None]) == digest[None]).all():
        raise ValueError(f"the processes of this pod disagree about {what}: {remedy}")
