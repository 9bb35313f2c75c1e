"""Checkpoints: everything of a run's state, written whole or not at all.

A checkpoint that lies under its name is complete, and holds the checksums of its files:
one that was damaged since is noticed before anything reads it, and the one before is
taken in its place.
"""

import contextlib
import functools
import json
import logging
import pathlib
import shutil
import sys
import time

import jax
import numpy as np
import orbax.checkpoint as ocp

from maspo_jax import distributed
from maspo_jax.runs import checksums
from maspo_jax.runs.state import RunState
from maspo_jax.storage import WriteError, write_error, writing

KEPT = 2  # the newest, and one to go back to
UNFINISHED = ".orbax-checkpoint-tmp"  # in the name of the folder of one under way
_METADATA = "_CHECKPOINT_METADATA"  # of Orbax: JSON that says which parts there are

logger = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints of one stage of a run, which one command at a time works with.

    Each holds a `RunState`: every array under its path as its name, and as JSON what
    is kept on the host.
    """

    def __init__(self, folder, note=logger.warning):
        """Creates the folder, or returns to it, and clears what was cut off there.

        Args:
            folder: of the checkpoints.
            note: called with a line for people where one is damaged.

        Raises:
            WriteError: the folder cannot be created.
        """
        self._folder = pathlib.Path(folder).absolute()
        _leave_errors_to_us()
        self._note = note
        self._saved = self._saving = None  # steps
        self._failed = False
        self._since = time.monotonic()
        with writing(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        self._clear()
        # It looks at the files last, right before the folder gets its name.
        options = ocp.options.AsyncOptions(post_finalization_callback=self._seal)
        self._checkpointer = ocp.AsyncCheckpointer(
            ocp.CompositeCheckpointHandler(), async_options=options
        )

    def __enter__(self):
        return self

    def __exit__(self, kind, *error):
        try:
            self.finish()
        except WriteError:
            if kind is None:
                raise
        finally:
            self._checkpointer.close()
            if self._failed:  # other writes of it may have gone on until now
                self._clear()

    @property
    def newest(self):
        """The number of steps behind the newest whole checkpoint on disk, or None.

        All processes of a pod ask together. Those found damaged are noted.

        Raises:
            ValueError: there are checkpoints, and none is whole.
        """
        return self._found if self._saved is None else self._saved

    @functools.cached_property
    def _found(self):
        damage_at = {}
        for steps in reversed(steps_of(self._folder)):
            damage_at[steps] = damage_of(self._folder / str(steps), self._note)
            if damage_at[steps] is None:
                break
        if None in damage_at.values() or not damage_at:
            for broken, damage in damage_at.items():
                if damage:
                    self._note(
                        f"the checkpoint {self._folder / str(broken)} is damaged: "
                        f"{damage}; the one before it is taken, that of step {steps}"
                    )
            return steps if damage_at else None
        listed = ", ".join(f"{steps}: {damage}" for steps, damage in damage_at.items())
        raise ValueError(
            f"no checkpoint in {self._folder} is whole ({listed}): restore one of them "
            "from a copy, or start again with another --run"
        )

    @property
    def age(self):
        """The seconds since the last save began, or since the folder was opened."""
        return time.monotonic() - self._since

    def save(self, steps, state):
        """Writes a checkpoint after so many steps; returns before it is on disk.

        Args:
            steps: completed.
            state: a `RunState`; its arrays may be donated as soon as this returns.

        Raises:
            WriteError: it cannot be written, or the one before could not.
        """
        if steps in (self._saving, self.newest):
            return
        self.finish()
        self._saving, self._since = steps, time.monotonic()
        with self._cleared_if_it_fails():
            self._checkpointer.save(
                self._folder / str(steps),
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(_by_name(state.train)),
                    position=ocp.args.JsonSave(state.host()),
                ),
                force=True,  # where a damaged one lies
                custom_metadata={"checksums": checksums.FILE},
            )

    def check(self):
        """Raises a `WriteError` if what is being saved has failed already."""
        with self._cleared_if_it_fails():
            self._checkpointer.check_for_errors()

    def finish(self):
        """Waits until what was saved is on disk, and removes what it replaces.

        In a pod, a stage does so before the next one saves: the processes agree about
        a save under one name, whatever folder it goes to.

        Raises:
            WriteError: it could not be written, and nothing of it is left.
        """
        if self._saving is None:
            return
        with self._cleared_if_it_fails():
            self._checkpointer.wait_until_finished()
        self._saved, self._saving = self._saving, None
        if jax.process_index() == 0:
            checksums.write_checksums(self._folder / str(self._saved))  # the last files
            there = steps_of(self._folder)
            older = [steps for steps in there if steps <= self._saved]
            for steps in set(there) - set(older[-KEPT:]):  # later ones are damaged
                with writing(self._folder / str(steps)):
                    _remove(self._folder / str(steps))

    def restore(self, skeleton, hyperparameters=None):
        """Returns the newest `RunState`, its arrays placed as `skeleton` says.

        Args:
            skeleton: a `TrainState` or a policy of `jax.ShapeDtypeStruct` with
                shardings, which need not be those of the devices that wrote it.
            hyperparameters: {name: number} of the optimizer, for a checkpoint that was
                written before they were part of the state.
        """
        self.finish()
        wanted = _by_name(skeleton)
        folder = self._folder / str(self.newest)
        with _unverified(folder):
            stored = _stored_names(folder / "state")
        sources = {name: _source(name, stored) for name in wanted}
        with _unverified(folder):
            restored = self._checkpointer.restore(
                folder,
                args=ocp.args.Composite(
                    state=ocp.args.StandardRestore(
                        {
                            source: wanted[name]
                            for name, source in sources.items()
                            if source is not None
                        }
                    ),
                    position=ocp.args.JsonRestore(),
                ),
            )
        arrays, used = [], set()
        for name, like in wanted.items():
            source = sources[name]
            if source is None:
                number = hyperparameters[name.rpartition("/")[2]]
                arrays.append(_placed(number, like))
            elif source in used:  # a buffer of its own, as both will be donated
                shared = restored.state[source].addressable_data(0)
                arrays.append(_placed(np.asarray(shared), like))
            else:
                used.add(source)
                arrays.append(restored.state[source])
        train = jax.tree.unflatten(jax.tree.structure(skeleton), arrays)
        return RunState.of(train, dict(restored.position))

    def read_host(self):
        """Returns the data of the newest checkpoint, without its arrays."""
        self.finish()
        restored = self._checkpointer.restore(
            self._folder / str(self.newest),
            args=ocp.args.Composite(position=ocp.args.JsonRestore()),
        )
        return RunState.of(None, dict(restored.position)).data

    def _seal(self):
        """Adds the checksums; called by the first process, when all have written."""
        folder = self._folder / str(self._saving)
        unfinished = self._checkpointer.get_temporary_path(folder).get()
        # Orbax adds the time of the rename to its metadata.
        checksums.write_checksums(pathlib.Path(unfinished), without=(_METADATA,))

    @contextlib.contextmanager
    def _cleared_if_it_fails(self):
        """Makes an error of what is being saved a `WriteError`, and removes it."""
        try:
            yield
        except Exception as error:
            failed, self._saving, self._failed = self._saving, None, True
            self._clear()
            cause = error.__cause__ if isinstance(error, WriteError) else error
            found = write_error(self._folder / str(failed), cause)
            if found is None:
                raise
            raise found from error

    def _clear(self):
        """Removes what a save that did not end has left."""
        if jax.process_index() == 0:
            for path in self._folder.glob(f"*{UNFINISHED}*"):
                shutil.rmtree(path, ignore_errors=True)


# What Orbax prints of a save that failed, beside raising it.
_PRINTED = (
    "Handler Commit operations or the Commit callback",
    "_SignalingThread.run() raised an exception",
    "exception was never retrieved",  # of the other writes that failed
)


@functools.cache
def _leave_errors_to_us():
    """Keeps Orbax and TensorStore from printing, with tracebacks, what they raise.

    TensorStore tells each write that failed to an event loop, which Orbax has closed
    after the first, and prints that it could not.
    """

    def is_news(record):
        printed = any(text in record.getMessage() for text in _PRINTED)
        error = record.exc_info[1] if record.exc_info else None
        return not printed or write_error("", error) is None

    for name in ("absl", "asyncio"):
        logging.getLogger(name).addFilter(is_news)
    before = sys.unraisablehook

    def hook(unraisable):
        if str(unraisable.exc_value) != "Event loop is closed":
            before(unraisable)

    sys.unraisablehook = hook


def _remove(folder):
    """Removes a checkpoint; one that is cut off in this is taken for unfinished."""
    unfinished = folder.with_name(folder.name + UNFINISHED)
    folder.rename(unfinished)
    shutil.rmtree(unfinished)


def damage_of(folder, note=logger.warning):
    """Returns what is wrong with a checkpoint, a text, or None.

    Called by all processes of a pod together.

    Args:
        folder: of the checkpoint, a `pathlib.Path`.
        note: called with a line for people if it is of a version without checksums.

    Raises:
        OSError: it cannot be read here or in another process, which says nothing of
            what it holds.
    """
    try:
        own = {"damage": _own_damage(folder)}
    except OSError as error:
        own = {"unread": f"{error.filename or folder}: {error.strerror or error}"}
    everyones = distributed.all_gather_texts([json.dumps(own)])
    found = [
        (kind, text)
        for each in map(json.loads, everyones)
        for kind, text in each.items()
        if text
    ]
    unread = [text for kind, text in found if kind == "unread"]
    if unread:
        raise OSError(
            f"the checkpoint {folder} cannot be read ({unread[0]}), and whether it is "
            "whole cannot be said: see to the file system and try again, or remove it "
            "to go back to the one before"
        )
    damage = next((text for _, text in found), None)
    if damage is None and not (folder / checksums.FILE).exists():
        note(
            f"the checkpoint {folder} is of an earlier version and has no checksums: "
            "it is used without being verified"
        )
    return damage


def _own_damage(folder):
    """Returns what this process finds wrong with a checkpoint, a text, or None.

    Raises:
        OSError: it cannot be read.
    """
    for part in ("state", "position"):
        if not (folder / part).is_dir() or not any((folder / part).iterdir()):
            return f"{part} is missing"
    has_checksums = (folder / checksums.FILE).exists()
    try:
        about = json.loads((folder / _METADATA).read_text("utf-8"))
        promised = (about.get("custom_metadata") or {}).get("checksums")
    except FileNotFoundError:
        return f"{_METADATA} is missing" if has_checksums else None
    except (IsADirectoryError, ValueError, AttributeError):
        return f"{_METADATA} is damaged"
    if has_checksums:
        return checksums.damage_of(folder)
    return f"{promised} is missing" if promised else None


@contextlib.contextmanager
def _unverified(folder):
    """Says of a checkpoint without checksums, if it cannot be read, that it is so."""
    try:
        yield
    except Exception as error:
        if (folder / checksums.FILE).exists():
            raise
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"the checkpoint {folder} cannot be read, and has no checksums that say "
            f"what is damaged ({reason}): restore it from a copy, or remove it to go "
            "back to the one before"
        ) from error


# Where the optimizer's state was before its hyperparameters were part of it: one level
# higher, and counted by Adam alone.
_INJECTED, _COUNT = "opt_state/inner_state/", "opt_state/count"
_PLAIN, _ADAM_COUNT = "opt_state/", "opt_state/1/0/count"


def _source(name, stored):
    """Returns the name that an array was stored under, or None for one that was not."""
    if name in stored:
        return name
    earlier = _ADAM_COUNT if name == _COUNT else name.replace(_INJECTED, _PLAIN, 1)
    if earlier in stored:
        return earlier
    if name.startswith("opt_state/hyperparams/"):
        return None
    raise ValueError(
        f"the checkpoint holds no {name}: it is of another policy or optimizer; start "
        "again with another --run"
    )


def _stored_names(folder):
    """Returns the names of the arrays of a checkpoint."""
    # Not of a checkpointer, which warns that one item of a checkpoint is not a whole.
    return set(ocp.PyTreeCheckpointHandler().metadata(folder).tree)


def _placed(number, like):
    """Returns a number as an array of the shape, dtype and sharding of a skeleton."""
    value = np.full(like.shape, number, like.dtype)
    return jax.make_array_from_callback(
        like.shape, like.sharding, lambda index: value[index]
    )


def steps_of(folder):
    """Returns after how many steps a stage was saved, in order; unfinished ones not."""
    folder = pathlib.Path(folder)
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return sorted(int(name) for name in names if name.isdecimal())


def read_policy(folder, steps, skeleton):
    """Returns the policy of a checkpoint, without its optimizer.

    Args:
        folder: of the checkpoints of a stage; nothing is written there.
        steps: one of `steps_of`.
        skeleton: a `Decoder` of `jax.ShapeDtypeStruct` with shardings.

    Raises:
        ValueError: the checkpoint is damaged; the message names a whole one.
    """
    folder = pathlib.Path(folder)
    damage = damage_of(folder / str(steps))
    if damage:
        raise ValueError(_refusal(folder, steps, damage))
    named = _by_name({"policy": skeleton})
    with (
        _unverified(folder / str(steps)),
        ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer,
    ):
        restored = checkpointer.restore(
            (folder / str(steps) / "state").absolute(),
            args=ocp.args.PyTreeRestore(
                named,
                restore_args=ocp.checkpoint_utils.construct_restore_args(named),
                partial_restore=True,
            ),
        )
    arrays = [restored[name] for name in named]
    return jax.tree.unflatten(jax.tree.structure(skeleton), arrays)


def _refusal(folder, steps, damage):
    """Returns why a checkpoint is refused, and which one can be had."""
    others = [other for other in reversed(steps_of(folder)) if other != steps]
    others.sort(key=lambda other: other > steps)  # those before it first
    whole = next((n for n in others if _is_whole(folder / str(n))), None)
    remedy = "restore it from a copy"
    if whole is not None:
        remedy += f", or take that of step {whole} with --step {whole}"
    return f"the checkpoint {folder / str(steps)} is damaged: {damage}; {remedy}"


def _is_whole(folder):
    """Returns whether a checkpoint can be read and nothing is wrong with it."""
    try:
        return damage_of(folder) is None
    except OSError:
        return False


def _by_name(tree):
    """Returns {path: leaf}, in the order of the leaves."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
    }
