import jax
import numpy as np
import pytest
import reference
from members import every_gate, random_batch

from maspo_jax.objectives import diagnostics, gates
from maspo_jax.objectives.surrogate import fit, gate_values


def metrics(logprob, batch, gate):
    value = gate_values(logprob, batch, gate)
    entropy = np.ones_like(logprob)
    return diagnostics.summarize(diagnostics.diagnose(logprob, entropy, value, batch))


@every_gate
def test_on_policy_everything_passes(gate):
    batch, _ = random_batch()
    found = metrics(batch.old_logprob, batch, gate)
    np.testing.assert_allclose(found["utilization"], 1, rtol=1e-6)
    np.testing.assert_allclose(found["gate"], 1, rtol=1e-6)
    assert found["out_of_band"] == 0 and found["approx_kl"] == 0


@every_gate
def test_sums_add_over_the_parts_of_a_batch(gate):
    batch, logprob = random_batch()
    value, entropy = gate_values(logprob, batch, gate), -logprob
    part = lambda rows: diagnostics.diagnose(
        logprob[rows],
        entropy[rows],
        value[rows],
        jax.tree.map(lambda x: x[rows], batch),
    )
    whole = part(slice(None))
    for name, total in jax.tree.map(np.add, part(slice(3)), part(slice(3, 8))).items():
        np.testing.assert_allclose(total, whole[name], rtol=1e-5, err_msg=name)


@every_gate
def test_padding_and_emptiness_are_harmless(gate):
    batch, logprob = random_batch()
    pad = batch.weight == 0
    spoiled = batch.replace(
        old_logprob=np.where(pad, np.nan, batch.old_logprob),
        advantage=np.where(pad, np.nan, batch.advantage),
    )
    expected = metrics(logprob, batch, gate)
    found = metrics(np.where(pad, np.nan, logprob), spoiled, gate)
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    empty = batch.replace(weight=np.zeros_like(batch.weight))
    assert all(np.all(np.isfinite(x)) for x in metrics(logprob, empty, gate).values())


def test_out_of_band_counts_uncertain_tokens_only():
    batch, logprob = random_batch()
    old = np.log(np.array([0.5, 0.5, 0.95, 0.95], np.float32))[None]
    moved = old + np.log(np.array([1.3, 1.1, 1.3, 0.5], np.float32))
    batch = batch.replace(
        old_logprob=old, advantage=np.ones_like(old), weight=np.ones_like(old)
    )
    assert metrics(moved, batch, gates.Clip())["out_of_band"] == 0.5


def test_mismatch_of_equal_and_of_shifted_logprobs():
    _, logprob = random_batch()
    mask = np.ones(logprob.shape, bool)
    mask[0, 0] = False
    shifted = logprob - 0.1
    shifted[0, 0] = np.nan
    found = diagnostics.mismatch(logprob, shifted, mask)
    np.testing.assert_allclose(found["mismatch_max"], 0.1, rtol=1e-4)
    np.testing.assert_allclose(found["mismatch_k3"], np.expm1(0.1) - 0.1, rtol=1e-3)


@reference.needs_golden
@pytest.mark.parametrize("method", reference.select(without=("_tis", "gmpo", "gspo")))
def test_utilization_of_the_golden_batch(method):
    entry = reference.manifest()[method]
    inputs = reference.load("inputs_main")
    with jax.enable_x64(True):
        weight = (inputs["mask"] != 0).astype(float)
        batch, logprob = reference.batch(inputs, weight=weight)
        gate = fit(reference.gate_of(method), logprob, batch, total=lambda x: x)
        found = metrics(logprob, batch, gate)
    expected = entry["own_metrics"]["utilisation_vs_is"]
    np.testing.assert_allclose(found["utilization"], expected, rtol=1e-6)
