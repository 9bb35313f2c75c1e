"""Checkpoints: everything of a run's state, written whole or not at all."""

import pathlib

import jax
import numpy as np
import orbax.checkpoint as ocp

from maspo_jax.runs.state import RunState

KEPT = 2  # the newest, and one to go back to by hand


class Checkpoints:
    """The checkpoints of one stage of a run.

    Each holds a `RunState`: every array under its path as its name, and as JSON what
    is kept on the host.
    """

    def __init__(self, folder):
        self._folder = pathlib.Path(folder).absolute()
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(max_to_keep=KEPT, create=True),
        )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._manager.close()

    @property
    def newest(self):
        """The number of steps behind the newest checkpoint, or None."""
        return self._manager.latest_step()

    def save(self, steps, state):
        """Writes a checkpoint after so many steps; returns before it is on disk.

        Args:
            steps: completed.
            state: a `RunState`; its arrays may be donated as soon as this returns.
        """
        if steps == self.newest:
            return
        self._manager.save(
            steps,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(_by_name(state.train)),
                position=ocp.args.JsonSave(state.host()),
            ),
        )

    def finish(self):
        """Waits until what was saved is on disk.

        In a pod, a stage does so before the next one saves: the processes agree about
        a save under one name, whatever folder it goes to.
        """
        self._manager.wait_until_finished()

    def restore(self, skeleton, hyperparameters=None):
        """Returns the newest `RunState`, its arrays placed as `skeleton` says.

        Args:
            skeleton: a `TrainState` or a policy of `jax.ShapeDtypeStruct` with
                shardings, which need not be those of the devices that wrote it.
            hyperparameters: {name: number} of the optimizer, for a checkpoint that was
                written before they were part of the state.
        """
        wanted = _by_name(skeleton)
        stored = _stored_names(self._folder / str(self.newest) / "state")
        sources = {name: _source(name, stored) for name in wanted}
        restored = self._manager.restore(
            self.newest,
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
    """
    named = _by_name({"policy": skeleton})
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        restored = checkpointer.restore(
            (pathlib.Path(folder) / str(steps) / "state").absolute(),
            args=ocp.args.PyTreeRestore(
                named,
                restore_args=ocp.checkpoint_utils.construct_restore_args(named),
                partial_restore=True,
            ),
        )
    arrays = [restored[name] for name in named]
    return jax.tree.unflatten(jax.tree.structure(skeleton), arrays)


def _by_name(tree):
    """Returns {path: leaf}, in the order of the leaves."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
    }
