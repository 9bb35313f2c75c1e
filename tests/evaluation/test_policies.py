"""A policy alone, opened by name, and the text that stands for its parameters."""

import jax
import numpy as np
import pytest
from conftest import mesh_of

from maspo_jax import distributed
from maspo_jax.evaluation import policies
from maspo_jax.evaluation.policies import checksum
from maspo_jax.learning import train_state
from maspo_jax.learning.optimizer import make_optimizer
from maspo_jax.models import sharding
from maspo_jax.runs import checkpoints, run_folder


@pytest.mark.parametrize("data, fsdp", [(8, 1), (2, 4)])
def test_it_does_not_depend_on_devices(tiny_policy, data, fsdp):
    mesh = mesh_of(data, fsdp)
    places = distributed.named_shardings(sharding.param_specs(tiny_policy, mesh), mesh)
    assert checksum(jax.device_put(tiny_policy, places)) == checksum(tiny_policy)


@pytest.mark.parametrize(
    "change",
    [
        lambda leaf: leaf[::-1],
        lambda leaf: np.asarray(leaf).T.reshape(leaf.shape),
        lambda leaf: np.nextafter(np.asarray(leaf), np.float32(9)),
    ],
    ids=["reversed", "transposed", "next"],
)
def test_other_parameters_and_another_order_are_seen(tiny_policy, change):
    leaves, structure = jax.tree.flatten(tiny_policy)
    for number, leaf in enumerate(leaves):
        if leaf.ndim < 2:
            continue
        changed = [*leaves[:number], change(leaf), *leaves[number + 1 :]]
        other = jax.tree.unflatten(structure, changed)
        assert checksum(other) != checksum(tiny_policy)


def test_a_policy_alone_is_read_bit_equal(tiny_run):
    mesh, experiment = mesh_of(4, 2), run_folder.read_experiment(tiny_run)
    policy = policies.open_policy(tiny_run, mesh)
    optimizer = make_optimizer(experiment.optimization, 8)
    skeleton = train_state.skeleton(experiment.policy, optimizer, mesh)
    with checkpoints.Checkpoints(tiny_run / "checkpoints" / "reinforcement") as saved:
        whole = saved.restore(skeleton).train
    for got, expected in zip(*map(leaves, (policy.decoder, whole.policy)), strict=True):
        assert got.tobytes() == expected.tobytes()
    assert checksum(policy.decoder) == checksum(whole.policy)
    one = policies.open_policy(tiny_run, mesh_of(1, 1))
    assert checksum(one.decoder) == checksum(whole.policy)
    earlier = policies.open_policy(tiny_run, mesh, step=2)
    assert checksum(earlier.decoder) != checksum(whole.policy)


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
