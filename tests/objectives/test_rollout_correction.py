"""How far two policies are from each other, by hand and by the released code."""

import jax
import numpy as np
import pytest
from support import reference

from maspo_jax.objectives import metrics


def drawn(shift=0.1):
    """Log-probabilities that differ by a shift, with a hole in the mask."""
    logprob = -np.random.default_rng(0).exponential(1.5, (6, 9))
    mask = np.ones(logprob.shape, bool)
    mask[0, 0], mask[-1] = False, False
    return logprob, np.where(mask, logprob - shift, np.nan), mask


@pytest.mark.parametrize("shift", [0.1, -0.3])
def test_mismatch_of_a_constant_shift(shift):
    """The ratio is e^shift on every token, so every number is known."""
    with jax.enable_x64(True):
        found = metrics.rollout_correction(*drawn(shift))
    expected = {
        "rollout_corr/logprob_diff_max": abs(shift),
        "rollout_corr/kl": -shift,
        "rollout_corr/k3_kl": np.expm1(shift) - shift,
        "rollout_corr/chi2_token": np.expm1(2 * shift),
        "rollout_corr/ppl_ratio": np.exp(-shift),
        "rollout_corr/eff_sample_size": 1.0,
    }
    assert found.keys() == expected.keys()
    for name, number in expected.items():
        np.testing.assert_allclose(found[name], number, rtol=1e-9, err_msg=name)


def test_the_kl_to_the_reference_is_that_of_the_policy():
    """k3 of tokens that the policy drew: r - 1 - log r, r = reference / policy."""
    logprob, sampled, mask = drawn()
    reference_logprob = logprob - np.random.default_rng(1).normal(0, 0.5, logprob.shape)
    with jax.enable_x64(True):
        found = metrics.compare_logprobs(logprob, sampled, mask, reference_logprob)
        assert "kl" not in metrics.compare_logprobs(logprob, sampled, mask)
    apart = (reference_logprob - logprob)[mask]
    expected = np.mean(np.exp(apart) - 1 - apart)
    np.testing.assert_allclose(found["kl"], expected, rtol=1e-9)
    swapped = np.mean(np.exp(-apart) - 1 + apart)
    assert abs(swapped - expected) > 0.01


def test_effective_share_by_hand():
    """Of ratios 1 and 3 over two tokens: (1 + 3)^2 / (2 (1 + 9))."""
    share = metrics.effective_share(np.array([[1.0, 3, 7]]), np.array([[1, 1, 0]]) > 0)
    np.testing.assert_allclose(share, 0.8, rtol=1e-6)


def test_a_batch_without_tokens_is_no_mismatch():
    logprob, sampled, mask = drawn()
    found = metrics.rollout_correction(logprob, sampled, np.zeros_like(mask))
    assert all(number == 0 for number in found.values())


def test_mismatch_of_the_released_code():
    inputs, arrays = (
        reference.load("inputs_main"),
        reference.load("rollout_correction"),
    )
    names = ("old_log_prob", "rollout_log_prob")
    with jax.enable_x64(True):
        found = metrics.rollout_correction(
            *(inputs[name] for name in names), inputs["mask"] != 0
        )
    # Its means divide by the number of tokens plus 1e-8.
    for name in ("kl", "k3_kl", "chi2_token"):
        ours, theirs = found[f"rollout_corr/{name}"], arrays[f"metric_{name}"]
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-10)
    # The released code counts responses without tokens, as equally likely.
    some = (inputs["mask"] != 0).any(axis=-1)
    theirs = (arrays["metric_ppl_ratio"] - np.mean(~some)) / np.mean(some)
    np.testing.assert_allclose(found["rollout_corr/ppl_ratio"], theirs, rtol=1e-9)
