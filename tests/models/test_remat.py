"""What of a layer is kept for its backward pass changes memory, and no result."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import pytest
from conftest import mesh_of
from support.programs import update_of
from support.updates import OPTIMIZER, example_batch

from maspo_jax import distributed
from maspo_jax.learning import train_state as states
from maspo_jax.models import remat
from maspo_jax.models.decoder import DecoderConfig, init_decoder
from maspo_jax.models.huggingface.config import read_config, write_config
from maspo_jax.objectives import gates
from maspo_jax.objectives.metrics import of_update
from maspo_jax.objectives.terms import Method
from maspo_jax.rollout.logprobs import response_logprobs
from maspo_jax.types import Sequences

POLICIES = ("full", "attention", "dots", "none")  # from the least memory to the most
IMPLEMENTATIONS = ("reference", "chunked")


def keeping(policy, name, **settings):
    """The same parameters, of a policy that keeps something else."""
    config = dataclasses.replace(policy.config, remat=name, **settings)
    shapes = jax.eval_shape(functools.partial(init_decoder, config), jax.random.key(0))
    return jax.tree.unflatten(jax.tree.structure(shapes), jax.tree.leaves(policy))


def gradient(policy, sequences):
    loss = lambda policy: jnp.sum(response_logprobs(policy, sequences, 1.0)[0])
    return jax.grad(loss)(policy)


def test_the_names_are_all_and_the_least_memory_is_the_default():
    assert POLICIES[0] == DecoderConfig(vocabulary=4).remat
    assert set(POLICIES) == remat.POLICIES.keys()


def test_another_name_is_refused(tiny_config):
    with pytest.raises(ValueError, match="remat='minimal': choose full or dots or"):
        dataclasses.replace(tiny_config, remat="minimal")


def test_a_checkpoint_takes_it():
    values = write_config(DecoderConfig(vocabulary=24, qk_norm=True))
    assert read_config(values, remat="dots").remat == "dots"


@pytest.fixture(scope="module")
def batch(tiny_policy):
    return example_batch(tiny_policy)


@pytest.fixture(scope="module")
def plain(tiny_policy, batch):
    """{attention: the gradient with all but the inputs of layers computed again}."""
    return {
        attention: jax.jit(gradient)(
            keeping(tiny_policy, "full", attention=attention), batch.sequences
        )
        for attention in IMPLEMENTATIONS
    }


@pytest.mark.parametrize("attention", IMPLEMENTATIONS)
@pytest.mark.parametrize("name", POLICIES[1:])
def test_the_gradient_is_the_same(tiny_policy, batch, plain, attention, name):
    policy = keeping(tiny_policy, name, attention=attention)
    found = jax.jit(gradient)(policy, batch.sequences)
    chex.assert_trees_all_close(
        jax.tree.leaves(found), jax.tree.leaves(plain[attention]), atol=1e-5
    )


@pytest.fixture(scope="module")
def updated(tiny_policy, batch):
    """Makes one update. Returns the leaves of the state, and metrics."""

    def updated(name, data, fsdp):
        mesh = mesh_of(data, fsdp)
        policy = jax.tree.map(jnp.array, keeping(tiny_policy, name))
        state = states.adopt(policy, OPTIMIZER, mesh)
        update = update_of(policy.config, mesh, optimizer=OPTIMIZER)
        rows = distributed.shard_rows(batch, mesh)
        state, metrics, _ = update(state, rows, Method(gates.Maspo()))
        return jax.tree.leaves(jax.device_get(state)), of_update(metrics)

    return updated


def test_an_update_on_eight_devices_is_that_on_one(updated):
    expected = updated("full", 1, 1)
    for name in POLICIES[1:]:
        chex.assert_trees_all_close(updated(name, 4, 2), expected, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def deep():
    return DecoderConfig(
        vocabulary=32, width=32, depth=8, head_width=8, feed_forward=96
    )


@pytest.mark.parametrize("attention", IMPLEMENTATIONS)
def test_memory_grows_with_what_is_kept(deep, attention):
    """By the compiler, of 8 layers and 1,024 tokens."""
    row = lambda width, dtype: jax.ShapeDtypeStruct((4, width), dtype)
    sequences = Sequences(
        row(64, jnp.int32), row(64, bool), row(192, jnp.int32), row(192, bool)
    )
    temporary = []
    for name in POLICIES:
        config = dataclasses.replace(deep, remat=name, attention=attention)
        policy = jax.eval_shape(
            functools.partial(init_decoder, config), jax.random.key(0)
        )
        compiled = jax.jit(gradient).lower(policy, sequences).compile()
        temporary.append(compiled.memory_analysis().temp_size_in_bytes)
    stream = 4 * 8 * 1024 * 32  # bytes of one array of hidden states, of all layers
    full, attended, dots, none = temporary
    assert full < attended < dots < none, temporary
    # One array of the width of the stream, which blocks of 512 pad to twice its length.
    assert 0.8 * stream < attended - full < 2.4 * stream, temporary
    assert dots - full > 5 * stream, temporary


def times_computed(config, name):
    """How often a primitive stands in the program of a gradient."""
    policy = jax.eval_shape(functools.partial(init_decoder, config), jax.random.key(0))
    row = lambda dtype: jax.ShapeDtypeStruct((2, 8), dtype)
    sequences = Sequences(row(jnp.int32), row(bool), row(jnp.int32), row(bool))
    text = jax.jit(gradient).lower(policy, sequences).as_text()
    return text.count(name)


def test_what_is_kept_is_not_computed_again(deep):
    """The softmax of blocks is what only the forward pass of attention takes."""
    of = lambda **settings: dataclasses.replace(deep, attention="chunked", **settings)
    softmax, product = "stablehlo.maximum", "stablehlo.dot_general"
    counts = {
        name: [times_computed(of(remat=name), what) for what in (softmax, product)]
        for name in POLICIES
    }
    assert counts["attention"][0] == counts["none"][0] < counts["full"][0], counts
    products = [counts[name][1] for name in POLICIES]
    assert products == sorted(products, reverse=True) and len({*products}) == 4, counts
