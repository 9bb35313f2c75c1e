"""What compilers make of an update: gathers, buffers, precision, memory.

Read in the text of its program; devices that it is lowered for need not be here.
"""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import mesh_of
from support.programs import lowered_update

from maspo_jax.models.decoder import DecoderConfig, init_decoder
from maspo_jax.rollout.logprobs import token_logprobs

DEPTH, VOCABULARY = 5, 72
MATRICES = 7  # of a layer
CONFIG = DecoderConfig(
    vocabulary=VOCABULARY,
    width=32,
    depth=DEPTH,
    head_width=8,
    feed_forward=96,
    tied_head=False,
)


def gathers(text):
    """Returns {computation: shapes of what is gathered there} of a compiled program."""
    found, computation = {}, None
    for line in text.splitlines():
        if re.match(r"(ENTRY )?%\S+ \(.*\{$", line):
            computation = line.split()[0]
        shape = re.search(r"= \(?\w+\[([\d,]*)\]\S* all-gather(-start)?\(", line)
        if shape:
            sizes = tuple(int(size) for size in shape[1].split(","))
            found.setdefault(computation, []).append(sizes)
    return found


@pytest.fixture(scope="module")
def compiled():
    """The update on eight devices, by what is kept of a layer."""

    @functools.cache
    def compiled(name):
        config, mesh = dataclasses.replace(CONFIG, remat=name), mesh_of(2, 4)
        return lowered_update(config, mesh, 16, 8, 24, microbatches=2).compile()

    return compiled


@pytest.mark.parametrize("name", ["full", "none"])
def test_parameters_are_gathered_a_layer_at_a_time_in_both_passes(compiled, name):
    """Whatever is kept for the backward pass, it is not what was gathered."""
    text = compiled(name).as_text()
    found = gathers(text)
    stem = found.pop("ENTRY")  # once, whatever the number of microbatches
    assert sorted(stem) == [(32, VOCABULARY), (VOCABULARY, 32)]
    assert len(found) == 2, found  # the forward pass and the backward pass
    bodies = set(re.findall(r"body=(%[\w.\-]+)", text))
    for computation, shapes in found.items():
        assert computation in bodies
        assert len(shapes) == MATRICES and {len(sizes) for sizes in shapes} == {2}


@pytest.mark.parametrize("shape", [(1, 8), (2, 2, 2)])
def test_parameters_are_cast_before_they_are_gathered(shape):
    """Half the traffic, and half the memory; their gradients are added up wide."""
    config = dataclasses.replace(CONFIG, compute_dtype="bfloat16")
    text = lowered_update(config, mesh_of(*shape), 16, 8, 24).as_text()
    of = lambda name: re.findall(
        rf"stablehlo\.{name}\"[\s\S]*?-> tensor<[\dx]*x(b?f\d+)>", text
    )
    gathered, scattered = of("all_gather"), of("reduce_scatter")
    assert len(gathered) >= 2 * MATRICES and set(gathered) == {"bf16"}
    assert len(scattered) >= MATRICES and set(scattered) == {"f32"}


def test_the_buffers_of_the_state_become_those_of_the_next(compiled):
    """All of them: parameters and both moments."""
    program = compiled("full")
    memory = program.memory_analysis()
    tokens = 16 // 8 * (5 * 8 + (5 + 3 * 4) * 24)  # bytes of a device's rows
    state = memory.argument_size_in_bytes - tokens
    assert 0 <= state - memory.alias_size_in_bytes < 0.01 * state
    shapes = jax.eval_shape(functools.partial(init_decoder, CONFIG), jax.random.key(0))
    (header,) = re.findall(r"input_output_alias=.*", program.as_text())
    assert header.count("-alias)") >= 3 * len(jax.tree.leaves(shapes))


def products(text):
    """Returns (sizes, dtypes, precision) of both operands and the result of each."""
    shape, found = r"tensor<([\dx]*?)x?(b?f\d+)>", []
    for line in re.findall(r"stablehlo\.dot_general.*", text):
        types = re.search(rf": \({shape}, {shape}\) -> {shape}", line).groups()
        sizes = [tuple(map(int, filter(None, t.split("x")))) for t in types[::2]]
        precision = re.search(r"precision = \[(\w+), (\w+)\]", line)
        found.append((sizes, types[1::2], precision and precision.groups()))
    return found


@pytest.mark.parametrize("attention, scores", [("reference", 31), ("chunked", 32)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_on_a_tpu_every_product_has_the_precision_that_is_stated(
    dtype, attention, scores
):
    """It would multiply float32 in one pass of bfloat16 unless told otherwise."""
    config = dataclasses.replace(CONFIG, compute_dtype=dtype, attention=attention)
    lowered = lowered_update(config, mesh_of(1, 1), 2, 8, 24, platform="tpu")
    found = products(lowered.as_text())
    stated = "HIGHEST" if dtype == "float32" else "DEFAULT"
    assert len(found) > 30 and {row[2] for row in found} == {(stated, stated)}
    narrow = "f32" if dtype == "float32" else "bf16"
    head = [(sizes, types) for sizes, types, _ in found if VOCABULARY in sizes[2][1:]]
    of_scores = [types for sizes, types, _ in found if sizes[2].count(scores) == 2]
    # Forward and again in the backward pass, from narrow operands, summed in float32.
    assert [types for _, types in head] == 2 * [(narrow, narrow, "f32")]
    assert len(of_scores) >= 2 and of_scores[0] == (narrow, narrow, "f32")
    # The exponentials of both softmaxes: of attention and of the head.
    text = lowered.as_text()
    exponentials = re.findall(r"stablehlo\.exponential .*x(\d+)x(b?f\d+)>", text)
    for size in (scores, VOCABULARY):
        wide = [type for columns, type in exponentials if int(columns) == size]
        assert len(wide) >= 2 and set(wide) == {"f32"}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_log_probabilities_are_wide_whatever_they_come_from(dtype):
    narrow = lambda *shape: jax.ShapeDtypeStruct(shape, dtype)
    token = jax.ShapeDtypeStruct((6,), jnp.int32)
    found = jax.eval_shape(token_logprobs, narrow(6, 4), narrow(9, 4), token)
    assert {leaf.dtype for leaf in found} == {jnp.dtype("float32")}


def test_memory_grows_with_the_number_of_tokens_and_not_with_its_square():
    """Of one row, by the compiler; `reference` fails this."""
    config = DecoderConfig(
        vocabulary=VOCABULARY,
        width=128,
        query_heads=2,
        key_value_heads=1,
        head_width=64,
        feed_forward=384,
        attention="chunked",
    )
    lengths, temporary = [2048, 4096, 8192, 16384], []
    for length in lengths:
        rows = 1, length // 4, length - length // 4
        program = lowered_update(config, mesh_of(1, 1), *rows).compile()
        temporary.append(program.memory_analysis().temp_size_in_bytes)
    slope, start = np.polyfit(lengths, temporary, 1)
    np.testing.assert_allclose(
        temporary, slope * np.array(lengths) + start, rtol=0.05, err_msg=str(temporary)
    )
    stream = 4 * config.width  # bytes of one token's hidden state
    assert 4 * stream < slope < 60 * stream, temporary
