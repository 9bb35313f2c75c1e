import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from members import every_gate

from maspo_jax.objectives import gates

CLIP, MASPO, DGPO = gates.Clip(), gates.Maspo(), gates.Dgpo()


def weights(gate, ratio, advantage, q=0.3):
    """The gradient weight g = gate * ratio of single tokens, [n]."""
    ratio = jnp.asarray(ratio, jnp.float32).reshape(-1, 1)
    same = lambda value: jnp.full(ratio.shape, value, jnp.float32)
    return (gate(jnp.log(ratio), same(advantage), jnp.log(same(q))) * ratio)[:, 0]


def random_tokens(seed=0, shape=(6, 10)):
    draw = np.random.default_rng(seed)
    old = -draw.exponential(2, shape).astype(np.float32)
    log_ratio = draw.normal(0, 0.6, shape).astype(np.float32)
    return log_ratio, draw.normal(0, 1, shape).astype(np.float32), old


@every_gate
def test_on_policy_every_gate_is_one(gate):
    _, advantage, old = random_tokens()
    value = gate(jnp.zeros_like(old), advantage, old)
    chex.assert_trees_all_close(value, jnp.ones_like(value), rtol=1e-6)


@every_gate
def test_gates_are_finite_and_not_negative_for_any_token(gate):
    log_ratio, advantage, old = np.meshgrid(
        np.linspace(-20, 20, 81), [-50, -1, -1e-6, 0, 1e-6, 1, 50], [-200, -30, -1, 0]
    )
    value = gate(*(x.astype(np.float32) for x in (log_ratio, advantage, old)))
    weight = value * np.exp(log_ratio).astype(np.float32)
    assert np.all(np.isfinite(weight)) and np.all(value >= 0)


@every_gate
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_gates_keep_shape_and_precision(gate, dtype):
    with jax.enable_x64(True):
        tokens = [jnp.asarray(x, dtype) for x in random_tokens()]
        value = gate(*tokens)
    chex.assert_shape(value, tokens[0].shape)
    assert value.dtype == dtype


@every_gate
def test_settings_are_leaves(gate):
    fields = dataclasses.fields(gate)
    assert len(jax.tree.leaves(gate)) >= len(fields)


@every_gate
def test_changing_a_setting_does_not_compile_again(gate):
    traces = []

    @jax.jit
    def apply(gate):
        traces.append(gate)
        return gate(*random_tokens())

    for factor in (1.0, 1.01, 0.99):
        apply(jax.tree.map(lambda leaf, f=factor: leaf * f, gate))
    assert len(traces) == 1


@every_gate
def test_vmap_over_settings_is_a_loop(gate):
    tokens = random_tokens()
    members = [jax.tree.map(lambda x, f=f: x * f, gate) for f in (1.0, 0.95, 1.05)]
    stacked = jax.tree.map(lambda *leaves: jnp.array(leaves), *members)
    if not jax.tree.leaves(gate):
        pytest.skip("this gate has no settings")
    together = jax.vmap(lambda gate: gate(*tokens))(stacked)
    alone = jnp.stack([member(*tokens) for member in members])
    chex.assert_trees_all_close(together, alone, rtol=1e-6)


@every_gate
def test_compiled_is_eager(gate):
    tokens = random_tokens()
    chex.assert_trees_all_close(jax.jit(gate)(*tokens), gate(*tokens), rtol=1e-5)


@pytest.mark.parametrize("gate", [gates.Clip(dual=np.inf), MASPO, DGPO])
@pytest.mark.parametrize("advantage, ratio", [(1, 0.1), (1, 0.9), (-1, 1.1), (-1, 9)])
def test_against_the_advantage_nothing_is_gated(gate, advantage, ratio):
    np.testing.assert_allclose(weights(gate, ratio, advantage), ratio, rtol=1e-6)


@given(
    ratio=st.floats(0.01, 100),
    advantage=st.floats(0.01, 3) | st.floats(-3, -0.01),
    q=st.floats(1e-6, 1),
)
@settings(max_examples=60, deadline=None)
def test_moving_further_never_opens_a_gate(ratio, advantage, q):
    """Of the gates named for it: further in the direction of A, the gate falls."""
    further = ratio * (1.1 if advantage > 0 else 1 / 1.1)
    for gate in (CLIP, MASPO, DGPO):
        before, after = (
            float(weights(gate, x, advantage, q)[0]) / x for x in (ratio, further)
        )
        assert after <= before * (1 + 1e-5)


