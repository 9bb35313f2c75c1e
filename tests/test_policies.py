"""The text that stands for the parameters of a policy."""

import jax
import numpy as np
import pytest
from conftest import mesh_of

from maspo_jax import parallel
from maspo_jax.evaluation.policies import checksum


@pytest.mark.parametrize("data, fsdp", [(8, 1), (2, 4)])
def test_it_does_not_depend_on_devices(tiny_policy, data, fsdp):
    mesh = mesh_of(data, fsdp)
    places = parallel.shardings(parallel.specs(tiny_policy, mesh), mesh)
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
