"""Products in bfloat16 over parameters in float32: what stays exact, and what near."""

import dataclasses
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import mesh_of
from flax import nnx
from support.updates import OPTIMIZER, example_batch

from maspo_jax import distributed
from maspo_jax.learning import train_state as states
from maspo_jax.learning.update import make_logprobs, make_update
from maspo_jax.models.attention import layout_of_mask
from maspo_jax.models.decoder import Decoder
from maspo_jax.objectives import gates
from maspo_jax.objectives.surrogate import policy_loss
from maspo_jax.objectives.terms import Method
from maspo_jax.rollout.generate import SamplingParams, sample
from maspo_jax.rollout.logprobs import response_logprobs
from maspo_jax.rollout.weights import cast_for_sampling
from maspo_jax.types import Prompts


def computing_in(policy, dtype, **settings):
    """The same parameters, of a policy whose products are in another dtype."""
    config = dataclasses.replace(policy.config, compute_dtype=dtype, **settings)
    structure = jax.tree.structure(jax.eval_shape(lambda: Decoder(config, nnx.Rngs(0))))
    return jax.tree.unflatten(structure, jax.tree.leaves(policy))


@pytest.fixture(scope="module")
def narrow(tiny_policy):
    return computing_in(tiny_policy, "bfloat16")


@pytest.fixture(scope="module")
def batch(tiny_policy):
    return jax.tree.map(jnp.asarray, example_batch(tiny_policy))


@pytest.fixture(scope="module")
def updated(batch):
    """Makes one update of a policy. Returns the state before, after, and the trace."""

    def updated(policy, shape=(1, 1, 1), microbatches=2, anchored=False):
        mesh = mesh_of(*shape)
        copy = jax.tree.map(jnp.array, policy)
        state = states.adopt(copy, OPTIMIZER, mesh)
        specs = jax.tree.map(lambda leaf: leaf.sharding.spec, state.policy)
        rows = distributed.shard_rows(jax.device_get(batch), mesh)
        if anchored:
            score = make_logprobs(mesh, specs)
            rows = rows.replace(old_logprob=score(state.policy, rows.sequences))
        step = make_update(policy_loss, OPTIMIZER, mesh, specs, 1.0, microbatches)
        state, metrics, trace = step(state, rows, Method(gates.Maspo()))
        return jax.device_get((state.policy, metrics, trace, rows))

    return updated


@jax.jit
def gradient(policy, batch):
    def objective(policy):
        logprob, entropy = response_logprobs(policy, batch.sequences, 1.0)
        assert logprob.dtype == entropy.dtype == jnp.float32
        return jnp.sum(batch.advantage * logprob) + 0.1 * jnp.sum(entropy)

    return jax.grad(objective)(policy)


@pytest.mark.parametrize("attention", ["reference", "chunked"])
def test_the_gradient_is_near_that_of_float32(tiny_policy, batch, attention):
    exact, near = (
        jax.tree.leaves(gradient(policy, batch))
        for policy in (
            tiny_policy,
            computing_in(tiny_policy, "bfloat16", attention=attention),
        )
    )
    assert {leaf.dtype for leaf in near} == {jnp.dtype("float32")}
    one, other = (np.concatenate([x.ravel() for x in of]) for of in (exact, near))
    cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    assert 0.99 < cosine < 0.9999999  # the products are not those of float32


def test_products_in_the_dtype_of_the_parameters_are_the_default(tiny_policy, batch):
    """Naming it changes no bit."""
    named = computing_in(tiny_policy, "float32")
    chex.assert_trees_all_equal(
        *(jax.tree.leaves(gradient(policy, batch)) for policy in (named, tiny_policy))
    )


@pytest.mark.parametrize("shape", [(1, 1, 1), (4, 2, 1)])
def test_the_first_update_is_on_policy(updated, narrow, shape):
    """The anchor goes through the same cast: its ratio is one."""
    _, metrics, trace, rows = updated(narrow, shape, anchored=True)
    mask = rows.sequences.response_mask
    assert trace.logprob.dtype == np.float32
    np.testing.assert_array_equal(trace.logprob[mask], rows.old_logprob[mask])
    assert np.isfinite(metrics.loss)


def test_parameters_and_moments_stay_wide(updated, narrow):
    policy, metrics, _, _ = updated(narrow)
    assert {leaf.dtype for leaf in jax.tree.leaves(policy)} == {np.dtype("float32")}
    assert metrics.update_norm > 0


