"""Every implementation of attention computes what the equation says."""

import dataclasses
import functools
import importlib
import logging
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import noisy
from flax import nnx

from maspo_jax.models import attention
from maspo_jax.models.attention import chunked, decode, layout_of_mask, reference
from maspo_jax.models.cache import Cache, cache_of_rows, empty_cache
from maspo_jax.models.decoder import Decoder

decoding = importlib.import_module("maspo_jax.models.attention.decode")

HEADS, GROUPS, WIDTH = 6, 2, 8
# Which text of its row each token belongs to.
SEGMENTS = {
    "whole": np.ones((3, 37)),
    "left_padded": np.arange(37)[None] >= np.array([[0], [5], [36]]),
    "padded_on_both_sides": (np.arange(37) > 6) & (np.arange(37) < [[9], [20], [37]]),
    "packed": np.array(
        [[1] * 11 + [2] * 9 + [3] * 17, [1] * 36 + [0], [4] * 2 + [2] * 35]
    ),
    "nothing_but_padding": np.zeros((2, 37)),
}
every_layout = pytest.mark.parametrize("kind", SEGMENTS)


def inputs(kind, dtype=jnp.float32):
    """Queries, keys, values, a cotangent and the layout."""
    segments = jnp.asarray(SEGMENTS[kind], jnp.int32)
    rows, steps = segments.shape
    keys = jax.random.split(jax.random.key(3), 4)
    wide, shared = (rows, steps, HEADS, WIDTH), (rows, GROUPS, steps, WIDTH)
    shapes = wide, shared, shared, wide
    arrays = [
        jax.random.normal(key, shape).astype(dtype)
        for key, shape in zip(keys, shapes, strict=True)
    ]
    return *arrays, attention.layout_of_segments(segments)


def by_hand(query, key, value, layout):
    """One position and one head at a time, in float64."""
    query, key, value = (np.asarray(x, np.float64) for x in (query, key, value))
    segments = np.asarray(layout.segments)
    mixed = np.zeros(query.shape)
    for row, place, head in np.ndindex(query.shape[:3]):
        group = head * GROUPS // HEADS
        sees = segments[row, : place + 1] == segments[row, place]
        if segments[row, place] == 0:
            continue
        keys, values = (x[row, group, : place + 1][sees] for x in (key, value))
        score = keys @ query[row, place, head] / np.sqrt(WIDTH)
        share = np.exp(score - score.max())
        mixed[row, place, head] = share / share.sum() @ values
    return mixed


@functools.partial(jax.jit, static_argnums=0)
def value_and_gradients(attend, query, key, value, cotangent, layout):
    mixed, back = jax.vjp(lambda *of: attend(*of, layout), query, key, value)
    return mixed, back(cotangent.astype(mixed.dtype))


@every_layout
def test_the_reference_is_the_equation(kind):
    query, key, value, _, layout = inputs(kind)
    expected = by_hand(query, key, value, layout)
    got = reference(query, key, value, layout)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@every_layout
@pytest.mark.parametrize("block", [1, 8, 37, 64])
def test_blocks_change_neither_values_nor_gradients(kind, block):
    """The length is a multiple of none of the blocks but two."""
    arrays = inputs(kind)
    got = value_and_gradients(functools.partial(chunked, block=block), *arrays)
    expected = value_and_gradients(reference, *arrays)
    chex.assert_trees_all_close(got, expected, rtol=1e-5, atol=1e-5)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(got))


@pytest.mark.parametrize(
    "length, block, padded",
    [(1100, 512, 1104), (512, 512, 512), (20, 8, 24), (3, 2, 4)],
)
def test_blocks_of_a_row_are_equally_long(length, block, padded):
    """Or the last one would be padding for the most part: it is computed all the same.

    As many of them as of the longest allowed, and no more padding than rounding takes.
    """
    shape = lambda *of: jax.ShapeDtypeStruct(of, jnp.float32)
    layout = jax.eval_shape(layout_of_mask, jax.ShapeDtypeStruct((1, length), bool))
    text = jax.jit(functools.partial(chunked, block=block)).lower(
        shape(1, length, 1, 2), shape(1, 1, length, 2), shape(1, 1, length, 2), layout
    )
    kept = re.findall(
        r"stablehlo.reshape.*-> tensor<1x(\d+)x(\d+)xi32>", text.as_text()
    )
    assert {int(count) * int(size) for count, size in kept} == {padded}


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_blocks_stay_exact_whatever_the_scores(scale):
    query, key, *others = inputs("packed")
    arrays = scale * query, key, *others
    got = value_and_gradients(functools.partial(chunked, block=8), *arrays)
    expected = value_and_gradients(reference, *arrays)
    for one, other in zip(*map(jax.tree.leaves, (got, expected)), strict=True):
        assert np.isfinite(one).all()
        # A score of 1e4 is itself only good to 1e-3.
        assert jnp.linalg.norm(one - other) <= 1e-3 * jnp.linalg.norm(other)


