import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.members import every_gate, random_batch

from maspo_jax.objectives import advantages, gates, kl
from maspo_jax.objectives.surrogate import surrogate
from maspo_jax.objectives.terms import LossTerms, loss


def entropy_like(logprob):
    return np.random.default_rng(3).exponential(1, logprob.shape).astype(np.float32)


@every_gate
def test_without_coefficients_it_is_the_surrogate(gate):
    batch, logprob = random_batch()
    entropy = entropy_like(logprob)
    ours = jax.value_and_grad(loss)(logprob, entropy, batch, LossTerms(gate))
    chex.assert_trees_all_equal(
        ours, jax.value_and_grad(surrogate)(logprob, batch, gate)
    )
    slope = jax.grad(loss, 1)(logprob, entropy, batch, LossTerms(gate))
    assert not np.any(slope)


def test_each_term_adds_its_gradient():
    batch, logprob = random_batch()
    entropy, gate = entropy_like(logprob), gates.Dgpo()
    far, right = logprob - 0.3, batch.weight * (np.arange(8) % 2)[:, None]
    batch = batch.replace(reference_logprob=far, correct_weight=right)
    terms = LossTerms(gate, None, 0.1, kl.Penalty(0.5, kl.k2), 0.2)
    by_logprob, by_entropy = jax.grad(loss, (0, 1))(logprob, entropy, batch, terms)
    plain = jax.grad(surrogate)(logprob, batch, gate)
    chex.assert_trees_all_close(by_entropy, -0.1 * batch.weight, rtol=1e-6)
    expected = plain + 0.5 * batch.weight * (logprob - far) - 0.2 * right
    chex.assert_trees_all_close(by_logprob, expected, rtol=1e-4, atol=1e-7)


def test_the_entropy_advantage_reaches_the_surrogate():
    batch, logprob = random_batch()
    entropy, shaping = entropy_like(logprob), advantages.EntropyAdvantage()
    shaped = batch.replace(advantage=shaping(batch.advantage, entropy))
    expected = jax.grad(surrogate)(logprob, shaped, gates.Maspo())
    ours, slope = jax.grad(loss, (0, 1))(
        logprob, entropy, batch, LossTerms(gates.Maspo(), shaping)
    )
    chex.assert_trees_all_close(ours, expected, rtol=1e-6, atol=1e-9)
    assert not np.any(slope)


@pytest.mark.parametrize("junk", [np.nan, np.inf])
def test_padding_may_hold_anything(junk):
    batch, logprob = random_batch()
    terms = LossTerms(
        gates.Clip(), advantages.EntropyAdvantage(), 0.1, kl.Penalty(0.1, kl.k3), 0.1
    )
    spoil = lambda x: jnp.where(batch.weight == 0, junk, x)
    entropy, far = entropy_like(logprob), logprob - 0.3
    clean = batch.replace(reference_logprob=far, correct_weight=batch.weight)
    spoiled = clean.replace(
        reference_logprob=spoil(far),
        old_logprob=spoil(batch.old_logprob),
        advantage=spoil(batch.advantage),
    )
    gradient = jax.value_and_grad(loss, (0, 1))
    chex.assert_trees_all_equal(
        gradient(spoil(logprob), spoil(entropy), spoiled, terms),
        gradient(logprob, entropy, clean, terms),
    )


def test_coefficients_do_not_compile_again():
    batch, logprob = random_batch()
    traces = []

    @jax.jit
    def value(terms):
        traces.append(terms)
        return loss(logprob, entropy_like(logprob), batch, terms)

    batch = batch.replace(reference_logprob=logprob - 0.3, correct_weight=batch.weight)
    shaping, penalty = advantages.EntropyAdvantage, kl.Penalty
    value(LossTerms(gates.Clip(), shaping(), 0.0, penalty(0.01, kl.k3), 0.0))
    value(
        LossTerms(
            gates.Clip(low=0.1), shaping(0.1, 3.0), 0.01, penalty(0.02, kl.k3), 0.1
        )
    )
    assert len(traces) == 1
