import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import mesh_of
from support import reference
from support.members import GATES, every_gate, random_batch

from maspo_jax import distributed
from maspo_jax.objectives import gates
from maspo_jax.objectives import metrics as module
from maspo_jax.objectives.surrogate import details, fit, surrogate
from maspo_jax.objectives.tokens import tokens_of

# Compiled once for all gates: they differ only in the values they give.
measure = jax.jit(module.measure)


def metrics(logprob, batch, gate):
    _, value = surrogate(logprob, batch, gate)
    tokens = tokens_of(logprob, np.ones_like(logprob), batch)
    return module.summarize(measure(tokens, value))


@every_gate
def test_on_policy_everything_passes(gate):
    batch, _ = random_batch()
    found = metrics(batch.old_logprob, batch, gate)
    np.testing.assert_allclose(found["utilization"], 1, rtol=1e-6)
    np.testing.assert_allclose(found["gate/mean"], 1, rtol=1e-6)
    assert found["out_of_band"] == 0 and found["approx_kl"] == 0


@every_gate
def test_sums_add_over_the_parts_of_a_batch(gate):
    batch, logprob = random_batch()
    _, value = surrogate(logprob, batch, gate)
    tokens = tokens_of(logprob, -logprob, batch)
    part = lambda rows: measure(*jax.tree.map(lambda x: x[rows], (tokens, value)))
    whole = part(slice(None))
    parts = part(slice(3)), part(slice(3, 8))
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *parts)
    mesh = mesh_of(1, 1)
    combined = jax.shard_map(
        lambda measured: module.combine(measured, distributed.AXES),
        mesh=mesh,
        in_specs=distributed.REPLICATED,
        out_specs=distributed.REPLICATED,
    )(stacked)
    chex.assert_trees_all_close(combined, whole, rtol=1e-5)


def test_a_supervised_batch_measures_the_entropy_of_what_is_trained():
    """In parts too; what pads it counts for nothing, whatever stands there."""
    batch, logprob = random_batch()
    trained = batch.weight != 0
    entropy = np.where(trained, -logprob, np.nan)
    tokens = tokens_of(logprob, entropy, batch)
    found = module.summarize(module.measure_entropy(tokens))
    assert found == {"entropy": pytest.approx(-logprob[trained].mean())}
    part = lambda rows: module.measure_entropy(jax.tree.map(lambda x: x[rows], tokens))
    parts = part(slice(3)), part(slice(3, 8))
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *parts)
    combined = jax.shard_map(
        lambda measured: module.combine(measured, distributed.AXES),
        mesh=mesh_of(1, 1),
        in_specs=distributed.REPLICATED,
        out_specs=distributed.REPLICATED,
    )(stacked)
    assert module.summarize(combined)["entropy"] == pytest.approx(found["entropy"])


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


@pytest.mark.parametrize("method", reference.select(without=("_tis", "gmpo", "gspo")))
def test_utilization_of_the_golden_batch(method):
    entry = reference.manifest()[method]
    inputs = reference.load("inputs_main")
    with jax.enable_x64(True):
        weight = (inputs["mask"] != 0).astype(float)
        batch, logprob = reference.batch(inputs, weight=weight)
        tokens = tokens_of(logprob, None, batch)
        gate = fit(reference.gate_of(method), tokens, total=lambda x: x)
        found = metrics(logprob, batch, gate)
    for ours, theirs in (
        ("utilization", "utilisation_vs_is"),
        ("weight/mean", "weight_mean"),
        ("weight/max", "weight_max"),
        ("zero_gradient/positive", "zero_grad_frac_pos"),
        ("zero_gradient/negative", "zero_grad_frac_neg"),
    ):
        expected = entry["own_metrics"][theirs]
        np.testing.assert_allclose(found[ours], expected, rtol=1e-5, err_msg=ours)


def test_what_a_gate_says_of_itself():
    """Every detail of every gate: its mean, and quantiles to the next level."""
    batch, logprob = random_batch(rows=32, length=64)
    said = {}
    for gate in GATES:
        tokens = tokens_of(logprob, -logprob, batch)
        gate = fit(gate, tokens, total=lambda x: x)
        found = details(tokens, gate)
        _, value = surrogate(logprob, batch, gate)
        numbers = module.summarize(module.measure(tokens, value, found))
        said[type(gate).__name__] = set(found)
        counts = batch.weight != 0
        for name, each in found.items():
            each = np.asarray(each)[counts]
            if each.dtype == bool:
                np.testing.assert_allclose(numbers[name], each.mean(), rtol=1e-5)
                assert f"{name}/p50" not in numbers
                continue
            np.testing.assert_allclose(numbers[f"{name}/mean"], each.mean(), rtol=1e-5)
            assert each.min() >= 0.1  # the first level of the quantiles
            for share in (5, 50, 95):
                exact = np.percentile(each, share, method="inverted_cdf")
                ratio = numbers[f"{name}/p{share:02}"] / exact
                assert 1 - 1e-5 <= ratio <= 1.13, (gate, name, share)
    assert said["Maspo"] == said["BilateralMaspo"] == {"sigma", "sigma_capped"}
    assert said["Dac"] == {"bound_lower", "bound_upper"}
    assert said["Fitted"] == {"bound_lower", "bound_upper", "target_met"}
    assert said["Clip"] == set()


