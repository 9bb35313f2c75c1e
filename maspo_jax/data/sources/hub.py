"""Problems of a data set on the Hugging Face Hub, by name."""

import dataclasses
import functools
import itertools
import pathlib
import re
from collections.abc import Iterator

from maspo_jax import storage
from maspo_jax.data.sources import containers
from maspo_jax.data.sources.file import check_settings, parse_rows
from maspo_jax.data.sources.problem import Problem
from maspo_jax.data.sources.schemas import Columns

_ROWS_AT_ONCE = 1000


@dataclasses.dataclass(frozen=True)
class HubProblems:
    """Problems of a data set that the `datasets` library loads and keeps on disk.

    Attributes:
        name: of the data set, such as "openai/gsm8k", or a local folder of one.
        subset: its configuration, such as "main"; None where it has only one.
        split: "train", "test" ...
        revision: a commit, so that the problems cannot change under a run.
        schema: a key of `schemas.SCHEMAS`, or the `Columns` of a set that follows
            none; None recognizes it by the columns.
        first: read only so many problems, from the start of the split.
        unanswered: how many rows without an answer are known and left out; any
            other number of them is an error.
    """

    name: str
    subset: str | None = None
    split: str = "train"
    revision: str | None = None
    schema: str | Columns | None = None
    first: int | None = None
    unanswered: int = 0

    __post_init__ = check_settings

    def __len__(self) -> int:
        return len(self._problems)

    def __getitem__(self, index: int) -> Problem:
        return self._problems[index]

    @functools.cached_property
    def digests(self) -> dict[str, str]:
        """The problems as they were read, see `runs.provenance`.

        Named by all that chooses them: a mixture may hold several readings of one set.
        """
        chosen = ("subset", "revision", "schema", "first")
        given = {name: getattr(self, name) for name in chosen}
        said = ", ".join(f"{k}={v}" for k, v in given.items() if v is not None)
        name = f"{self.name}:{self.split}" + (f" ({said})" if said else "")
        problems = [dataclasses.astuple(problem) for problem in self._problems]
        return {name: storage.digest_values(problems)}

    @property
    def revisions(self) -> dict[str, str]:
        """The commit they were fetched from, where the library says so."""
        # Its cache has a folder per commit; that of a local set is named otherwise.
        kept = (pathlib.Path(file["filename"]) for file in self._rows.cache_files)
        names = {file.parent.name for file in kept}
        commits = [name for name in names if re.fullmatch("[0-9a-f]{40}", name)]
        return {self.name: commits[0]} if commits else {}

    @functools.cached_property
    def _problems(self) -> tuple[Problem, ...]:
        return parse_rows(self._placed(), f"{self.name}:{self.split}", self)

    def _placed(self) -> Iterator[containers.Row]:
        # As Arrow holds them, and a file would: else the library opens pictures.
        tables = self._rows.with_format("arrow").iter(_ROWS_AT_ONCE)
        rows = itertools.chain.from_iterable(table.to_pylist() for table in tables)
        for number, row in enumerate(rows, 1):
            place = f"{self.name}, {self.split} row {number}"
            yield place, containers.checked(row, place)

    @functools.cached_property
    def _rows(self):
        try:
            import datasets
        except ImportError as error:
            raise ValueError(
                f"{self.name}: data sets of the Hub need the `datasets` library: "
                "pip install 'maspo_jax[hub]', in a clone pip install -e '.[hub]', or "
                "give a file with ProblemFile(...)"
            ) from error
        if self.revision is not None and pathlib.Path(self.name).is_dir():
            raise ValueError(
                f"revision={self.revision!r}: {self.name} is a folder here and has "
                "none; leave it out, or give the name on the Hub"
            )
        try:
            found = datasets.load_dataset(
                self.name, self.subset, split=self.split, revision=self.revision
            )
        except Exception as error:  # the library raises nothing narrower
            known = error.__cause__ or error  # "while generating" says nothing
            reason = str(known).partition("\n")[0].rstrip(".") or type(known).__name__
            raise ValueError(
                f"{self.name} (subset {self.subset}, split {self.split}) cannot be "
                f"loaded: {reason}. Correct the names; without a network, load it once "
                "where there is one, or give a file with ProblemFile(...)"
            ) from error
        if isinstance(found, dict):
            raise ValueError(
                f"{self.name}: split={self.split} is no split: give one of "
                f"{', '.join(found)}"
            )
        return found
