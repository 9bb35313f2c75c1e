"""Gradients of the surrogate against those of the papers' released code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

from maspo_jax.objectives import token_weights
from maspo_jax.objectives.surrogate import MAX_LOG_RATIO, surrogate

pytestmark = reference.needs_golden

every_method = pytest.mark.parametrize("method", reference.uncorrected())
AGGREGATIONS = {
    "token-mean": token_weights.token_mean,
    "seq-mean-token-mean": token_weights.sequence_mean,
    "seq-mean-token-sum": token_weights.sequence_sum,
}


def gradient(method, inputs, dtype, weight=None):
    batch, logprob = reference.batch(inputs, dtype, weight)
    return jax.grad(surrogate)(logprob, batch, reference.gate_of(method))


def inputs_of(method):
    return reference.load(reference.manifest()[method]["inputs"].removesuffix(".npz"))


@every_method
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_gradient_of_each_token(method, dtype):
    expected = reference.load(f"policy_{method}")["dloss_dlogp"]
    tolerance = reference.FLOAT64 if dtype is np.float64 else reference.FLOAT32
    with jax.enable_x64(True):
        ours = gradient(method, inputs_of(method), dtype)
        assert ours.dtype == dtype
    np.testing.assert_allclose(ours, expected, **tolerance)


@every_method
@pytest.mark.parametrize("rule", AGGREGATIONS)
def test_gradient_of_the_whole_batch(method, rule):
    arrays = reference.load(f"policy_{method}")
    inputs = inputs_of(method)
    with jax.enable_x64(True):
        weight = AGGREGATIONS[rule](jnp.asarray(inputs["mask"] != 0))
        ours = gradient(method, inputs, np.float64, weight)
    np.testing.assert_allclose(ours, arrays[f"grad_{rule}"], rtol=1e-7, atol=1e-12)


@every_method
def test_gradient_where_ratios_are_extreme(method):
    inputs = reference.load("inputs_extreme")
    expected = reference.load("extreme")[f"{method}/dloss_dlogp"]
    with jax.enable_x64(True):
        ours = gradient(method, inputs, np.float64)
    # The released code of some methods does not clamp the ratio: only within the
    # clamp of this package do all agree. Beyond it no token has a gradient.
    inside = np.abs(inputs["log_prob"] - inputs["old_log_prob"]) < MAX_LOG_RATIO
    np.testing.assert_allclose(ours[inside], expected[inside], **reference.FLOAT64)
    np.testing.assert_array_equal(ours[~inside], 0)


@every_method
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_extreme_ratios_leave_everything_finite(method, dtype):
    inputs = reference.load("inputs_extreme")
    batch, logprob = reference.batch(inputs, dtype)
    gate = reference.gate_of(method)
    value, ours = jax.value_and_grad(surrogate)(logprob, batch, gate)
    assert np.isfinite(value) and value.dtype == jnp.float32
    assert np.all(np.isfinite(ours.astype(np.float32)))
