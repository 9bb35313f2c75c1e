"""Log-probabilities in slices of the vocabulary equal those in one piece."""

import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maspo_jax.rollout.logprobs import response_logprobs, token_logprobs
from maspo_jax.types import Sequences

VOCABULARY = 77


@pytest.fixture(scope="module")
def inputs():
    keys = jax.random.split(jax.random.key(0), 5)
    hidden = jax.random.normal(keys[0], (40, 16))
    matrix = jax.random.normal(keys[1], (VOCABULARY, 16))
    token = jax.random.randint(keys[2], (40,), 0, VOCABULARY)
    weights = jax.random.normal(keys[3], (2, 40))
    return hidden, matrix, token, weights


def naive(hidden, matrix, token, temperature):
    logprob = jax.nn.log_softmax(hidden @ matrix.T / temperature)
    chosen = logprob[jnp.arange(token.size), token]
    return chosen, -jnp.sum(jnp.exp(logprob) * logprob, axis=-1)


def value_and_gradients(score, hidden, matrix, weights):
    """A scalar that depends on both results, and its gradients."""

    def objective(hidden, matrix):
        logprob, entropy = score(hidden, matrix)
        return jnp.sum(weights[0] * logprob) + jnp.sum(weights[1] * entropy)

    return jax.jit(jax.value_and_grad(objective, argnums=(0, 1)))(hidden, matrix)


@pytest.mark.parametrize("columns", [1, 10, 76, 77, 500, None])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_slices_change_neither_values_nor_gradients(inputs, columns, temperature):
    hidden, matrix, token, weights = inputs
    score = lambda h, m: token_logprobs(h, m, token, temperature, columns)
    whole = lambda h, m: naive(h, m, token, temperature)
    chex.assert_trees_all_close(
        jax.jit(score)(hidden, matrix), whole(hidden, matrix), rtol=1e-5, atol=1e-5
    )
    got = value_and_gradients(score, hidden, matrix, weights)
    expected = value_and_gradients(whole, hidden, matrix, weights)
    chex.assert_trees_all_close(got, expected, rtol=1e-4, atol=1e-4)


def test_extreme_logits_stay_finite(inputs):
    hidden, matrix, token, weights = inputs
    score = lambda h, m: token_logprobs(h, m, token, columns=10)
    got = value_and_gradients(score, hidden * 1e4, matrix, weights)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(got))


def test_bfloat16_inputs_are_summed_in_float32(inputs):
    hidden, matrix, token, _ = inputs
    narrow = hidden.astype(jnp.bfloat16), matrix.astype(jnp.bfloat16)
    logprob, entropy = token_logprobs(*narrow, token, columns=10)
    expected = naive(*(x.astype(jnp.float32) for x in narrow), token, 1.0)
    assert logprob.dtype == entropy.dtype == jnp.float32
    chex.assert_trees_all_close((logprob, entropy), expected, atol=1e-4)


def test_the_whole_logits_are_never_held():
    """At the sizes of a real policy; nothing is run, only compiled."""
    positions, width, vocabulary = 16_384, 8, 152_000
    shapes = (
        jax.ShapeDtypeStruct((positions, width), jnp.float32),
        jax.ShapeDtypeStruct((vocabulary, width), jnp.float32),
        jax.ShapeDtypeStruct((positions,), jnp.int32),
    )

    def peak(score):
        loss = lambda h, m, t: jnp.sum(score(h, m, t)[0])
        compiled = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(*shapes).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    logits = 4 * positions * vocabulary
    assert peak(lambda h, m, t: naive(h, m, t, 1.0)) > logits
    assert peak(lambda h, m, t: token_logprobs(h, m, t)) < logits / 8


def test_left_and_right_padding_change_nothing(tiny_policy):
    rng = np.random.default_rng(0)
    prompt_mask = np.arange(7)[None] >= np.array([[0], [4], [6]])
    mask = np.arange(9)[None] < np.array([[9], [2], [5]])
    batch = Sequences(
        rng.integers(0, 24, (3, 7)), prompt_mask, rng.integers(0, 24, (3, 9)), mask
    )
    score = jax.jit(response_logprobs, static_argnums=2)
    together = score(tiny_policy, batch, 1.0)
    for row in range(3):
        alone = Sequences(
            batch.prompt[row][prompt_mask[row]][None],
            np.ones((1, prompt_mask[row].sum()), bool),
            batch.response[row][mask[row]][None],
            np.ones((1, mask[row].sum()), bool),
        )
        for got, expected in zip(together, score(tiny_policy, alone, 1.0), strict=True):
            chex.assert_trees_all_close(got[row][mask[row]], expected[0], atol=1e-5)
            assert (got[row][~mask[row]] == 0).all()


def test_texts_packed_into_one_row_do_not_see_each_other(tiny_policy):
    """Scores and gradients are those of the same texts in rows of their own."""
    rng = np.random.default_rng(0)
    lengths, row = [(3, 4), (1, 6), (5, 2)], 24
    texts = [rng.integers(2, 24, sum(pair), np.int32) for pair in lengths]
    tokens, segment = np.zeros((2, 1, row), np.int32)
    mask, begin, alone = np.zeros((1, row), bool), 0, []
    for number, (text, (asked, _)) in enumerate(zip(texts, lengths, strict=True), 1):
        inside = slice(begin, begin + len(text))
        tokens[0, inside], segment[0, inside] = text, number
        mask[0, begin + asked : begin + len(text)] = True
        begin += len(text)
        whole = np.ones((1, len(text)), bool)
        alone.append(
            Sequences(
                text[None, :asked],
                whole[:, :asked],
                text[None, asked:],
                whole[:, asked:],
            )
        )
    packed = Sequences(tokens[:, :1], mask[:, :1], tokens[:, 1:], mask[:, 1:], segment)

    def total(policy, sequences):
        logprob, entropy = response_logprobs(policy, sequences, 1.0)
        return logprob.sum() + 0.1 * entropy.sum()

    value = jax.jit(jax.value_and_grad(total))
    expected = [value(tiny_policy, sequences) for sequences in alone]
    got = value(tiny_policy, packed)
    np.testing.assert_allclose(got[0], sum(v for v, _ in expected), rtol=1e-5)
    summed = jax.tree.map(lambda *grads: sum(grads), *(grads for _, grads in expected))
    chex.assert_trees_all_close(
        jax.tree.leaves(got[1]), jax.tree.leaves(summed), rtol=1e-4, atol=1e-5
    )


def test_products_of_bfloat16_are_summed_in_float32(inputs):
    """Seen in the program: a CPU may compute better than it was asked to."""
    hidden, matrix, token, _ = inputs
    narrow = hidden.astype(jnp.bfloat16), matrix.astype(jnp.bfloat16)
    score = lambda *parts: sum(map(jnp.sum, token_logprobs(*parts, token)))
    program = str(jax.make_jaxpr(jax.grad(score, argnums=(0, 1)))(*narrow))
    products = re.findall(r"(\S+) = dot_general", program)
    assert len(products) >= 3 and all(":f32[" in name for name in products)
