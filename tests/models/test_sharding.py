"""The tables that say how parameters lie over the mesh."""

import dataclasses

import jax
import jax.numpy as jnp
import optax
import pytest
from conftest import mesh_of
from flax import nnx

from maspo_jax.distributed import AXES
from maspo_jax.models import sharding
from maspo_jax.models.decoder import Decoder


@pytest.fixture(scope="module")
def skeleton(tiny_config):
    """A policy with every option, and a head of its own."""
    config = dataclasses.replace(tiny_config, tied_head=False)
    return jax.eval_shape(lambda: Decoder(config, nnx.Rngs(0)))


def test_every_parameter_has_one_row_and_every_row_a_parameter(skeleton):
    paths = [
        jax.tree_util.keystr(path[:-1], simple=True, separator="/")
        for path, _ in jax.tree.leaves_with_path(skeleton)
    ]
    assert sorted(paths) == sorted(sharding.LOGICAL_AXES)
    for path, leaf in jax.tree.leaves_with_path(skeleton):
        name = jax.tree_util.keystr(path[:-1], simple=True, separator="/")
        assert sharding.logical_axes(path, leaf) == sharding.LOGICAL_AXES[name]


def test_what_an_axis_counts_is_as_long_everywhere(skeleton):
    lengths = {}
    for path, leaf in jax.tree.leaves_with_path(skeleton):
        for axis, length in zip(
            sharding.logical_axes(path, leaf), leaf.shape, strict=True
        ):
            lengths.setdefault(axis, set()).add(length)
    expected = {"layers": 3, "vocabulary": 24, "width": 16, "heads": 24}
    expected |= {"key_value_heads": 12, "head_width": 6, "feed_forward": 40}
    assert lengths == {axis: {length} for axis, length in expected.items()}


def test_every_logical_axis_is_mapped_to_an_axis_of_the_mesh():
    named = {axis for axes in sharding.LOGICAL_AXES.values() for axis in axes}
    assert named == sharding.MESH_AXES_OF.keys()
    for axes in sharding.MESH_AXES_OF.values():
        assert set(axes) <= set(AXES)


def test_moments_lie_as_their_parameters_do(skeleton):
    mesh = mesh_of(2, 4)
    moments = jax.eval_shape(optax.adam(1.0).init, skeleton)
    specs = sharding.param_specs(moments, mesh)[0]
    of_policy = sharding.param_specs(skeleton, mesh)
    assert jax.tree.leaves(specs.mu) == jax.tree.leaves(specs.nu)
    assert jax.tree.leaves(specs.mu) == jax.tree.leaves(of_policy)
    assert specs.count == jax.P()


def test_a_parameter_without_a_row_is_refused_by_name():
    with pytest.raises(ValueError, match=r"parameter router of shape \(4, 5\)"):
        sharding.param_specs({"router": {"value": jnp.zeros((4, 5))}}, mesh_of(1, 1))
