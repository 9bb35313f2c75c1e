"""Checkpoints, those of earlier versions included."""

import dataclasses
import errno
import functools
import json
import os
import random
import shutil
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import mesh_of

from maspo_jax.config import Optimization
from maspo_jax.learning import train_state as states
from maspo_jax.learning.optimizer import (
    hyperparameters,
    learning_rate,
    make_optimizer,
)
from maspo_jax.models.sharding import decay_mask
from maspo_jax.runs import checkpoints, checksums
from maspo_jax.runs.checkpoints import Checkpoints, read_policy, steps_of
from maspo_jax.runs.state import RunState
from maspo_jax.storage import WriteError

SETTINGS = Optimization(3e-3, warmup_updates=2, weight_decay=0.1, max_grad_norm=0.5)
HOST = {
    "problems": {"next_index": 4},
    "visits": {"0\n?": [1.0, 0.5, 0.2]},
    "policy_version": 8,
}


def earlier_optimizer(settings):
    """The optimizer as it was before its settings were part of its state."""
    return optax.chain(
        optax.clip_by_global_norm(settings.max_grad_norm),
        optax.adamw(
            learning_rate(settings, 10),
            b1=settings.beta1,
            b2=settings.beta2,
            eps=settings.epsilon,
            weight_decay=settings.weight_decay,
            mask=decay_mask,
        ),
    )


def updated(config, optimizer, mesh, updates=3):
    """Returns a `TrainState` after some updates, and the size of the last one."""
    state = states.create(config, optimizer, mesh, jax.random.key(0))

    @functools.partial(jax.jit, donate_argnums=0)
    def update(state):
        grads = jax.tree.map(lambda leaf: jnp.cos(9 * leaf), state.policy)
        steps, opt_state = optimizer.update(grads, state.opt_state, state.policy)
        policy = optax.apply_updates(state.policy, steps)
        return state.replace(policy=policy, opt_state=opt_state)

    for _ in range(updates):
        state = update(state)
    return state, update


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def test_a_state_comes_back_bit_equal_on_another_layout(tiny_config, tmp_path, caplog):
    optimizer = make_optimizer(SETTINGS, 10)
    state, _ = updated(tiny_config, optimizer, mesh_of(1, 1))
    with Checkpoints(tmp_path) as saved:
        saved.save(3, RunState.of(state, HOST))
    skeleton = states.skeleton(tiny_config, optimizer, mesh_of(2, 2))
    with Checkpoints(tmp_path) as saved:
        found = saved.restore(skeleton)
    assert found.host() == HOST and found.policy_version == 8
    for got, expected in zip(leaves(found.train), leaves(state), strict=True):
        assert got.tobytes() == expected.tobytes()
    # A warning of Orbax would look as if the checkpoint were damaged.
    assert not [record.getMessage() for record in caplog.records]


def test_a_state_from_before_hyperparameters_goes_on(tiny_config, tmp_path):
    """As if it had been made by today's optimizer, whose next update is the same."""
    mesh = mesh_of(2, 2)
    earlier, update = updated(tiny_config, earlier_optimizer(SETTINGS), mesh)
    with Checkpoints(tmp_path) as saved:
        saved.save(3, RunState(earlier))
    optimizer = make_optimizer(SETTINGS, 10)
    today, updates_today = updated(tiny_config, optimizer, mesh)
    skeleton = states.skeleton(tiny_config, optimizer, mesh)
    with Checkpoints(tmp_path) as saved:
        found = saved.restore(skeleton, hyperparameters(SETTINGS)).train
    assert found.opt_state.count == 3
    assert found.opt_state.hyperparams["weight_decay"] == np.float32(0.1)
    for got, expected in zip(leaves(found), leaves(today), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)
    for got, expected in zip(
        leaves(updates_today(found).policy), leaves(update(earlier).policy), strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "host, data, version",
    [
        ({"problems": {"next_index": 4}, "visits": {}}, {"next_index": 4}, None),
        (
            {"phase": 1, "taken": 3, "stream": None},
            {"phase": 1, "taken": 3, "stream": None},
            None,
        ),
        ({}, None, None),
        (HOST, {"next_index": 4}, 8),
    ],
    ids=["reinforcement", "sft", "reference", "today"],
)
def test_what_stood_beside_the_arrays_is_understood(host, data, version):
    state = RunState.of(None, host)
    assert (state.data, state.policy_version) == (data, version)
    assert state.prompt_history == host.get("visits", {})
    assert RunState.of(None, state.host()) == state


