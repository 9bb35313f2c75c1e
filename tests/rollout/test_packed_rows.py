"""Log-probabilities of sequences that are read packed, or in rows that are cut."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maspo_jax.learning import packing
from maspo_jax.rollout import packed_rows
from maspo_jax.rollout.logprobs import response_logprobs
from maspo_jax.types import LengthBuckets, Packing, Sequences, columns_read

L, T = 4, 7
LENGTHS = [(1, 1), (4, 7), (2, 0), (3, 4), (4, 1), (1, 7), (2, 2), (3, 0)]


@pytest.fixture(scope="module")
def sequences():
    """Of one token, of none, as long as can be; garbage where nothing is."""
    rng = np.random.default_rng(0)
    prompt, response = np.array(LENGTHS).T
    return Sequences(
        rng.integers(0, 24, (8, L), np.int32),
        np.arange(L)[None] >= L - prompt[:, None],
        rng.integers(0, 24, (8, T), np.int32),
        np.arange(T)[None] < response[:, None],
    )


def columns(sequences):
    return np.asarray(columns_read(sequences))


def plain_pack(sequences, start, rows, length):
    """Token by token."""
    tokens, segment = (np.zeros(rows * length, np.int32) for _ in range(2))
    for text in range(len(start)):
        prompt = sequences.prompt[text][sequences.prompt_mask[text]]
        response = sequences.response[text][sequences.response_mask[text]]
        read = [*prompt, *response][:-1] if len(response) else []
        for offset, token in enumerate(read):
            tokens[start[text] + offset] = token
            segment[start[text] + offset] = text + 1
    return tokens.reshape(rows, length), segment.reshape(rows, length)


def scores(policy, sequences):
    return jax.jit(response_logprobs, static_argnums=2)(policy, sequences, 0.7)


def test_columns_that_are_read(sequences):
    """The last token of a text is not, nor is a prompt without a response."""
    assert columns(sequences).tolist() == [1, 10, 0, 6, 4, 7, 3, 0]


def test_rows_hold_every_token_that_is_read(sequences):
    start, rows = packing.best_fit(columns(sequences), 11)
    found = jax.jit(packed_rows.pack, static_argnums=(2, 3))(sequences, start, rows, 11)
    tokens, segment = plain_pack(sequences, start, rows, 11)
    np.testing.assert_array_equal(found.tokens, tokens)
    np.testing.assert_array_equal(found.segment, segment)
    assert rows == 3 and found.tokens.dtype == np.int32
    for text, (prompt, response) in enumerate(LENGTHS):
        places = start[text] + prompt - 1 + np.arange(response)
        np.testing.assert_array_equal(found.place[text, :response], places)
        assert (np.asarray(found.place)[text, response:] == 33).all()


# Of 56 tokens of responses: rows of fewer columns are scored whole, of more not.
@pytest.mark.parametrize("length, rows", [(10, None), (40, None), (11, 6), (31, 1)])
def test_packed_rows_have_the_log_probabilities_of_single_ones(
    sequences, tiny_policy, length, rows
):
    start, needed = packing.best_fit(columns(sequences), length)
    reading = Packing(start, 1, rows or needed, length)
    found = scores(tiny_policy, sequences.replace(reading=reading))
    expected = scores(tiny_policy, sequences)
    mask = sequences.response_mask
    for got, want in zip(found, expected, strict=True):
        np.testing.assert_allclose(got[mask], want[mask], atol=1e-5)
        assert got.dtype == np.float32 and not np.any(np.asarray(got)[~mask])


@pytest.mark.parametrize("widths", [(10,), (1, 3, 6, 10)])
@pytest.mark.parametrize("rows", [[0, 2, 7], [0, 4, 6], [3, 7, 5]])
def test_buckets_have_the_log_probabilities_of_whole_rows(
    sequences, tiny_policy, widths, rows
):
    some = jax.tree.map(lambda x: x[np.array(rows)], sequences)
    found = scores(tiny_policy, some.replace(reading=LengthBuckets(widths)))
    expected = scores(tiny_policy, some)
    for got, want in zip(found, expected, strict=True):
        np.testing.assert_allclose(
            got[some.response_mask], want[some.response_mask], atol=1e-5
        )


@pytest.mark.parametrize("length", [10, 40])
def test_gradients_come_back_to_their_tokens(sequences, tiny_policy, length):
    """Of the log-probabilities and of the entropy, both weighed at random."""
    start, rows = packing.best_fit(columns(sequences), length)
    weight = np.random.default_rng(1).normal(0, 1 / 22, (2, 8, T)).astype(np.float32)

    @jax.jit
    def gradient(policy, sequences):
        def total(policy):
            found = response_logprobs(policy, sequences, 1.0)
            return sum(jnp.sum(x * y) for x, y in zip(weight, found, strict=True))

        return jax.grad(total)(policy)

    reading = Packing(start, 1, rows, length)
    found = gradient(tiny_policy, sequences.replace(reading=reading))
    expected = gradient(tiny_policy, sequences)
    chex.assert_trees_all_close(found, expected, atol=1e-5, rtol=1e-4)


def test_the_width_is_the_least_that_fits(sequences, tiny_policy):
    """What does not fit a row of a bucket would be lost."""
    seen = []

    class Policy:
        def __call__(self, tokens, layout, unshard):
            jax.debug.callback(lambda: seen.append(tokens.shape[1]))
            assert not layout.packed
            return tiny_policy(tokens, layout, unshard=unshard)

        head_matrix = staticmethod(lambda: tiny_policy.head_matrix())

    for text, width in enumerate([1, 10, 1, 6, 6, 10, 3, 1]):
        row = jax.tree.map(lambda x, text=text: x[text : text + 1], sequences)
        row = row.replace(reading=LengthBuckets((1, 3, 6, 10)))
        jax.block_until_ready(response_logprobs(Policy(), row, 1.0))
        jax.effects_barrier()
        assert seen.pop() == width and not seen