def test_numbers_by_hand():
    """Four tokens: two of each sign, one of each moved far with the advantage."""
    old = np.log(np.array([[0.5, 0.05, 0.5, 5e-4]], np.float32))
    ratio = np.array([[1.5, 1.1, 0.5, 2.0]], np.float32)
    advantage = np.array([[1.0, 1.0, -1.0, -1.0]], np.float32)
    weight = np.full_like(old, 0.25)
    batch, _ = random_batch()
    batch = batch.replace(old_logprob=old, advantage=advantage, weight=weight)
    found = metrics(old + np.log(ratio), batch, gates.Clip())
    expected = {
        "entropy": 1.0,
        "approx_kl": -np.mean(np.log(ratio)),
        "approx_kl_k3": np.mean(ratio - 1 - np.log(ratio)),
        "log_ratio/abs": np.mean(np.abs(np.log(ratio))),
        "ratio/mean": 5.1 / 4,
        "advantage/mean": 0.0,
        "advantage/std": 1.0,
        "advantage/abs": 1.0,
        "zero_gradient/positive": 0.5,
        "zero_gradient/negative": 0.5,
        "clip_ratio/high": 0.5,
        "clip_ratio/low": 0.5,
        "clip_ratio/against_positive": 0.0,
        "clip_ratio/against_negative": 0.0,
        "weight/mean": 3.1 / 4,
        "weight/max": 2.0,
        "ratio/max": 2.0,
        "ratio/min": 0.5,
        "steepness/max": np.log10(1 / 5e-4),
        "utilization": 3.1 / 5.1,
        "ratio/eff_sample_size": 5.1**2 / (4 * np.sum(ratio**2)),
        "gate/closed": 0.5,
        "gate/p01": 0.0,
        "gate/p50": 0.0,
        "gate/mean": 0.5,
        "q_below_0.9/positive_share": 0.25,
        "q_below_0.9/positive_closed": 1.0,
        "q_below_0.1/positive_weight": 1.1,
        "q_below_0.001/negative_weight": 2.0,
        "q_below_1/negative_share": 0.0,
    }
    for name, number in expected.items():
        np.testing.assert_allclose(found[name], number, rtol=1e-5, err_msg=name)


def test_the_dual_clip_is_seen_where_tokens_moved_against_the_advantage():
    """Three of four negative tokens rose, one of them beyond the dual clip."""
    batch, _ = random_batch()
    old = np.full((1, 5), -8.0, np.float32)
    ratio = np.array([[0.9, 1.1, 1.5, 4.0, 4.0]], np.float32)
    advantage = np.array([[-1.0, -1.0, -1.0, -1.0, 1.0]], np.float32)
    batch = batch.replace(
        old_logprob=old, advantage=advantage, weight=np.full_like(old, 0.2)
    )
    found = metrics(old + np.log(ratio), batch, gates.Clip())
    assert (
        found["clip_ratio/against_negative"] == found["zero_gradient/negative"] == 0.25
    )
    assert found["clip_ratio/against_positive"] == 0
    without = metrics(old + np.log(ratio), batch, gates.Clip(dual=np.inf))
    assert without["clip_ratio/against_negative"] == 0


def test_quantiles_and_extremes_of_the_ratio():
    batch, logprob = random_batch(rows=32, length=64)
    found = metrics(logprob, batch, gates.Clip())
    ratio = np.exp(logprob - batch.old_logprob)[batch.weight != 0]
    np.testing.assert_allclose(found["ratio/min"], ratio.min(), rtol=1e-5)
    np.testing.assert_allclose(found["ratio/max"], ratio.max(), rtol=1e-5)
    for share in (1, 5, 95, 99):
        exact = np.percentile(ratio, share, method="inverted_cdf")
        assert 1 - 1e-5 <= found[f"ratio/p{share:02}"] / exact <= 1.051, share


def test_quantiles_of_a_soft_gate():
    batch, logprob = random_batch(rows=32, length=64)
    gate = gates.Sapo(3.0, 3.0)
    value = np.asarray(surrogate(logprob, batch, gate)[1])[batch.weight != 0]
    found = metrics(logprob, batch, gate)
    for share in (1, 5, 50):
        exact = np.percentile(value, share, method="inverted_cdf")
        assert 0 <= found[f"gate/p{share:02}"] - exact <= 0.0201, share
    np.testing.assert_allclose(found["gate/closed"], np.mean(value < 0.5), rtol=1e-5)