def test_blocks_of_bfloat16_are_as_near_to_float32_as_the_reference():
    exact = value_and_gradients(reference, *inputs("packed"))
    for attend in (reference, functools.partial(chunked, block=8)):
        got = value_and_gradients(attend, *inputs("packed", jnp.bfloat16))
        for narrow, wide in zip(*map(jax.tree.leaves, (got, exact)), strict=True):
            assert narrow.dtype == jnp.bfloat16
            error = jnp.linalg.norm(narrow.astype(jnp.float32) - wide)
            assert error / jnp.linalg.norm(wide) < 3e-2


@pytest.mark.parametrize("columns", [40, 400])
@pytest.mark.parametrize("steps", [1, 3])
def test_decoding_sees_the_tokens_of_its_row_and_no_others(columns, steps):
    """Rows of different lengths, in a cache whose other columns hold large numbers."""
    query, key, value, _, _ = inputs("whole")
    ends = jnp.array([36, steps, 20])
    whole = jnp.arange(37)[None] < ends[:, None]
    expected = reference(query, key, value, attention.layout_of_mask(whole))
    last = (ends[:, None] - steps + jnp.arange(steps)[None])[:, None, :, None]
    new = [jnp.take_along_axis(x, last, axis=2) for x in (key, value)]
    before = jnp.arange(37)[None] < ends[:, None] - steps
    hidden = jnp.where(before[:, None, :, None], 0, 1e3)
    others = jnp.full_like(key, 7.0)
    before = cache_of_rows(
        jnp.stack([others, key + hidden]),
        jnp.stack([others, value + hidden]),
        jnp.full(3, 37),
    )
    cache = empty_cache(before, 3, columns)
    for row in range(3):
        cache = cache.insert(row, before, row)
    layout = attention.layout_of_decoding(ends - steps, steps)
    np.testing.assert_array_equal(layout.positions, last[:, 0, :, 0])
    one = jnp.take_along_axis(query, last.swapaxes(1, 2), axis=1)
    got = jax.jit(decode)(one, *new, layout, cache, 1)
    chex.assert_trees_all_close(
        got,
        jnp.take_along_axis(expected, last.swapaxes(1, 2), axis=1),
        rtol=1e-5,
        atol=1e-6,
    )


def test_positions_count_from_the_first_token():
    mask = jnp.arange(5)[None] >= jnp.array([[0], [2]])
    layout = attention.layout_of_mask(mask)
    np.testing.assert_array_equal(layout.positions, [[0, 1, 2, 3, 4], [0, 0, 0, 1, 2]])
    packed = attention.layout_of_segments(jnp.array([[3, 3, 1, 1, 1, 0]]))
    np.testing.assert_array_equal(packed.positions, [[0, 1, 0, 1, 2, 0]])


def test_nothing_grows_with_the_square_of_the_length():
    """Of a row of 16,384 tokens, in both directions; compiled, not run."""
    rows, steps = 1, 16_384
    wide = jax.ShapeDtypeStruct((rows, steps, 4, 64), jnp.float32)
    shared = jax.ShapeDtypeStruct((rows, 2, steps, 64), jnp.float32)
    whole = jax.ShapeDtypeStruct((rows, steps), jnp.int32)
    layout = attention.RowLayout(whole, whole)
    compiled = value_and_gradients.lower(
        chunked, wide, shared, shared, wide, layout
    ).compile()
    temporary = compiled.memory_analysis().temp_size_in_bytes
    assert temporary < 16 * 4 * steps * 64 * 4 < 4 * steps**2


