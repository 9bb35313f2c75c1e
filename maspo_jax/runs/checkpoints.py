"""Checkpoints: everything of a run's state, written whole or not at all."""

import pathlib

import jax
import orbax.checkpoint as ocp

KEPT = 2  # the newest, and one to go back to by hand


class Checkpoints:
    """The checkpoints of one stage of a run.

    Each holds a `TrainState`, every array under its path as its name, and as JSON
    the position of the data stream and what else is kept on the host.
    """

    def __init__(self, folder):
        self._manager = ocp.CheckpointManager(
            pathlib.Path(folder).absolute(),
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

    def save(self, steps, state, position):
        """Writes a checkpoint after so many steps; returns before it is on disk.

        Args:
            steps: completed.
            state: a `TrainState`, or a policy alone; it may be donated as soon as
                this returns.
            position: plain data.
        """
        if steps == self.newest:
            return
        self._manager.save(
            steps,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(_by_name(state)),
                position=ocp.args.JsonSave(position),
            ),
        )

    def finish(self):
        """Waits until what was saved is on disk.

        In a pod, a stage does so before the next one saves: the processes agree about
        a save under one name, whatever folder it goes to.
        """
        self._manager.wait_until_finished()

    def restore(self, skeleton):
        """Returns the newest state and position, placed as `skeleton` says.

        Args:
            skeleton: a `TrainState` of `jax.ShapeDtypeStruct` with shardings, which
                need not be those of the devices that wrote the checkpoint.
        """
        restored = self._manager.restore(
            self.newest,
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(_by_name(skeleton)),
                position=ocp.args.JsonRestore(),
            ),
        )
        arrays = [restored.state[name] for name in _by_name(skeleton)]
        return jax.tree.unflatten(jax.tree.structure(skeleton), arrays), dict(
            restored.position
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
