import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import reference
from support.members import every_weight

from maspo_jax.objectives import token_weights


@pytest.fixture
def mask():
    draw = np.random.default_rng(0)
    mask = np.arange(9) < draw.integers(1, 10, (6, 1))
    mask[2] = False  # a response that trains nothing
    mask[4, 1] = False  # a hole
    return mask


@every_weight
def test_padding_weighs_nothing_and_tokens_something(weight, mask):
    value = np.asarray(weight(mask))
    assert np.all(value[~mask] == 0) and np.all(value[mask] > 0)


@every_weight
def test_no_tokens_no_weight(weight, mask):
    assert not np.any(weight(np.zeros_like(mask)))


@every_weight
def test_longer_padding_changes_nothing(weight, mask):
    wider = np.pad(mask, ((0, 3), (0, 7)))
    np.testing.assert_allclose(weight(wider)[:6, :9], weight(mask), rtol=1e-7)


def test_token_mean_weighs_tokens_alike(mask):
    value = token_weights.token_mean(mask)
    np.testing.assert_allclose(value[mask], 1 / mask.sum(), rtol=1e-6)
    np.testing.assert_allclose(value.sum(), 1, rtol=1e-6)


@pytest.mark.parametrize("tokens", [0, 1, 3, 41, 1021, 65_537, 16_777_213])
def test_token_mean_of_numpy_is_that_of_jax_bit_by_bit(tokens):
    mask = np.arange(2**24) < tokens
    ours = np.float32(token_weights.token_mean(mask)[:2])
    theirs = np.asarray(jax.jit(token_weights.token_mean)(mask))[:2]
    assert theirs.dtype == np.float32 and ours.tobytes() == theirs.tobytes()


def test_sequence_mean_weighs_responses_alike(mask):
    per_response = token_weights.sequence_mean(mask).sum(1)
    np.testing.assert_allclose(per_response[mask.any(1)], 1 / 5, rtol=1e-6)


def test_sequence_sum_weighs_the_mean_length(mask):
    value = token_weights.sequence_sum(mask)
    np.testing.assert_allclose(value.sum(), mask.sum() / 5, rtol=1e-6)


def test_only_token_mean_grows_with_the_batch(mask):
    per_response = token_weights.only_token_mean(mask).sum(1)
    np.testing.assert_allclose(per_response, mask.any(1), rtol=1e-6)


@pytest.mark.parametrize(
    "rule, weight",
    [
        ("token-mean__batch_num_tokens500_dp_size2", lambda mask: mask * 2 / 500),
        (
            "seq-mean-token-sum__global_batch_size32_dp_size2",
            lambda mask: mask * 2 / 32,
        ),
        (
            "seq-mean-token-mean__global_batch_size32_dp_size2",
            lambda mask: token_weights.only_token_mean(mask) * 2 / 32,
        ),
    ],
)
def test_a_shard_of_a_batch_is_weighed_by_the_whole(rule, weight):
    """Released code that knows the size of the whole batch does as this package does.

    It multiplies by the number of shards because it then averages over them.
    """
    arrays = reference.load("aggregation")
    with jax.enable_x64(True):
        ours = weight(jnp.asarray(arrays["mask"] != 0))
    theirs = arrays[f"verl/dloss_dmat_{rule}"]
    np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize(
    "weight, rule",
    [
        (token_weights.token_mean, "token-mean"),
        (token_weights.sequence_mean, "seq-mean-token-mean"),
        (token_weights.sequence_sum, "seq-mean-token-sum"),
        (
            token_weights.SequenceSumOver(64),
            "seq-mean-token-sum-norm__loss_scale_factor64",
        ),
    ],
)
def test_against_the_released_code(weight, rule):
    """The weights are the gradient of its loss with respect to the loss matrix."""
    arrays = reference.load("aggregation")
    with jax.enable_x64(True):
        ours = weight(jnp.asarray(arrays["mask"] != 0))
    theirs = arrays[f"verl/dloss_dmat_{rule}"]
    np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-12)