def test_memory_is_linear_in_the_length():
    """Temporary memory, forward and backward; its parabola does not bend up."""
    lengths, taken = np.array([2048, 4096, 8192]), []
    for steps in lengths:
        wide = jax.ShapeDtypeStruct((2, steps, 4, 32), jnp.bfloat16)
        shared = jax.ShapeDtypeStruct((2, 2, steps, 32), jnp.bfloat16)
        whole = jax.ShapeDtypeStruct((2, steps), jnp.int32)
        layout = attention.RowLayout(whole, whole)
        compiled = value_and_gradients.lower(
            chunked, wide, shared, shared, wide, layout
        ).compile()
        taken.append(compiled.memory_analysis().temp_size_in_bytes)
    bend, _, _ = np.polyfit(lengths / 8192, taken, 2)
    assert bend < 0.02 * taken[-1]
    assert taken[-1] < 4.1 * taken[0]


@pytest.mark.parametrize("platform", ["cpu", "gpu", "tpu"])
def test_a_cache_is_read_in_equal_blocks_with_little_room_to_spare(
    monkeypatch, platform
):
    monkeypatch.setattr(decoding, "target_platform", lambda: platform)
    for columns in (1, 255, 256, 257, 1000, 2048, 2049, 2304, 10_240, 18_432):
        whole = attention.whole_blocks(columns)
        count = decoding.block_count(whole)
        assert columns <= whole < columns + 128 * max(count, 1)
        assert whole % count == 0 and count == decoding.block_count(columns)
        assert count == 1 or whole // count % 128 == 0
        assert whole // count <= max(decoding.BLOCKS[platform], 256)


def test_decoding_copies_no_layer_of_a_long_cache():
    """Its memory does not grow with the columns: a block of them is read at a time."""
    rows, groups, taken = 4, 2, []
    for columns in (4096, 16_384):
        shape = lambda *sizes: jax.ShapeDtypeStruct(sizes, jnp.float32)
        query, new = shape(rows, 1, 6, 64), shape(rows, groups, 1, 64)
        number = jax.ShapeDtypeStruct((rows,), jnp.int32)
        cache = Cache(
            shape(3, rows, groups, 64, columns), shape(3, rows, groups, columns, 64),
            number,
        )  # fmt: skip
        layout = attention.DecodeLayout(
            jax.ShapeDtypeStruct((rows, 1), jnp.int32), number
        )
        compiled = jax.jit(decode).lower(query, new, new, layout, cache, 0).compile()
        taken.append(compiled.memory_analysis().temp_size_in_bytes)
    assert taken[0] == taken[1] < rows * groups * 64 * 4096 * 4


@pytest.mark.parametrize(
    "name, length, expected",
    [
        ("auto", 64, reference),
        ("auto", 1024, reference),
        ("auto", 1025, chunked),
        ("reference", 4096, reference),
        ("chunked", 64, chunked),
    ],
)
def test_long_rows_are_read_in_blocks_unless_told(name, length, expected):
    layout = attention.layout_of_mask(np.ones((1, length), bool))
    assert attention.choose_attention(name, layout, "float32", 64) is expected


def test_the_choice_is_logged_once(caplog):
    layout = attention.layout_of_mask(np.ones((1, 2003), bool))
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            attention.choose_attention("auto", layout, "bfloat16", 64)
    (record,) = caplog.records
    assert record.getMessage() == (
        "attention: chunked, for rows of 2003 tokens in bfloat16 on cpu"
    )


def test_a_decoder_asks_the_implementation_of_its_setting(tiny_config, monkeypatch):
    tokens = jax.random.randint(jax.random.key(2), (4, 9), 0, 24)
    mask = jnp.arange(9)[None] >= jnp.array([[0], [3], [1], [8]])
    layout = attention.layout_of_mask(mask)
    hidden = {}
    for name in ("reference", "chunked"):
        used, attend = [], attention.IMPLEMENTATIONS[name]
        watched = lambda *of, attend=attend, used=used: used.append(1) or attend(*of)
        monkeypatch.setitem(attention.IMPLEMENTATIONS, name, watched)
        config = dataclasses.replace(tiny_config, attention=name)
        policy = noisy(Decoder(config, nnx.Rngs(0)))
        hidden[name] = policy(tokens, layout)[0]
        assert used
    chex.assert_trees_all_close(
        hidden["reference"][mask], hidden["chunked"][mask], rtol=1e-5, atol=1e-5
    )