def test_another_policy_is_refused_by_the_name_that_is_missing(tiny_config, tmp_path):
    optimizer = make_optimizer(SETTINGS, 10)
    plain = dataclasses.replace(tiny_config, qkv_bias=False)
    state, _ = updated(plain, optimizer, mesh_of(1, 1), updates=0)
    with Checkpoints(tmp_path) as saved:
        saved.save(0, RunState(state))
    skeleton = states.skeleton(tiny_config, optimizer, mesh_of(1, 1))
    with Checkpoints(tmp_path) as saved:
        with pytest.raises(ValueError, match="holds no policy/.*bias.*--run"):
            saved.restore(skeleton)


def numbered(steps):
    return RunState({"weights": jnp.arange(2000.0) + steps}, data={"taken": steps})


def skeleton_of(state):
    like = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)
    return jax.tree.map(like, state)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The folder of two checkpoints, after 2 and after 4 steps."""
    folder = tmp_path_factory.mktemp("pair") / "stage"
    with Checkpoints(folder) as saved:
        for steps in (2, 4):
            saved.save(steps, numbered(steps))
    return folder


@pytest.fixture
def damaged(pair, tmp_path):
    """A copy of them, to be damaged."""
    return shutil.copytree(pair, tmp_path / "stage")


def opened(folder):
    """Opens checkpoints. Returns the newest one, its state, and what was noted."""
    notes = []
    with Checkpoints(folder, notes.append) as saved:
        newest = saved.newest
        return newest, saved.restore(skeleton_of(numbered(0).train)), notes


def spoil(file, data):
    """Writes over the middle of a file, as far as it goes."""
    content = bytearray(file.read_bytes())
    begin = max(0, len(content) // 2 - len(data) // 2)
    data = data[: len(content)]
    content[begin : begin + len(data)] = data
    file.write_bytes(bytes(content))


DAMAGES = {
    "missing": lambda file: file.unlink(),
    "truncated": lambda file: os.truncate(file, file.stat().st_size // 2),
    "emptied": lambda file: os.truncate(file, 0),
    "longer": lambda file: file.write_bytes(file.read_bytes() + b" "),
    "zeros": lambda file: spoil(file, bytes(2000)),
    "noise": lambda file: spoil(file, random.Random(0).randbytes(3000)),
    "one bit": lambda file: spoil(file, bytes([file.read_bytes()[0] ^ 1])),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_to_any_file_is_noticed(pair, damaged, damage):
    files = [file for file in (pair / "4").rglob("*") if file.is_file()]
    assert len(files) > 10
    for file in files:
        DAMAGES[damage](damaged / "4" / file.relative_to(pair / "4"))
        assert checkpoints.damage_of(damaged / "4"), file
        shutil.copy(file, damaged / "4" / file.relative_to(pair / "4"))
        assert checkpoints.damage_of(damaged / "4") is None, file


@pytest.mark.parametrize("part", ["state/d", "state", "position", "."])
def test_the_one_before_is_taken_and_what_is_wrong_is_said(damaged, part):
    shutil.rmtree(damaged / "4" / part)
    (damaged / "4").mkdir(exist_ok=True)
    newest, found, notes = opened(damaged)
    assert newest == 2 and found.data == {"taken": 2}
    assert found.train["weights"][0] == 2
    (note,) = notes
    assert "stage/4 is damaged: " in note and "missing" in note and "step 2" in note


def test_where_none_is_whole_nothing_is_taken(damaged):
    for steps in "42":
        DAMAGES["noise"](damaged / steps / "position" / "metadata")
    with pytest.raises(ValueError, match=r"is whole \(4: pos.*, 2: pos.*\): restore"):
        opened(damaged)
    with pytest.raises(ValueError, match="4 is damaged: pos.* restore it from a copy$"):
        read_policy(damaged, 4, None)


def test_whoever_reads_a_policy_is_told_of_a_whole_one(damaged):
    DAMAGES["noise"](damaged / "4" / "state" / "manifest.ocdbt")
    with pytest.raises(ValueError, match="4 is damaged: state/manifest.*--step 2$"):
        read_policy(damaged, 4, None)


def test_a_save_replaces_what_was_damaged(damaged):
    DAMAGES["missing"](damaged / "4" / "state" / "_METADATA")
    with Checkpoints(damaged, str) as saved:
        assert saved.newest == 2
        saved.save(3, numbered(3))
        saved.finish()
        assert steps_of(damaged) == [2, 3]
        saved.save(4, numbered(4))
    assert steps_of(damaged) == [3, 4]
    assert opened(damaged)[::2] == (4, [])


@pytest.fixture
def earlier(damaged):
    """The newest checkpoint as an earlier version wrote it."""
    (damaged / "4" / checksums.FILE).unlink()
    file = damaged / "4" / "_CHECKPOINT_METADATA"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"custom_metadata": {}}))
    return damaged / "4"


def test_one_of_an_earlier_version_is_read_and_said_to_be_unverified(earlier):
    newest, found, (note,) = opened(earlier.parent)
    assert newest == 4 and found.train["weights"][0] == 4
    assert "no checksums" in note


def test_one_of_an_earlier_version_that_cannot_be_read_is_named(earlier):
    DAMAGES["noise"](earlier / "state" / "manifest.ocdbt")
    with pytest.raises(ValueError, match="4 cannot be read, .* no checksums .*remove"):
        opened(earlier.parent)
    shutil.rmtree(earlier / "state")
    assert opened(earlier.parent)[0] == 2


def test_each_process_of_a_pod_reads_its_part(damaged, monkeypatch):
    monkeypatch.setattr(checksums, "CHUNK", 1000)
    checksums_of = lambda folder: json.loads((folder / checksums.FILE).read_text())
    (damaged / "4" / checksums.FILE).unlink()
    checksums.write_checksums(damaged / "4")
    sums = [file["crc32"] for file in checksums_of(damaged / "4")["files"].values()]
    assert max(map(len, sums)) > 2  # chunks of one file
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    found = []
    DAMAGES["one bit"](damaged / "4" / "position" / "metadata")
    for index in range(2):
        monkeypatch.setattr(jax, "process_index", lambda index=index: index)
        found.append(checksums.damage_of(damaged / "4"))
    assert sorted(map(bool, found)) == [False, True]


def test_what_a_cut_off_save_left_is_cleared_and_not_spoken_of(damaged, capfd, caplog):
    (damaged / f"6{checkpoints.UNFINISHED}" / "state").mkdir(parents=True)
    with Checkpoints(damaged) as saved:
        assert saved.newest == 4
        saved.save(6, numbered(6))
    assert {path.name for path in damaged.iterdir()} == {"4", "6"}
    assert capfd.readouterr() == ("", "") and not caplog.records


@pytest.mark.parametrize("when", ["at the next", "on leaving", "at once"])
def test_a_save_that_fails_is_raised_and_leaves_nothing(
    damaged, monkeypatch, capfd, when
):
    def full(folder, without=()):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checksums, "write_checksums", full)
    message = "stage/6 could not be written: No space left on device; make room"
    with pytest.raises(WriteError, match=message):
        with Checkpoints(damaged) as saved:
            saved.save(6, numbered(6))
            if when == "at the next":
                saved.save(8, numbered(8))
            while when == "at once":
                saved.check()
    assert {path.name for path in damaged.iterdir()} == {"2", "4"}
    assert saved.newest == 4 and capfd.readouterr() == ("", "")


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES])
@pytest.mark.parametrize("reader", ["stat", "is_dir", "iterdir", "read_text", "open"])
def test_what_cannot_be_read_is_refused_and_not_gone_back_from(
    damaged, monkeypatch, number, reader
):
    file = damaged / "4" / "position" / "metadata"
    where = {"is_dir": file.parent, "iterdir": file.parent, "open": file, "stat": file}
    where = where.get(reader, damaged / "4" / "_CHECKPOINT_METADATA")
    usual = open if reader == "open" else getattr(type(file), reader)

    def fails(path, *words, **settings):
        if path == where:
            raise OSError(number, os.strerror(number), str(path))
        return usual(path, *words, **settings)

    if reader == "open":
        monkeypatch.setattr(checksums, "open", fails, raising=False)
    else:
        monkeypatch.setattr(type(file), reader, fails)
    message = f"stage/4 cannot be read .{where}: {os.strerror(number)}.*go back to the"
    with pytest.raises(OSError, match=message):
        opened(damaged)
    with pytest.raises(OSError, match=message):
        read_policy(damaged, 4, None)
    monkeypatch.undo()
    assert opened(damaged)[::2] == (4, [])


def test_one_that_cannot_be_read_is_not_offered_in_the_place_of_another(
    damaged, monkeypatch
):
    DAMAGES["missing"](damaged / "4" / "state" / "manifest.ocdbt")
    usual = checkpoints.checksums.damage_of

    def fails(folder):
        if folder.name == "2":
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(folder))
        return usual(folder)

    monkeypatch.setattr(checksums, "damage_of", fails)
    with pytest.raises(ValueError, match="4 is damaged: state/manif.* from a copy$"):
        read_policy(damaged, 4, None)


@pytest.mark.parametrize("own", [None, "unread"])
@pytest.mark.parametrize("other", [None, "fault", "unread"])
def test_processes_of_a_pod_find_the_same(damaged, monkeypatch, own, other):
    """Whatever one finds, it comes to where the others wait for it."""
    theirs = json.dumps({other or "fault": other and "state is missing"})
    gathered = []

    def gather(texts):
        gathered.append(texts)
        return [*texts, theirs]

    def fails(folder):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(folder))

    monkeypatch.setattr(checkpoints.distributed, "all_gather_texts", gather)
    if own:
        monkeypatch.setattr(checksums, "damage_of", fails)
    if "unread" in (own, other):
        with pytest.raises(OSError, match="stage/4 cannot be read"):
            checkpoints.damage_of(damaged / "4")
    else:
        found = checkpoints.damage_of(damaged / "4")
        assert found == (other and "state is missing")
    assert len(gathered) == 1


def test_chunks_are_of_the_size_that_was_written(damaged, monkeypatch):
    folder = damaged / "4"
    (folder / checksums.FILE).unlink()
    with monkeypatch.context() as earlier:
        earlier.setattr(checksums, "CHUNK", 1000)
        checksums.write_checksums(folder, without=("_CHECKPOINT_METADATA",))
    assert checkpoints.damage_of(folder) is None
    checksums.write_checksums(folder)  # the last files
    assert checkpoints.damage_of(folder) is None
    record = json.loads((folder / checksums.FILE).read_text())
    assert record["chunk_bytes"] == 1000
    sizes = {name: file["bytes"] for name, file in record["files"].items()}
    file = folder / max(sizes, key=sizes.get)
    content = file.read_bytes()
    for place in range(0, len(content), 1000):  # a bit of each chunk
        changed = bytes([content[place] ^ 1])
        file.write_bytes(content[:place] + changed + content[place + 1 :])
        assert "is not what was written" in checkpoints.damage_of(folder)
    record["chunk_bytes"] = "1000"
    (folder / checksums.FILE).write_text(json.dumps(record, indent=1) + "\n")
    assert checkpoints.damage_of(folder) == f"{checksums.FILE} is damaged"


def test_the_one_before_is_offered_rather_than_a_later_one(damaged):
    shutil.copytree(damaged / "4", damaged / "6")
    DAMAGES["missing"](damaged / "4" / "state" / "manifest.ocdbt")
    with pytest.raises(ValueError, match="that of step 2 with --step 2$"):
        read_policy(damaged, 4, None)


def test_a_removal_that_is_cut_off_leaves_no_half_checkpoint(damaged, monkeypatch):
    def cut_off(folder, **settings):
        DAMAGES["missing"](folder / "position" / "metadata")
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    remover = types.SimpleNamespace(rmtree=cut_off)
    with pytest.raises(WriteError, match="stage/2 could not be written: Input/out"):
        with Checkpoints(damaged) as saved:
            saved.save(6, numbered(6))
            monkeypatch.setattr(checkpoints, "shutil", remover)
            saved.finish()
    monkeypatch.undo()
    assert steps_of(damaged) == [4, 6]
    assert opened(damaged)[::2] == (6, [])