@pytest.mark.parametrize(
    "settings",
    [
        {"dtype": "float32", "attention": "chunked"},
        {"dtype": "bfloat16"},
        {"dtype": "bfloat16", "attention": "chunked"},
    ],
)
@pytest.mark.parametrize("shape", [(4, 2, 1), (2, 2, 2)])
def test_devices_change_nothing(updated, tiny_policy, settings, shape):
    """Whatever the attention and the dtype; devices along `tensor` share rows."""
    policy = computing_in(tiny_policy, **settings)
    expected, got = updated(policy)[:3], updated(policy, shape)[:3]
    near = 1e-5 if settings["dtype"] == "float32" else 2e-3
    chex.assert_trees_all_close(
        jax.tree.leaves(got[0]), jax.tree.leaves(expected[0]), rtol=0, atol=near
    )
    for name in ("loss", "grad_norm", "update_norm"):
        mine, theirs = (getattr(one[1], name) for one in (got, expected))
        np.testing.assert_allclose(mine, theirs, rtol=20 * near)


def drawn(policy, **settings):
    tokens = jax.random.randint(jax.random.key(2), (8, 6), 2, 24)
    mask = np.arange(6)[None] >= np.array([0, 3, 1, 5, 0, 2, 0, 4])[:, None]
    prompts = Prompts(np.where(mask, tokens, 0).astype(np.int32), mask)
    mesh, decoding = mesh_of(4, 1), SamplingParams(4, 24, eos_tokens=(1,), pad=0)
    rows = distributed.shard_rows(prompts, mesh)
    return distributed.local_rows(
        sample(policy, rows, jax.random.key(7), decoding, mesh)
    )


def test_the_sampler_draws_the_same_from_the_copy(narrow):
    copy = cast_for_sampling(narrow)
    assert {leaf.dtype for leaf in jax.tree.leaves(copy)} == {jnp.dtype("bfloat16")}
    chex.assert_trees_all_equal(drawn(copy), drawn(narrow))


def test_its_log_probabilities_are_near_those_of_the_trainer(narrow):
    rollout = drawn(narrow)
    sequences = jax.tree.map(jnp.asarray, rollout.sequences)
    logprob, _ = jax.jit(response_logprobs, static_argnums=2)(narrow, sequences, 1.0)
    assert rollout.sampler_logprob.dtype == logprob.dtype == np.float32
    difference = np.abs(rollout.sampler_logprob - logprob)
    assert difference.mean() < 0.02 and difference.max() < 0.3


def test_a_policy_in_that_dtype_is_not_copied(tiny_policy):
    copy = jax.tree.leaves(cast_for_sampling(tiny_policy))
    for one, other in zip(copy, jax.tree.leaves(tiny_policy), strict=True):
        assert one is other


def test_the_stream_and_the_cache_are_narrow_and_the_logits_wide(narrow):
    tokens = jnp.zeros((2, 5), int)
    hidden, (key, value) = narrow(tokens, layout_of_mask(tokens == 0), keep=True)
    assert hidden.dtype == key.dtype == value.dtype == jnp.bfloat16
    assert narrow.logits(hidden).dtype == jnp.float32


def test_products_of_float32_ask_for_float32(tiny_policy, narrow, batch):
    """Which accelerators do not give unasked; bfloat16 gets what is fastest."""
    for attention in ("reference", "chunked"):
        wide = computing_in(tiny_policy, "float32", attention=attention)
        text = gradient.lower(wide, batch).as_text()
        products = re.findall(r"stablehlo\.dot_general.*", text)
        assert len(products) > 20
        assert all("precision = [HIGHEST, HIGHEST]" in line for line in products)
    assert "HIGHEST" not in gradient.lower(narrow, batch).as_text()


@pytest.mark.parametrize(
    "setting", [{"compute_dtype": "float16"}, {"attention": "flash"}]
)
def test_unknown_settings_are_refused(tiny_config, setting):
    ((name, value),) = setting.items()
    with pytest.raises(ValueError, match=f"{name}='{value}': choose"):
        dataclasses.replace(tiny_config, **setting)


def test_logits_of_the_copy_are_summed_in_float32(narrow):
    copy = cast_for_sampling(narrow)
    hidden = jax.random.normal(jax.random.key(3), (5, narrow.config.width))
    hidden = hidden.astype(jnp.bfloat16)
    wide = lambda x: np.asarray(x, np.float64)
    expected = wide(hidden) @ wide(copy.head_matrix()).T
    np.testing.assert_allclose(copy.logits(hidden), expected, atol=1e-4)
