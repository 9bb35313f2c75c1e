import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from members import every_gate, random_batch

from maspo_jax.objectives import advantages, gates, kl
from maspo_jax.objectives.surrogate import surrogate
from maspo_jax.objectives.terms import Terms, loss


def entropy_like(logprob):
    return np.random.default_rng(3).exponential(1, logprob.shape).astype(np.float32)


@every_gate
def test_without_coefficients_it_is_the_surrogate(gate):
    batch, logprob = random_batch()
    entropy = entropy_like(logprob)
    ours = jax.value_and_grad(loss)(logprob, entropy, batch, Terms(gate))
    chex.assert_trees_all_equal(
        ours, jax.value_and_grad(surrogate)(logprob, batch, gate)
    )
    slope = jax.grad(loss, 1)(logprob, entropy, batch, Terms(gate))
    assert not np.any(slope)


def test_each_term_adds_its_gradient():
    batch, logprob = random_batch()
    entropy, gate = entropy_like(logprob), gates.Dgpo()
    far = logprob - 0.3
    terms = Terms(gate, entropy_bonus=0.1, kl_penalty=0.5, kl=kl.k2)
    by_logprob, by_entropy = jax.grad(loss, (0, 1))(logprob, entropy, batch, terms, far)
    plain = jax.grad(surrogate)(logprob, batch, gate)
    chex.assert_trees_all_close(by_entropy, -0.1 * batch.weight, rtol=1e-6)
    expected = plain + 0.5 * batch.weight * (logprob - far)
    chex.assert_trees_all_close(by_logprob, expected, rtol=1e-4, atol=1e-7)


def test_the_entropy_advantage_reaches_the_surrogate():
    batch, logprob = random_batch()
    entropy = entropy_like(logprob)
    shaped = advantages.entropy_shaped(batch.advantage, entropy, 0.4, 2.0)
    expected = jax.grad(surrogate)(
        logprob, batch.replace(advantage=shaped), gates.Maspo()
    )
    ours, slope = jax.grad(loss, (0, 1))(
        logprob, entropy, batch, Terms(gates.Maspo(), entropy_advantage=0.4)
    )
    chex.assert_trees_all_close(ours, expected, rtol=1e-6, atol=1e-9)
    assert not np.any(slope)


@pytest.mark.parametrize("junk", [np.nan, np.inf])
def test_padding_may_hold_anything(junk):
    batch, logprob = random_batch()
    terms = Terms(gates.Clip(), 0.4, 2.0, 0.1, 0.1)
    spoil = lambda x: jnp.where(batch.weight == 0, junk, x)
    entropy, far = entropy_like(logprob), logprob - 0.3
    gradient = jax.value_and_grad(loss, (0, 1))
    chex.assert_trees_all_equal(
        gradient(spoil(logprob), spoil(entropy), batch, terms, spoil(far)),
        gradient(logprob, entropy, batch, terms, far),
    )


def test_coefficients_do_not_compile_again():
    batch, logprob = random_batch()
    traces = []

    @jax.jit
    def value(terms):
        traces.append(terms)
        return loss(logprob, entropy_like(logprob), batch, terms, logprob)

    value(Terms(gates.Clip()))
    value(Terms(gates.Clip(low=0.1), 0.4, 2.0, 0.01, 0.02))
    assert len(traces) == 1
