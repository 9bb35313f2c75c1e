import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import reference

from maspo_jax.objectives import correction, gates
from maspo_jax.objectives.ratios import effective_share
from maspo_jax.objectives.surrogate import surrogate

CORRECTIONS = [
    correction.TokenTruncated(),
    correction.SequenceTruncated(),
    correction.IcePop(),
]
REJECTIONS = [
    correction.RejectTokens(),
    correction.RejectResponses(),
    correction.RejectTokensByK2(),
    correction.RejectTokensByK3(),
    correction.RejectResponsesByK3(),
]
name_of = lambda rule: type(rule).__name__
every_correction = pytest.mark.parametrize("rule", CORRECTIONS, ids=name_of)
every_rejection = pytest.mark.parametrize("rule", REJECTIONS, ids=name_of)


@pytest.fixture
def drawn():
    draw = np.random.default_rng(0)
    logprob = -draw.exponential(1, (5, 8))
    sampled = logprob + draw.normal(0, 0.05, logprob.shape)
    mask = np.arange(8) < draw.integers(2, 9, (5, 1))
    return logprob, np.where(mask, sampled, np.nan), mask


@every_correction
def test_exact_samplers_need_no_correction(rule, drawn):
    logprob, _, mask = drawn
    np.testing.assert_allclose(rule(logprob, logprob, mask), mask)


@every_rejection
def test_exact_samplers_are_never_rejected(rule, drawn):
    logprob, _, mask = drawn
    np.testing.assert_array_equal(rule(logprob, logprob, mask), mask)


@every_correction
def test_padding_is_not_looked_at(rule, drawn):
    factor = np.asarray(rule(*drawn))
    assert np.all(np.isfinite(factor)) and not np.any(factor[~drawn[2]])


@every_correction
def test_large_ratios_are_bounded(rule, drawn):
    logprob, sampled, mask = drawn
    bound = getattr(rule, "cap", getattr(rule, "high", None))
    assert np.max(rule(logprob, sampled - 50, mask)) <= bound


@every_rejection
def test_what_is_far_is_rejected(rule, drawn):
    logprob, sampled, mask = drawn
    assert not np.any(rule(logprob, sampled - 5, mask))


@pytest.mark.parametrize("rule", CORRECTIONS + REJECTIONS, ids=name_of)
def test_bad_settings_are_refused(rule):
    gates.validate_settings(rule)
    with pytest.raises(ValueError, match=type(rule).__name__):
        gates.validate_settings(jax.tree.map(lambda _: -1.0, rule))


@every_correction
def test_what_is_truncated_is_weighed_by_less_than_its_ratio(rule, drawn):
    """And nothing else: all other factors are the ratio of the token or response."""
    logprob, sampled, mask = drawn
    far = np.where(np.arange(8) % 3 == 1, sampled - 2, sampled)
    truncated = np.asarray(rule.truncated(logprob, far, mask))
    factor = np.asarray(rule(logprob, far, mask))
    free = jax.tree.map(lambda _: np.inf, rule).replace(
        **({"low": 0.0} if hasattr(rule, "low") else {})
    )
    ratio = np.asarray(free(logprob, far, mask))
    assert truncated.any() and not truncated[~mask].any()
    assert np.all(factor[truncated] < ratio[truncated])
    np.testing.assert_allclose(factor[~truncated], ratio[~truncated], rtol=1e-6)


@every_correction
def test_a_correction_says_its_own_metrics(rule, drawn):
    logprob, sampled, mask = drawn
    sampled = np.where(np.arange(8) % 3 == 1, sampled - 2, sampled)
    factor = np.asarray(rule(logprob, sampled, mask))
    found = correction.describe(rule, factor, logprob, sampled, mask)
    truncated = np.asarray(rule.truncated(logprob, sampled, mask))
    expected = {"truncated": truncated[mask].mean(), "mean": factor[mask].mean()}
    for name, value in expected.items():
        assert 0 < value < 5
        found_value = found[f"rollout_corr/rollout_is_{name}"]
        np.testing.assert_allclose(found_value, value, rtol=1e-6)
    plain = correction.describe(lambda *tokens: factor, factor, logprob, sampled, mask)
    assert found.keys() - plain.keys() == {"rollout_corr/rollout_is_truncated"}


