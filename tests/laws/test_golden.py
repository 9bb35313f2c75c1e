"""Gradients of the surrogate against those of the papers' released code."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import reference
from support.members import every_gate

from maspo_jax.objectives import gates, token_weights
from maspo_jax.objectives.ratios import MAX_LOG_RATIO
from maspo_jax.objectives.surrogate import fit, surrogate
from maspo_jax.objectives.tokens import tokens_of
from maspo_jax.types import TrainBatch

every_method = pytest.mark.parametrize("method", reference.select())
per_token = pytest.mark.parametrize(
    "method", reference.select(without=("_tis", "_seq"))
)
WHOLE_RESPONSES = ("gspo_seq", "gmpo", "gmpo_seq")
AGGREGATIONS = {
    "token-mean": token_weights.token_mean,
    "seq-mean-token-mean": token_weights.sequence_mean,
    "seq-mean-token-sum": token_weights.sequence_sum,
    "seq-mean-token-sum-norm": token_weights.SequenceSumOver(64),
}


def fitted(method, inputs, dtype=np.float64):
    """The gate of a method, its bounds fitted to the golden batch if it fits any."""
    mask = inputs.get("mask", np.ones_like(inputs["log_prob"])) != 0
    batch, logprob = reference.batch(inputs, dtype, mask.astype(float))
    tokens = tokens_of(logprob, None, batch)
    return fit(reference.gate_of(method), tokens, total=lambda x: x)


def gradient(method, inputs, dtype=np.float64, weight=None):
    batch, logprob = reference.batch(inputs, dtype, weight)
    gate = fitted(method, inputs, dtype)
    return jax.grad(surrogate, has_aux=True)(logprob, batch, gate)[0]


@every_method
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_gradient_of_each_token(method, dtype):
    inputs = reference.inputs_of(method)
    expected = reference.load(f"policy_{method}")["dloss_dlogp"]
    weight = None
    if method == "gspo_seq":  # what is padding matters to the other tokens
        weight = (inputs["mask"] != 0).astype(float)
        expected = expected * weight
    with jax.enable_x64(True):
        ours = gradient(method, inputs, dtype, weight)
        assert ours.dtype == dtype
    tolerance = reference.FLOAT64 if dtype is np.float64 else reference.FLOAT32
    np.testing.assert_allclose(ours, expected, **tolerance)


@per_token
@pytest.mark.parametrize("rule", AGGREGATIONS)
def test_gradient_of_the_whole_batch(method, rule):
    inputs = reference.inputs_of(method)
    arrays = reference.load(f"policy_{method}")
    if f"grad_{rule}" not in arrays:
        pytest.skip("the released code of this method has one fixed aggregation")
    with jax.enable_x64(True):
        weight = np.asarray(AGGREGATIONS[rule](jnp.asarray(inputs["mask"] != 0)))
        ours = gradient(method, inputs, weight=weight)
    np.testing.assert_allclose(ours, arrays[f"grad_{rule}"], **reference.FLOAT64)


@pytest.mark.parametrize("method", WHOLE_RESPONSES)
def test_gradient_of_whole_responses(method):
    inputs = reference.inputs_of(method)
    expected = reference.load(f"policy_{method}")["official_grad"]
    mask = inputs["mask"] != 0
    with jax.enable_x64(True):
        weight = np.asarray(token_weights.sequence_mean(jnp.asarray(mask)))
        if method.startswith("gmpo"):  # its code also counts responses without tokens
            weight = weight * mask.any(1).mean()
        ours = gradient(method, inputs, weight=weight)
    # Where advantages differ within a response, the code averages them first.
    advantage = np.where(mask, inputs["advantages"], np.nan)
    one = np.array([len(set(row[~np.isnan(row)])) < 2 for row in advantage])
    assert one.sum() >= 8
    tolerance = reference.FLOAT64
    if method.startswith("gmpo"):  # its code adds 1e-8 to the length of a response
        tolerance = {**tolerance, "rtol": 1e-8}
    np.testing.assert_allclose(ours[one], expected[one], **tolerance)


@pytest.mark.parametrize("method", reference.select("bapo"))
def test_bounds_fitted_to_the_batch(method):
    arrays = reference.load(f"policy_{method}")
    with jax.enable_x64(True):
        found = fitted(method, reference.inputs_of(method))
    np.testing.assert_allclose(found.lower, arrays["metric_bapo_clip_low"])
    np.testing.assert_allclose(found.upper, arrays["metric_bapo_clip_high"])


@pytest.mark.parametrize("target", [0.4, 0.5])
def test_bounds_fitted_as_the_paper_says(target):
    inputs = reference.load("inputs_main")
    trace = reference.load("own_bapo_paper_search")[
        f"trace_rho0_{target}".replace(".", "p")
    ]
    weight = (inputs["mask"] != 0).astype(float)
    with jax.enable_x64(True):
        batch, logprob = reference.batch(inputs, weight=weight)
        log_ratio = weight * (logprob - batch.old_logprob)
        found = gates.PaperBapo(target=target).fit(
            log_ratio,
            weight * batch.advantage,
            weight * inputs["rollout_log_prob"],
            total=lambda x: x,
        )
    np.testing.assert_allclose([found.lower, found.upper], trace[-1, :2])


@per_token
def test_weight_on_a_grid(method):
    curves = reference.load("curves")
    if f"{method}/g" not in curves:
        pytest.skip("no curve of this method")
    advantage, q, ratio = np.meshgrid(
        curves["grid_advantage"],
        curves["grid_pi_old"],
        curves["grid_ratio"],
        indexing="ij",
    )
    if method == "aspo_archer_entropy_split":
        gate = gates.Aspo()  # its curve is of tokens of low entropy
    else:
        gate = reference.gate_of(method)
    with jax.enable_x64(True):
        ours = ratio * gate(jnp.log(ratio), jnp.asarray(advantage), jnp.log(q))
    valid = np.broadcast_to(curves["valid"] != 0, ours.shape)
    expected = curves[f"{method}/g"]
    np.testing.assert_allclose(ours[valid], expected[valid], **reference.FLOAT64)


@per_token
def test_gradient_where_ratios_are_extreme(method):
    inputs = reference.load("inputs_extreme")
    arrays = reference.load("extreme")
    if f"{method}/dloss_dlogp" not in arrays or "entropy_split" in method:
        pytest.skip("no extreme numbers of this method")
    with jax.enable_x64(True):
        ours = gradient(method, inputs)
    # The released code of some methods does not clamp the ratio: only within the
    # clamp of this package do all agree. Beyond it no token has a gradient.
    inside = np.abs(inputs["log_prob"] - inputs["old_log_prob"]) < MAX_LOG_RATIO
    expected = arrays[f"{method}/dloss_dlogp"]
    np.testing.assert_allclose(ours[inside], expected[inside], **reference.FLOAT64)
    np.testing.assert_array_equal(ours[~inside], 0)


@every_gate
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_gradients_of_extreme_ratios_are_finite(gate, dtype):
    inputs = reference.load("inputs_extreme")
    names = ("log_prob", "old_log_prob", "advantages")
    logprob, old, advantage = (jnp.asarray(inputs[name], dtype) for name in names)
    batch = TrainBatch(None, old, advantage, jnp.ones(old.shape, dtype))
    (loss, value), found = jax.value_and_grad(surrogate, has_aux=True)(
        logprob, batch, gate
    )
    for each in (loss, value, found):
        assert np.all(np.isfinite(np.asarray(each, np.float32)))


def test_unilateral_sapo():
    inputs = reference.load("inputs_main")
    arrays = reference.load("own_unilateral_sapo")
    gate = gates.UnilateralSapo(gates.Sapo(arrays["tau_pos"], arrays["tau_neg"]))
    with jax.enable_x64(True):
        log_ratio = jnp.asarray(inputs["log_prob"] - inputs["old_log_prob"])
        value = gate(log_ratio, inputs["advantages"], inputs["old_log_prob"])
        weight = jnp.exp(log_ratio) * value
    np.testing.assert_allclose(weight, arrays["g"], rtol=1e-9, atol=1e-12)


def test_width_and_both_gates_of_maspo():
    inputs = reference.load("inputs_main")
    arrays = reference.load("own_maspo_internals")
    advantage, old = inputs["advantages"], inputs["old_log_prob"]
    with jax.enable_x64(True):
        log_ratio = jnp.asarray(inputs["log_prob"] - old)
        sigma = gates.Maspo().sigma(advantage, old)
        gate = gates.Maspo()(log_ratio, advantage, old)
        both = gates.BilateralMaspo()(log_ratio, advantage, old)
    # Without advantage there is no sign to choose a side by, and no gradient.
    signed = advantage != 0
    for ours, name in ((sigma, "sigma"), (gate, "gate"), (both, "gate_bilateral")):
        np.testing.assert_allclose(
            ours[signed], arrays[name][signed], rtol=1e-9, atol=1e-12, err_msg=name
        )


def test_every_golden_file_is_used():
    sources = "".join(
        path.read_text() for path in pathlib.Path(__file__).parents[1].rglob("*.py")
    )
    files = {path.stem for path in reference.FOLDER.glob("*.npz")}
    methods = {f"policy_{method}" for method in reference.manifest()}
    tested = {*reference.select(), *WHOLE_RESPONSES, *reference.CORRECTED}
    assert methods <= files and methods == {f"policy_{method}" for method in tested}
    inputs = {reference.manifest()[name]["inputs"] for name in reference.manifest()}
    others = files - methods - {name.removesuffix(".npz") for name in inputs}
    assert {name for name in others if f'load("{name}"' not in sources} == set()
