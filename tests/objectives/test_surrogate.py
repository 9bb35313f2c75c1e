import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from support.members import every_gate, every_weight, random_batch

from maspo_jax.objectives import gates, metrics
from maspo_jax.objectives.surrogate import (
    fit,
    negative_log_likelihood,
    policy_loss,
    surrogate,
)
from maspo_jax.objectives.terms import Method
from maspo_jax.objectives.tokens import tokens_of


def gradient(logprob, batch, gate):
    return jax.grad(surrogate, has_aux=True)(logprob, batch, gate)[0]


def value_and_gradient(logprob, batch, gate):
    (loss, _), grads = jax.value_and_grad(surrogate, has_aux=True)(logprob, batch, gate)
    return loss, grads


def rows(tree, index):
    return jax.tree.map(lambda x: x[index], tree)


@every_gate
def test_on_policy_every_method_is_the_policy_gradient(gate):
    batch, _ = random_batch()
    chex.assert_trees_all_close(
        gradient(batch.old_logprob, batch, gate),
        -batch.weight * batch.advantage,
        rtol=1e-5,
        atol=1e-9,
    )


@every_gate
def test_gradient_is_gate_times_ratio_times_advantage(gate):
    batch, logprob = random_batch()
    _, value = surrogate(logprob, batch, gate)
    ratio = np.exp(logprob - batch.old_logprob)
    chex.assert_trees_all_close(
        gradient(logprob, batch, gate),
        -batch.weight * value * ratio * batch.advantage,
        rtol=1e-5,
        atol=1e-9,
    )


@every_gate
def test_without_advantage_there_is_no_gradient(gate):
    batch, logprob = random_batch()
    batch = batch.replace(advantage=jnp.zeros_like(batch.advantage))
    assert not np.any(gradient(logprob, batch, gate))


@every_gate
@every_weight
def test_padding_may_hold_anything(gate, weight):
    batch, logprob = random_batch(weight=weight)
    pad = batch.weight == 0
    assert pad.any()
    expected = value_and_gradient(logprob, batch, gate)
    for junk in (np.nan, np.inf, -np.inf, 1e30):
        spoil = lambda x, junk=junk: jnp.where(pad, junk, x)
        spoiled = batch.replace(
            old_logprob=spoil(batch.old_logprob), advantage=spoil(batch.advantage)
        )
        ours = value_and_gradient(spoil(logprob), spoiled, gate)
        chex.assert_trees_all_equal(ours, expected)


@every_gate
@every_weight
def test_more_padding_changes_nothing(gate, weight):
    batch, logprob = random_batch(weight=weight)
    wider = lambda x: jnp.pad(x, ((0, 0), (0, 5)))
    ours = gradient(wider(logprob), jax.tree.map(wider, batch), gate)
    expected = wider(gradient(logprob, batch, gate))
    chex.assert_trees_all_close(ours, expected, rtol=1e-6, atol=1e-9)


@every_gate
@every_weight
def test_splitting_a_batch_does_not_change_its_gradient(gate, weight):
    batch, logprob = random_batch(weight=weight)
    whole = value_and_gradient(logprob, batch, gate)
    gate = fit(gate, tokens_of(logprob, None, batch), total=lambda number: number)
    pieces = [
        value_and_gradient(logprob[part], rows(batch, part), gate)
        for part in np.split(np.arange(len(logprob)), 4)
    ]
    losses, grads = zip(*pieces, strict=True)
    chex.assert_trees_all_close(
        (sum(losses), jnp.concatenate(grads)), whole, rtol=1e-5, atol=1e-8
    )


@every_gate
@every_weight
def test_order_of_rows_does_not_matter(gate, weight):
    batch, logprob = random_batch(weight=weight)
    order = np.random.default_rng(1).permutation(len(logprob))
    chex.assert_trees_all_close(
        gradient(logprob[order], rows(batch, order), gate),
        gradient(logprob, batch, gate)[order],
        rtol=1e-6,
    )


@every_gate
@every_weight
def test_a_batch_without_tokens_gives_zero(gate, weight):
    batch, logprob = random_batch(weight=weight)
    empty = batch.replace(weight=weight(jnp.zeros(logprob.shape, bool)))
    loss, grads = value_and_gradient(logprob, empty, gate)
    assert loss == 0 and not np.any(grads)


@every_gate
def test_nothing_but_the_policy_gets_a_gradient(gate):
    batch, logprob = random_batch()

    def loss(gate, old_logprob):
        _, value = surrogate(logprob, batch.replace(old_logprob=old_logprob), gate)
        return jnp.sum(value)

    gate_grads, old_grads = jax.grad(loss, (0, 1))(gate, batch.old_logprob)
    assert not np.any(old_grads)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gate_grads))


@every_gate
def test_low_precision_is_computed_in_float32(gate):
    batch, logprob = random_batch()
    low = lambda tree: jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), tree)
    loss, grads = value_and_gradient(low(logprob), low(batch), gate)
    assert loss.dtype == jnp.float32 and np.all(np.isfinite(grads.astype(np.float32)))


def test_the_gate_is_evaluated_once():
    """The loss, the metrics and the trace see the same values."""
    batch, logprob = random_batch()
    calls = []

    @struct.dataclass
    class Counting:
        def __call__(self, log_ratio, advantage, old_logprob):
            calls.append(log_ratio)
            return 0.5 * jnp.ones_like(log_ratio)

    (_, (measured, trace)), grads = jax.value_and_grad(policy_loss, has_aux=True)(
        logprob, -logprob, batch, Method(Counting()), total=lambda number: number
    )
    assert len(calls) == 1
    np.testing.assert_array_equal(trace.gate, 0.5)
    assert metrics.summarize(measured)["gate/mean"] == 0.5
    expected = 0.5 * gradient(logprob, batch, gates.ImportanceSampling())
    chex.assert_trees_all_close(grads, expected, rtol=1e-6)


def test_beyond_the_clamp_a_token_has_no_gradient():
    batch, logprob = random_batch()
    far = batch.replace(old_logprob=logprob + 21)
    assert not np.any(gradient(logprob, far, gates.Dgpo()))


def test_misfitting_shapes_are_refused():
    batch, logprob = random_batch()
    with pytest.raises(AssertionError, match="hape"):
        surrogate(logprob[:, :-1], batch, gates.Clip())


def test_likelihood_is_minus_the_weighted_sum():
    batch, logprob = random_batch()
    pad = batch.weight == 0
    loss = negative_log_likelihood(np.where(pad, np.nan, logprob), batch)
    np.testing.assert_allclose(loss, -np.sum(batch.weight * logprob), rtol=1e-6)