@pytest.mark.parametrize(
    "rule",
    [correction.TokenTruncated(), correction.SequenceTruncated()],
    ids=name_of,
)
def test_normalized_factors_have_a_mean_of_one(rule, drawn):
    logprob, sampled, mask = drawn
    factor = np.asarray(rule.replace(normalized=True)(logprob, sampled, mask))
    if isinstance(rule, correction.TokenTruncated):
        mean = factor[mask].mean()
    else:
        mean = factor[:, 0].mean()
    np.testing.assert_allclose(mean, 1, rtol=1e-5)
    nothing = rule.replace(normalized=True)(logprob, sampled, np.zeros_like(mask))
    assert not np.any(nothing)


def golden():
    inputs = reference.load("inputs_main")
    names = ("old_log_prob", "rollout_log_prob")
    mask = jnp.asarray(inputs["mask"] != 0)
    return *(jnp.asarray(inputs[name]) for name in names), mask


@pytest.mark.parametrize(
    "rule, name",
    [
        (correction.TokenTruncated(2.0), "token_2.0"),
        (correction.SequenceTruncated(2.0), "sequence_2.0"),
        (correction.IcePop(0.5, 5.0), "token_0.5_5.0"),
    ],
)
def test_factors_of_the_released_code(rule, name):
    arrays = reference.load("rollout_correction")
    with jax.enable_x64(True):
        tokens = golden()
        factor = rule(*tokens)
        share = float(effective_share(factor, tokens[2]))
        if f"w_{name}_bn" in arrays:
            normalized = rule.replace(normalized=True)(*tokens)
            np.testing.assert_allclose(
                normalized, arrays[f"w_{name}_bn"], **reference.FLOAT64
            )
    np.testing.assert_allclose(factor, arrays[f"w_{name}_raw"], **reference.FLOAT64)
    np.testing.assert_allclose(share, arrays[f"w_{name}_raw_ess"], rtol=1e-6)


@pytest.mark.parametrize(
    "rule, name",
    [
        (correction.RejectTokens(0.8, 1.25), "token_k1_0.8_1.25"),
        # The released code tests the inverse ratio.
        (correction.RejectResponses(1 / 1.03, 1 / 0.97), "seq_mean_k1_0.97_1.03"),
        (correction.RejectTokensByK3(0.01), "token_k3_0.01"),
        (correction.RejectResponsesByK3(0.2), "seq_sum_k3_0.2"),
    ],
)
def test_rejections_of_the_released_code(rule, name):
    theirs = reference.load("rollout_correction")[f"mask_{name}"]
    with jax.enable_x64(True):
        ours = rule(*golden())
    np.testing.assert_array_equal(ours, theirs != 0)


@pytest.mark.parametrize("method", reference.CORRECTED)
def test_gradient_with_the_factor(method):
    inputs, arrays = reference.inputs_of(method), reference.load(f"policy_{method}")
    with jax.enable_x64(True):
        mask = golden()[2]
        factor = correction.TokenTruncated(2.0)(*golden())
        np.testing.assert_allclose(
            np.asarray(factor)[mask], inputs["rollout_is_weights"][mask], rtol=1e-9
        )
        weight = np.asarray(mask / mask.sum())
        batch, logprob = reference.batch(inputs, weight=weight)
        batch = batch.replace(correction=factor)
        gate = reference.gate_of(method)
        grads, _ = jax.grad(surrogate, has_aux=True)(logprob, batch, gate)
    np.testing.assert_allclose(grads, arrays["grad_token-mean"], **reference.FLOAT64)