class TestClip:
    def test_bounds_count_as_inside(self):
        gate = gates.Clip(low=0.25, high=0.25, dual=4.0)  # exact in binary
        one = jnp.ones(1)
        assert gate(jnp.log(one * 1.25), one, -one) == 1
        assert gate(jnp.log(one * 0.75), -one, -one) == 1

    def test_closes_beyond_each_bound_and_only_there(self):
        ratio = np.array([0.7, 0.9, 1.1, 1.3, 2.9, 3.1])
        np.testing.assert_array_equal(
            weights(CLIP, ratio, 1.0) > 0, [True, True, True, False, False, False]
        )
        np.testing.assert_array_equal(
            weights(CLIP, ratio, -1.0) > 0, [False, True, True, True, True, False]
        )

    def test_infinity_turns_the_dual_clip_off(self):
        assert weights(gates.Clip(dual=np.inf), 1000.0, -1.0) == 1000


class TestMaspo:
    @pytest.mark.parametrize(
        "sigma, peak, height",
        [(1, 1.6180, 1.3367), (2, 2.5616, 1.8885), (10, 10.5125, 6.6867)],
    )
    def test_the_weight_peaks_where_calculus_says(self, sigma, peak, height):
        gate = gates.Maspo(
            alpha=0.0, sigma_base=float(sigma), beta_positive=0.0, beta_negative=0.0
        )
        ratio = np.linspace(1, 20, 40001)
        weight = np.asarray(weights(gate, ratio, 1.0, q=0.01))
        np.testing.assert_allclose(ratio[weight.argmax()], peak, atol=0.02)
        np.testing.assert_allclose(weight.max(), height, rtol=1e-4)

    def test_a_vanishing_token_keeps_a_finite_push(self):
        gate = gates.Maspo(alpha=0.0, beta_positive=0.0, beta_negative=0.0)
        value = gate(jnp.full(1, -20.0), -jnp.ones(1), jnp.full(1, -1.0))
        np.testing.assert_allclose(value, np.exp(-0.5), rtol=1e-6)

    def test_width_follows_probability_and_advantage(self):
        advantage = jnp.array([-2.0, -1.0, 1.0, 2.0])
        old = jnp.log(jnp.array([0.5, 0.1, 0.02]))
        sigma = MASPO.sigma(advantage[:, None].repeat(3, 1), old[None].repeat(4, 0))
        assert np.all(np.diff(sigma, axis=1) > 0)  # rarer tokens, wider
        assert np.all(
            np.diff(sigma, axis=0) > 0
        )  # narrower for worse, wider for better

    @pytest.mark.parametrize("alpha, binds", [(0.3, 4.6e-4), (0.5, 0.01), (0.8, 0.056)])
    def test_the_cap_binds_below_a_known_probability(self, alpha, binds):
        gate = gates.Maspo(alpha=alpha, beta_positive=0.0)
        q = jnp.array([binds * 0.9, binds * 1.1])
        below, above = gate.sigma(jnp.ones(2), jnp.log(q))
        assert below == 10 and above < 10

    def test_without_width_and_with_infinite_width(self):
        closed = gates.Maspo(alpha=0.0, sigma_base=1e-6)
        assert weights(closed, 1.01, 1.0) == 0
        opened = gates.Maspo(sigma_base=1e9, sigma_high=1e9)
        np.testing.assert_allclose(weights(opened, 7.0, 1.0), 7, rtol=1e-6)

    def test_huge_advantages_do_not_break_the_unused_branch(self):
        value = MASPO(jnp.full(1, 0.5), jnp.full(1, 1 / 0.03), jnp.full(1, -1.0))
        assert np.all(np.isfinite(value))


class TestDgpo:
    @pytest.mark.parametrize("n, m", [(1, 1), (1, 2), (2, 2), (3, 3), (0.5, 0.5)])
    def test_weight_is_the_closed_form(self, n, m):
        gate = gates.Dgpo(float(n), float(m))
        low, high = np.array([0.01, 0.3, 0.79]), np.array([1.21, 3.0, 100.0])
        np.testing.assert_allclose(
            weights(gate, low, -1.0), low * (low / 0.8) ** n, rtol=1e-4
        )
        np.testing.assert_allclose(
            weights(gate, high, 1.0), 1.2 ** (1 / m) * high ** (1 - 1 / m), rtol=1e-4
        )

    def test_continuous_at_both_bounds(self):
        for bound, advantage in ((0.8, -1.0), (1.2, 1.0)):
            near = bound * np.array([1 - 1e-5, 1 + 1e-5])
            np.testing.assert_allclose(weights(DGPO, near, advantage), bound, rtol=1e-4)

    def test_limits(self):
        none = gates.Dgpo(n=0.0, m=1e9)
        np.testing.assert_allclose(weights(none, 0.1, -1.0), 0.1, rtol=1e-5)
        np.testing.assert_allclose(weights(none, 9.0, 1.0), 9, rtol=1e-5)
        hard = gates.Dgpo(n=1e4, m=1e-4)
        assert weights(hard, 0.79, -1.0) == 0 and weights(hard, 1.21, 1.0) < 1e-30
        flat = gates.Dgpo(m=1.0)
        np.testing.assert_allclose(weights(flat, [2.0, 50.0], 1.0), 1.2, rtol=1e-5)
