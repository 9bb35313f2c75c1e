import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from support.members import every_gate, random_batch

from maspo_jax.objectives import advantages, gates, kl, terms
from maspo_jax.objectives.surrogate import policy_loss, surrogate
from maspo_jax.objectives.terms import EntropyBonus, Imitation, Method

EVERY = (EntropyBonus(0.1), kl.Penalty(0.5, kl.k2), Imitation(0.2))
every_term = pytest.mark.parametrize("term", EVERY, ids=lambda t: type(t).__name__)


def entropy_like(logprob):
    return np.random.default_rng(3).exponential(1, logprob.shape).astype(np.float32)


def loss(logprob, entropy, batch, method):
    return policy_loss(logprob, entropy, batch, method, total=lambda number: number)[0]


def full(batch, logprob):
    """The batch with everything that a term may need."""
    right = np.arange(len(logprob)) % 2 == 1
    return batch.replace(
        reference_logprob=logprob - 0.3,
        correct=right,
        correct_weight=batch.weight * right[:, None],
    )


def plain_gradient(logprob, batch, gate):
    return jax.grad(surrogate, has_aux=True)(logprob, batch, gate)[0]


@every_gate
def test_without_terms_it_is_the_surrogate(gate):
    batch, logprob = random_batch()
    entropy = entropy_like(logprob)
    ours = jax.value_and_grad(loss)(logprob, entropy, batch, Method(gate))
    expected = surrogate(logprob, batch, gate)[0], plain_gradient(logprob, batch, gate)
    chex.assert_trees_all_equal(ours, expected)
    slope = jax.grad(loss, 1)(logprob, entropy, batch, Method(gate))
    assert not np.any(slope)


def test_each_term_adds_its_gradient():
    batch, logprob = random_batch()
    entropy, gate = entropy_like(logprob), gates.Dgpo()
    batch = full(batch, logprob)
    method = Method(gate, terms=EVERY)
    by_logprob, by_entropy = jax.grad(loss, (0, 1))(logprob, entropy, batch, method)
    plain = plain_gradient(logprob, batch, gate)
    chex.assert_trees_all_close(by_entropy, -0.1 * batch.weight, rtol=1e-6)
    distance = 0.5 * batch.weight * (logprob - batch.reference_logprob)
    expected = plain + distance - 0.2 * batch.correct_weight
    chex.assert_trees_all_close(by_logprob, expected, rtol=1e-4, atol=1e-7)


@every_term
def test_a_term_adds_over_the_parts_of_a_batch(term):
    batch, logprob = random_batch()
    batch, entropy = full(batch, logprob), entropy_like(logprob)
    whole = terms.loss(logprob, entropy, batch, (term,))
    parts = 0
    for number in range(len(logprob)):
        row = slice(number, number + 1)
        part = jax.tree.map(lambda x, row=row: x[row], (logprob, entropy, batch))
        parts += terms.loss(*part, (term,))
    np.testing.assert_allclose(parts, whole, rtol=1e-5)


@every_term
def test_a_term_of_no_coefficient_costs_nothing(term):
    batch, logprob = random_batch()
    batch, entropy = full(batch, logprob), entropy_like(logprob)
    assert terms.loss(logprob, entropy, batch, (term,)) != 0
    assert terms.loss(logprob, entropy, batch, (term.replace(coefficient=0.0),)) == 0


def test_a_term_of_ones_own():
    """It says what it needs, and nothing else has to know it."""

    @struct.dataclass
    class Mine:
        needs = ("reference_logprob",)
        over = "correct"
        coefficient: float = 2.0

        def __call__(self, tokens):
            return self.coefficient * (tokens.logprob - tokens.reference_logprob)

    batch, logprob = random_batch()
    batch = full(batch, logprob)
    assert terms.needs_of(Mine()) == ("reference_logprob", "correct")
    found = terms.loss(logprob, entropy_like(logprob), batch, (Mine(),))
    np.testing.assert_allclose(found, 0.6 * np.sum(batch.correct_weight), rtol=1e-5)


def test_the_entropy_advantage_reaches_the_surrogate():
    batch, logprob = random_batch()
    entropy, shaping = entropy_like(logprob), advantages.EntropyAdvantage()
    shaped = batch.replace(advantage=shaping(batch.advantage, entropy))
    expected = plain_gradient(logprob, shaped, gates.Maspo())
    ours, slope = jax.grad(loss, (0, 1))(
        logprob, entropy, batch, Method(gates.Maspo(), shaping)
    )
    chex.assert_trees_all_close(ours, expected, rtol=1e-6, atol=1e-9)
    assert not np.any(slope)


@pytest.mark.parametrize("junk", [np.nan, np.inf])
def test_padding_may_hold_anything(junk):
    batch, logprob = random_batch()
    method = Method(gates.Clip(), advantages.EntropyAdvantage(), EVERY)
    spoil = lambda x: jnp.where(batch.weight == 0, junk, x)
    entropy, clean = entropy_like(logprob), full(batch, logprob)
    spoiled = clean.replace(
        reference_logprob=spoil(clean.reference_logprob),
        old_logprob=spoil(batch.old_logprob),
        advantage=spoil(batch.advantage),
    )
    gradient = jax.value_and_grad(loss, (0, 1))
    chex.assert_trees_all_equal(
        gradient(spoil(logprob), spoil(entropy), spoiled, method),
        gradient(logprob, entropy, clean, method),
    )


def test_coefficients_do_not_compile_again():
    batch, logprob = random_batch()
    batch, traces = full(batch, logprob), []

    @jax.jit
    def value(method):
        traces.append(method)
        return loss(logprob, entropy_like(logprob), batch, method)

    method = Method(gates.Clip(), advantages.EntropyAdvantage(), EVERY)
    for factor in (1.0, 0.5, 0.1):
        value(jax.tree.map(lambda leaf, f=factor: leaf * f, method))
    assert len(traces) == 1


@struct.dataclass
class OfCorrect:
    """A term of one's own that looks at the tokens of correct responses."""

    needs = ("correct",)

    def __call__(self, tokens):
        return jnp.where(tokens.correct, tokens.entropy, 0)


def test_a_term_sees_which_tokens_are_of_correct_responses():
    batch, logprob = random_batch()
    batch, entropy = full(batch, logprob), entropy_like(logprob)
    added = [
        loss(logprob, entropy, batch, Method(gates.Clip(), terms=chosen))
        for chosen in ((OfCorrect(),), ())
    ]
    expected = np.sum(batch.weight * entropy * batch.correct[:, None])
    np.testing.assert_allclose(added[0] - added[1], expected, rtol=1e-5)