def test_beyond_the_clamp_no_token_moves():
    batch, logprob = random_batch()
    far = batch.replace(old_logprob=logprob - 29, advantage=np.full_like(logprob, -1.0))
    found = metrics(logprob, far, gates.ImportanceSampling())
    assert found["zero_gradient/negative"] == 1 and found["utilization"] == 0
    assert found["weight/max"] == found["weight/mean"] == found["steepness/max"] == 0


def test_moments_of_the_advantage():
    batch, logprob = random_batch()
    found = metrics(logprob, batch, gates.Clip())
    advantage = batch.advantage[batch.weight != 0]
    for name, expected in (
        ("advantage/mean", advantage.mean()),
        ("advantage/std", advantage.std()),
        ("advantage/abs", np.abs(advantage).mean()),
    ):
        np.testing.assert_allclose(found[name], expected, rtol=1e-4, err_msg=name)


def test_the_share_of_tokens_whose_width_is_capped():
    batch, logprob = random_batch()
    old = np.log(np.array([[1e-6, 0.9e-4, 1.1e-4, 0.5]], np.float32))
    batch = batch.replace(
        old_logprob=old, advantage=np.ones_like(old), weight=np.ones_like(old)
    )
    gate = gates.Maspo(alpha=0.5, sigma_base=0.1)  # reaches 10 where q is 1e-4
    tokens = tokens_of(old, old, batch)
    _, value = surrogate(old, batch, gate)
    numbers = module.summarize(module.measure(tokens, value, details(tokens, gate)))
    assert numbers["sigma_capped"] == 0.5


def test_over_updates_numbers_are_means_and_extremes_extremes():
    updates = [
        {"ratio/max": 3.0, "ratio/min": 0.5, "ratio/mean": 1.0, "out_of_band": 0.0},
        {"ratio/max": 2.0, "ratio/min": 0.7, "ratio/mean": 1.5, "out_of_band": 0.5},
    ]
    assert module.over_updates(updates) == {
        "ratio/max": 3.0,
        "ratio/min": 0.5,
        "ratio/mean": 1.25,
        "out_of_band": 0.25,
        "out_of_band_last": 0.5,
    }
    last = {"uncertain_tokens": 1.0, "out_of_band": 0.0}
    assert [*module.over_updates([last])] == [
        *last,
        "out_of_band_last",
        "uncertain_tokens_last",
    ]


@every_gate
def test_an_update_without_trained_tokens_is_as_on_policy(gate):
    """No quantile is the last level; what it lacks is not in the step's mean."""
    batch, logprob = random_batch()
    empty = batch.replace(weight=np.zeros_like(batch.weight))
    tokens = tokens_of(logprob, np.ones_like(logprob), empty)
    fitted = fit(gate, tokens, total=lambda number: number)
    _, value = surrogate(logprob, empty, fitted)
    measured = measure(tokens, value, details(tokens, fitted))
    found = module.summarize(measured)
    ones = {name for name, number in found.items() if number == 1}
    assert ones == {
        *("ratio/mean", "ratio/min", "ratio/max", "ratio/eff_sample_size"),
        *(f"ratio/{name}" for name in module.RATIO_QUANTILES),
        *(f"gate/{name}" for name in module.GATE_QUANTILES),
        *("gate/mean", "utilization"),
    }
    assert {number for name, number in found.items() if name not in ones} == {0}
    usual = metrics(logprob, batch, gate) | {"sigma/p95": 7.0}
    step = module.over_updates([usual, found])
    assert step["sigma/p95"] == 7
    np.testing.assert_allclose(step["ratio/p99"], (usual["ratio/p99"] + 1) / 2)


@pytest.mark.parametrize("sign, ratio, side", [(1, 2.0, "high"), (-1, 0.5, "low")])
def test_clipping_is_counted_on_the_side_where_it_happens(sign, ratio, side):
    batch, _ = random_batch()
    batch = batch.replace(advantage=np.full_like(batch.advantage, sign))
    found = metrics(batch.old_logprob + np.float32(np.log(ratio)), batch, gates.Clip())
    for name in ("high", "low"):
        assert found[f"clip_ratio/{name}"] == (name == side)


@pytest.mark.parametrize("gate, clipped", [(1.0, 0), (0.99, 1), (1.01, 1)])
def test_a_gate_that_is_not_one_clips(gate, clipped):
    batch, _ = random_batch()
    batch = batch.replace(advantage=np.ones_like(batch.advantage))
    logprob = batch.old_logprob + np.float32(0.5)
    tokens = tokens_of(logprob, np.ones_like(logprob), batch)
    found = module.summarize(measure(tokens, np.full_like(logprob, gate)))
    assert found["clip_ratio/high"] == clipped and found["gate/closed"] == 0
