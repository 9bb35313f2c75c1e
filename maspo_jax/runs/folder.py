"""A folder that one command at a time works in, and a file in it that says what it is.

A run and an evaluation are such folders.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import warnings

import jax

from maspo_jax import distributed
from maspo_jax.storage import (
    created,
    read_json_object,
    results_folder,
    write_whole,
)


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a folder may be."""

    noun: str  # "run"
    record: str  # the file that says what it holds, as JSON
    option: str  # of the command line, that names the folder
    marks: dict  # what every record has: names, and types of values

    def read(self, folder):
        """Returns the record of a folder, a dict.

        Raises:
            FileNotFoundError: the folder is of another kind.
            ValueError: its record is damaged, or that of another program.
        """
        file = pathlib.Path(folder) / self.record
        if not file.is_file():
            raise FileNotFoundError(
                f"{folder} is not the folder of {self}: no {self.record}"
            )
        try:
            record = read_json_object(file)
        except ValueError as error:
            raise ValueError(f"{folder} holds no {self.noun}: {error}") from error
        if not all(isinstance(record.get(k), kind) for k, kind in self.marks.items()):
            raise ValueError(
                f"{folder} holds no {self.noun}: its {self.record} is not that of "
                f"{self}; give another folder"
            )
        return record

    @contextlib.contextmanager
    def opened(self, folder, settle, wait=False):
        """Creates a folder, or returns to it, and keeps others out.

        The first process of a pod decides for all, so that none sees a folder half
        made.

        Args:
            folder: where; created if it is not there.
            settle: returns the new record, given that of the folder or None; or raises
                ValueError if the folder cannot hold what is to be done.
            wait: for another process that works in the folder, instead of raising.

        Raises:
            ValueError: the folder holds something else, or another process works in it.
                Nothing has been written then.
        """
        with contextlib.ExitStack() as held:
            with distributed.raise_on_all_hosts():
                if jax.process_index() == 0:
                    place = results_folder(folder, self.option)
                    with created(place, self.option):
                        self._open(place, settle, held, wait)
            yield

    def _open(self, folder, settle, held, wait):
        another = f"give another folder with {self.option}"
        if not lock(folder, held, wait):
            raise ValueError(
                f"another process is working in {folder}: wait until it ends, or "
                f"{another}"
            )
        file = folder / self.record
        partial = file.with_suffix(".json.partial")  # left by a start that was cut off
        if not file.exists() and set(folder.iterdir()) - {partial}:
            raise ValueError(
                f"{folder} exists and holds no {self.noun} (it has no {self.record}); "
                f"{another}"
            )
        record = settle(self.read(folder) if file.exists() else None)
        write_whole(file, json.dumps(record, indent=2) + "\n")

    def refuse(self, folder, differences):
        """Refuses a folder that was begun with other settings, a line for each."""
        if differences:
            listed = "\n  ".join(differences)
            raise ValueError(
                f"{folder} holds a different {self.noun}:\n  {listed}\nPut back what "
                f"was changed, give this one another folder with {self.option}, or "
                "remove that one."
            )

    def __str__(self):
        """The noun with its article."""
        return f"{'an' if self.noun[0] in 'aeiou' else 'a'} {self.noun}"


def lock(folder, held, wait=False):
    """Returns whether nobody else works in a folder, nor can until `held` is left.

    Args:
        folder: which.
        held: a `contextlib.ExitStack`.
        wait: until it can be returned.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    held.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:  # of a file system that has no locks
        warnings.warn(
            f"{folder} cannot be locked ({error.strerror}): see to it yourself that no "
            "other process works in it",
            stacklevel=2,
        )
    return True
