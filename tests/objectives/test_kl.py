import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import reference

from maspo_jax.objectives import kl

ESTIMATORS = [kl.k1, kl.absolute, kl.k2, kl.k3, kl.k1_plus, kl.k3_plus]
every_estimator = pytest.mark.parametrize(
    "estimator", ESTIMATORS, ids=lambda f: f.__name__
)


def gradient(estimator, logprob, reference):
    return jax.grad(lambda x: jnp.sum(estimator(x, reference)))(logprob)


@every_estimator
def test_values_and_gradients_of_the_released_code(estimator):
    inputs, arrays = reference.load("inputs_main"), reference.load("kl")
    name = {"absolute": "abs"}.get(estimator.__name__, estimator.__name__)
    with jax.enable_x64(True):
        logprob, other = map(jnp.asarray, (inputs["log_prob"], inputs["ref_log_prob"]))
        value = estimator(logprob, other)
        slope = gradient(estimator, logprob, other)
    np.testing.assert_allclose(value, arrays[f"value_{name}"], **reference.FLOAT64)
    np.testing.assert_allclose(slope, arrays[f"grad_{name}"], **reference.FLOAT64)


@every_estimator
def test_zero_at_the_reference(estimator):
    logprob = jnp.log(jnp.array([0.1, 0.5, 1.0]))
    np.testing.assert_allclose(estimator(logprob, logprob), 0, atol=1e-7)


@every_estimator
def test_finite_for_any_log_ratio(estimator):
    logprob, other = jnp.array([-1e4, -1.0, -50.0]), jnp.array([-1.0, -1e4, -50.0])
    assert np.all(np.isfinite(estimator(logprob, other)))
    assert np.all(np.isfinite(gradient(estimator, logprob, other)))


@pytest.mark.parametrize("estimator", [kl.k1, kl.k3, kl.k1_plus, kl.k3_plus])
def test_the_mean_under_the_policy_is_the_kl(estimator):
    policy, other = jnp.array([0.5, 0.3, 0.2]), jnp.array([0.2, 0.2, 0.6])
    mean = jnp.sum(policy * estimator(jnp.log(policy), jnp.log(other)))
    exact = jnp.sum(policy * (jnp.log(policy) - jnp.log(other)))
    np.testing.assert_allclose(mean, exact, rtol=1e-5)


@pytest.mark.parametrize("estimator", [kl.k2, kl.k1_plus, kl.k3_plus])
def test_the_mean_gradient_is_that_of_the_kl(estimator):
    logits, other = jnp.array([0.3, -0.2, 1.0]), jax.nn.log_softmax(jnp.arange(3.0))

    def exact(logits):
        logprob = jax.nn.log_softmax(logits)
        return jnp.sum(jnp.exp(logprob) * (logprob - other))

    def sampled(logits):
        logprob = jax.nn.log_softmax(logits)
        draw = jax.lax.stop_gradient(jnp.exp(logprob))
        return jnp.sum(draw * estimator(logprob, other))

    np.testing.assert_allclose(
        jax.grad(sampled)(logits), jax.grad(exact)(logits), rtol=1e-4, atol=1e-6
    )


def test_in_reward_ignores_padding():
    logprob = jnp.array([[-1.0, jnp.nan], [-2.0, -1.0]])
    other = jnp.array([[-1.5, -1.0], [-1.0, -1.0]])
    mask = np.array([[True, False], [True, True]])
    penalty = kl.Penalty(0.1, kl.k1)
    reward = kl.in_reward(jnp.ones((1, 2)), logprob, other, mask, penalty)
    np.testing.assert_allclose(reward, [[1 - 0.05, 1 + 0.1]], rtol=1e-6)


def test_in_reward_of_tokens_each_pays_for_itself():
    logprob = jnp.array([[-1.0, jnp.nan], [-2.0, -1.0]])
    other = jnp.array([[-1.5, -1.0], [-1.0, -1.0]])
    mask = np.array([[True, False], [True, True]])
    earned = jnp.array([[1.0, 0.0], [0.0, 1.0]])
    reward = kl.in_reward(earned, logprob, other, mask, kl.Penalty(0.1, kl.k1))
    np.testing.assert_allclose(reward, [[1 - 0.05, 0], [0.1, 1]], rtol=1e-6)
