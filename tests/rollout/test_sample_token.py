"""The next token is drawn from the distribution it is said to come from."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maspo_jax.rollout.sample_token import (
    categorical,
    inverse_cdf,
    nucleus,
    sample_token,
)

DRAWS = 20_000
# 0.1 % quantile of chi-square per degree of freedom, for the sizes below, is under 3.
LIMIT = 3.0


def keys(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


@pytest.mark.parametrize("vocabulary", [1, 2, 5, 76, 97, 100])
def test_tokens_are_as_frequent_as_they_are_likely(vocabulary):
    logits = jax.random.normal(jax.random.key(vocabulary), (vocabulary,))
    weight = jnp.broadcast_to(jnp.exp(logits), (DRAWS, vocabulary))
    drawn = np.asarray(categorical(weight, keys(DRAWS)))
    expected = DRAWS * np.asarray(jax.nn.softmax(logits))
    seen = np.bincount(drawn, minlength=vocabulary)
    assert seen.size == vocabulary
    chi_square = ((seen - expected) ** 2 / expected).sum()
    assert chi_square / max(vocabulary - 1, 1) < LIMIT


def test_tokens_without_weight_are_never_drawn():
    weight = jnp.zeros((DRAWS, 10)).at[:, jnp.array([3, 9])].set(1e-30)
    assert set(np.unique(categorical(weight, keys(DRAWS)))) == {3, 9}


@pytest.mark.parametrize("width", [400, 5000])
def test_rounding_of_long_sums_draws_no_token_without_weight(width):
    keys = jax.random.split(jax.random.key(width), 3)
    weight = jax.random.uniform(keys[0], (500, width))
    weight = jnp.where(jax.random.bernoulli(keys[1], 0.5, weight.shape), weight, 0)
    uniform = jax.random.uniform(keys[2], (500,))
    for at in (uniform, jnp.zeros(500), jnp.full(500, np.nextafter(np.float32(1), 0))):
        index = jax.jit(inverse_cdf)(weight, at)
        assert (jnp.take_along_axis(weight, index[:, None], axis=1) > 0).all()


@pytest.mark.parametrize("uniform", [0.0, 0.5, np.nextafter(np.float32(1), 0)])
def test_every_quantile_falls_on_a_token_with_weight(uniform):
    weight = jnp.array([[0.0, 0.3, 0.0, 0.7, 0.0]])
    index = int(inverse_cdf(weight, jnp.full(1, uniform))[0])
    assert index in (1, 3)


def test_a_tiny_share_of_a_large_vocabulary_is_drawn_as_often_as_it_should_be():
    vocabulary = 50_000
    weight = jnp.zeros(vocabulary).at[7].set(1.0).at[jnp.array([49_999])].set(0.01)
    drawn = categorical(jnp.broadcast_to(weight, (4000, vocabulary)), keys(4000))
    share = float(jnp.mean(drawn == 49_999))
    assert 0.006 < share < 0.014


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_the_log_probability_is_that_of_the_distribution_drawn_from(temperature):
    logits = 3 * jax.random.normal(jax.random.key(1), (50, 20))
    token, logprob = sample_token(logits, keys(50), temperature)
    expected = jax.nn.log_softmax(logits / temperature)[jnp.arange(50), token]
    chex.assert_trees_all_close(logprob, expected, atol=1e-6)


def test_temperature_zero_takes_the_likeliest_whatever_the_key():
    logits = jax.random.normal(jax.random.key(1), (50, 20))
    token, logprob = sample_token(logits, keys(50), temperature=0)
    chex.assert_trees_all_equal(token, jnp.argmax(logits, axis=-1))
    expected = jnp.max(jax.nn.log_softmax(logits), axis=-1)
    chex.assert_trees_all_close(logprob, expected, atol=1e-6)


@pytest.mark.parametrize("top_p", [0.05, 0.5, 0.9, 0.999])
def test_a_nucleus_is_the_smallest_set_of_the_likeliest_that_holds_its_mass(top_p):
    logits = 2 * jax.random.normal(jax.random.key(1), (30, 40))
    kept = np.isfinite(nucleus(logits, top_p))
    probability = np.asarray(jax.nn.softmax(logits))
    for row in range(30):
        inside, outside = probability[row][kept[row]], probability[row][~kept[row]]
        assert inside.sum() >= top_p - 1e-6
        assert inside.sum() - inside.min() < top_p + 1e-6
        assert inside.min() >= outside.max(initial=0)


def sorted_nucleus(logits, top_p):
    """The plain twin: from the likeliest on, until the mass is reached."""
    probability = jax.nn.softmax(logits, axis=-1)
    falling = jnp.sort(probability, axis=-1, descending=True)
    before = jnp.cumsum(falling, axis=-1) - falling
    least = jnp.min(jnp.where(before < top_p, falling, jnp.inf), axis=-1, keepdims=True)
    return jnp.where(probability >= least, logits, -jnp.inf)


@pytest.mark.parametrize("top_p", [1e-6, 0.3, 0.75, 0.95, 0.999])
@pytest.mark.parametrize("spread", [0.0, 0.1, 1.0, 5.0, 40.0])
def test_a_nucleus_is_that_of_a_sort(spread, top_p):
    """Ties included: half of the tokens are as likely as another one."""
    logits = spread * jax.random.normal(jax.random.key(5), (64, 700))
    logits = jnp.concatenate([logits, logits[:, ::-1]], axis=1)
    logits = logits.at[:8, 100:].set(-jnp.inf).at[8:16, 3:].set(-1e30)
    kept, expected = jax.jit(nucleus)(logits, top_p), sorted_nucleus(logits, top_p)
    np.testing.assert_array_equal(kept, expected)


def test_a_mass_that_is_reached_exactly_is_enough():
    """Where sums are exact, so is the border: the fourth token is one too many."""
    logits = jnp.log(jnp.array([[0.5, 0.25, 0.125, 0.0625, 0.0625]]))
    for top_p, count in [(0.5, 1), (0.75, 2), (0.875, 3), (0.876, 5), (0.94, 5)]:
        for find in (nucleus, sorted_nucleus):
            assert np.isfinite(find(logits, top_p)).sum() == count, (find, top_p)


def test_a_nucleus_is_renormalized():
    logits = jnp.log(jnp.array([[0.5, 0.3, 0.2]]))
    logits = jnp.broadcast_to(logits, (200, 3))
    token, logprob = sample_token(logits, keys(200), top_p=0.7)
    assert set(np.unique(token)) == {0, 1}
    chex.assert_trees_all_close(
        jnp.exp(logprob), jnp.where(token == 0, 0.625, 0.375), atol=1e-6
    )
