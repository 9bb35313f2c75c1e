"""The kernels of accelerators compute what the equation says, also on a mesh.

That of TPUs is interpreted on the CPU, step by step. That of GPUs is replaced by what
JAX computes for the same arguments: its rows begin in the first column.
"""

import dataclasses
import functools
import logging

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import mesh_of, noisy
from flax import nnx
from jax.ad_checkpoint import checkpoint_policies
from support.updates import OPTIMIZER, example_batch

from maspo_jax import distributed
from maspo_jax.learning import train_state as states
from maspo_jax.learning.update import make_update
from maspo_jax.models import attention
from maspo_jax.models.attention import choice, cudnn, reference, splash
from maspo_jax.models.decoder import Decoder
from maspo_jax.objectives import gates
from maspo_jax.objectives.surrogate import policy_loss
from maspo_jax.objectives.terms import Method

COLUMN = np.arange(200)[None]
# Which text of its row each token belongs to; longer than a block of 128.
ONE_TEXT = {
    "whole": np.ones((2, 200)),
    "left_padded": COLUMN >= np.array([[0], [130], [199]]),
    "padded_on_both_sides": (COLUMN > 6) & (COLUMN < [[9], [120], [200]]),
    "with_gaps": COLUMN % np.array([[2], [3]]) > 0,
    "nothing_but_padding": np.zeros((2, 200)),
}
PACKED = {
    "packed": np.array(
        [[1] * 110 + [2] * 50 + [3] * 40, [0] * 3 + [4] * 150 + [2] * 45 + [0] * 2]
    ),
}

# As they run here.
KERNELS = {
    "splash": functools.partial(splash, block=128, interpret=True),
    "cudnn": functools.partial(cudnn, implementation="xla"),
}
every_kernel = pytest.mark.parametrize("name", KERNELS)


def inputs(kind, dtype=jnp.float32, heads=6, groups=2, width=24):
    """Queries, keys, values, a cotangent and the layout."""
    if kind in ONE_TEXT:
        layout = attention.layout_of_mask(jnp.asarray(ONE_TEXT[kind], bool))
    else:
        layout = attention.layout_of_segments(jnp.asarray(PACKED[kind], jnp.int32))
    rows, steps = layout.segments.shape
    keys = jax.random.split(jax.random.key(3), 4)
    wide, shared = (rows, steps, heads, width), (rows, groups, steps, width)
    arrays = [
        jax.random.normal(key, shape).astype(dtype)
        for key, shape in zip(keys, (wide, shared, shared, wide), strict=True)
    ]
    return *arrays, layout


@functools.partial(jax.jit, static_argnums=0)
def value_and_gradients(attend, query, key, value, cotangent, layout):
    mixed, back = jax.vjp(lambda *of: attend(*of, layout), query, key, value)
    return mixed, *back(cotangent)


def errors(got, exact):
    """How far arrays are from exact ones, of the length of those."""
    pairs = zip(got, exact, strict=True)
    wide = [(np.asarray(one, np.float32), np.asarray(other)) for one, other in pairs]
    return np.array([np.linalg.norm(x - y) / np.linalg.norm(y) for x, y in wide])


@pytest.mark.parametrize(
    "name, kind",
    [("splash", kind) for kind in (*ONE_TEXT, *PACKED)]
    + [("cudnn", kind) for kind in ONE_TEXT],
)
def test_a_kernel_is_the_equation(name, kind):
    arrays = inputs(kind)
    got = value_and_gradients(KERNELS[name], *arrays)
    expected = value_and_gradients(reference, *arrays)
    chex.assert_trees_all_close(got, expected, rtol=1e-5, atol=1e-5)
    assert all(np.isfinite(leaf).all() for leaf in got)
    padding = np.asarray(arrays[-1].segments) == 0
    assert not np.asarray(got[0])[padding].any()


@pytest.mark.parametrize("heads, groups", [(3, 3), (7, 1)])
@every_kernel
def test_heads_share_keys_in_order(name, heads, groups):
    arrays = inputs("left_padded", heads=heads, groups=groups, width=8)
    got = value_and_gradients(KERNELS[name], *arrays)
    expected = value_and_gradients(reference, *arrays)
    chex.assert_trees_all_close(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("width", [64, 160])
@every_kernel
def test_a_kernel_in_bfloat16_is_as_near_to_float32_as_the_reference(name, width):
    """Gradients of splash by a fifth less where a query is scaled by no power of 2."""
    exact = value_and_gradients(reference, *inputs("left_padded", width=width))
    arrays = inputs("left_padded", jnp.bfloat16, width=width)
    got = value_and_gradients(KERNELS[name], *arrays)
    assert {leaf.dtype for leaf in got} == {jnp.dtype("bfloat16")}
    plain = errors(value_and_gradients(reference, *arrays), exact)
    assert (errors(got, exact) <= [1.02 * plain[0], *1.2 * plain[1:]]).all()
