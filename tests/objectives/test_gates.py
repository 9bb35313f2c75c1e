"""What each gate says of itself, by hand: its own equation and limits."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.members import random_tokens, weights

from maspo_jax.objectives import gates

CLIP, MASPO, DGPO = gates.Clip(), gates.Maspo(), gates.Dgpo()


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


class TestDac:
    def test_bounds_meet_those_of_grpo_where_its_authors_say(self):
        gate = gates.Dac()
        at = lambda q: [float(x[0]) for x in gate.bounds(jnp.log(jnp.full(1, q)))]
        np.testing.assert_allclose(at(1 / 1.2)[1], 1.2, rtol=1e-6)
        np.testing.assert_allclose(at(1.0), [0.8, 1.1708], rtol=1e-4)
        np.testing.assert_allclose(at(0.1), [0.5, 2.0], rtol=1e-5)
        np.testing.assert_allclose(at(0.01), [0.5, 5.0], rtol=1e-5)
        np.testing.assert_allclose(at(1e-3), [0.5, 10.0], rtol=1e-5)
        np.testing.assert_allclose(at(1e-38), [0.5, 10.0], rtol=1e-5)


class TestBapo:
    @pytest.mark.parametrize("kind", [gates.Bapo, gates.PaperBapo])
    def test_bounds_that_may_not_move_are_those_of_clip(self, kind):
        fixed = kind(0.8, 0.8, 0.1, 1.2, 1.2, 0.1, dual=3.0)
        tokens = random_tokens()
        np.testing.assert_array_equal(fixed(*tokens), CLIP(*tokens))

    def test_nothing_moves_once_the_target_is_met(self):
        found = gates.Bapo(target=0.0).fit(*random_tokens(), total=lambda x: x)
        np.testing.assert_allclose([found.lower, found.upper], [0.6, 1.2], 1e-6)
        assert found.met

    def test_which_bound_moves_first(self):
        code = gates.Bapo(target=1e9).fit(*random_tokens(), total=lambda x: x)
        np.testing.assert_allclose([code.lower, code.upper], [0.8, 2.0], 1e-6)
        assert not code.met
        log_ratio = jnp.log(jnp.array([[1.5, 1.5]]))
        advantage = jnp.array([[1.0, -0.9]])  # a higher upper bound is enough
        tokens = (log_ratio, advantage, jnp.zeros((1, 2)))
        paper = gates.PaperBapo().fit(*tokens, total=lambda x: x)
        np.testing.assert_allclose([paper.lower, paper.upper], [0.6, 1.35], 1e-6)
        code = gates.Bapo().fit(*tokens, total=lambda x: x)
        np.testing.assert_allclose([code.lower, code.upper], [0.8, 1.35], 1e-6)

    def test_steps_too_small_to_end_are_refused(self):
        for name in ("low_step", "high_step"):
            for kind in (gates.Bapo, gates.PaperBapo):
                with pytest.raises(ValueError, match=f"{name}=1e-09"):
                    gates.validate_settings(kind(**{name: 1e-9}))

    def test_the_rest_of_the_batch_counts(self):
        halves = [random_tokens(0), random_tokens(1)]
        whole = [jnp.concatenate(pair) for pair in zip(*halves, strict=True)]
        alone = gates.Bapo(target=0.9).fit(*whole, total=lambda x: x)
        rest = gates.Bapo(target=0.9).fit(
            *(jnp.concatenate([x, x]) for x in whole), total=lambda x: x / 2
        )
        chex.assert_trees_all_close(alone, rest, rtol=1e-5)


class TestSapo:
    def test_symmetric_in_the_ratio_and_steeper_for_negative_advantages(self):
        gate = lambda ratio, advantage: weights(gates.Sapo(), ratio, advantage) / ratio
        np.testing.assert_allclose(gate(0.5, 1.0), gate(1.5, 1.0), rtol=1e-5)
        assert gate(0.5, -1.0) < gate(0.5, 1.0)

    def test_weight_is_the_derivative_of_its_sigmoid(self):
        value = lambda ratio: 4 / 1.05 * jax.nn.sigmoid(1.05 * (ratio - 1))
        for ratio in (0.1, 0.9, 1.4, 6.0):
            slope = jax.grad(lambda d: value(jnp.exp(d)))(jnp.log(ratio))
            np.testing.assert_allclose(
                weights(gates.Sapo(), ratio, -1.0)[0], slope, rtol=1e-4
            )

    def test_without_steepness_nothing_is_gated(self):
        np.testing.assert_allclose(
            weights(gates.Sapo(0.0, 0.0), 7.0, 1.0), 7, rtol=1e-6
        )


class TestReweighting:
    @pytest.mark.parametrize("advantage", [-1.0, 1.0])
    def test_cispo_is_the_clipped_ratio(self, advantage):
        ratio = np.array([1e-6, 0.7, 0.9, 1.1, 1.3, 1e6])
        np.testing.assert_allclose(
            weights(gates.Cispo(), ratio, advantage),
            np.clip(ratio, 0.8, 1.2),
            rtol=1e-5,
        )
        np.testing.assert_allclose(
            weights(gates.Cispo(low=1.0), ratio, advantage),
            np.minimum(ratio, 1.2),
            rtol=1e-5,
        )

    def test_gppo_and_ce_gppo_keep_the_bound(self):
        ratio = np.array([1e-6, 0.7, 1.0, 1.5, 100.0])
        np.testing.assert_allclose(
            weights(gates.Gppo(), ratio, 1.0), np.minimum(ratio, 1.28), rtol=1e-5
        )
        np.testing.assert_allclose(
            weights(gates.Gppo(), ratio, -1.0), [0.8, 0.8, 1, 1.5, 0], rtol=1e-5
        )
        np.testing.assert_allclose(
            weights(gates.CeGppo(0.5, 0.25), [0.5, 0.9], -1.0), [0.4, 0.9], rtol=1e-5
        )
        np.testing.assert_allclose(
            weights(gates.CeGppo(0.5, 0.25), [1.1, 2.0], 1.0), [1.1, 0.3], rtol=1e-5
        )

    def test_without_shares_ce_gppo_is_clip(self):
        tokens = random_tokens()
        np.testing.assert_array_equal(
            gates.CeGppo(0.0, 0.0, dual=3.0)(*tokens), CLIP(*tokens)
        )

    def test_aspo_inverts_positive_ratios_and_caps_both_signs(self):
        ratio = np.array([0.1, 0.5, 0.9, 1.1, 1.3, 5.0])
        np.testing.assert_allclose(
            weights(gates.Aspo(), ratio, 1.0),
            [3, 2, 1 / 0.9, 1 / 1.1, 0, 0],
            rtol=1e-5,
        )
        np.testing.assert_allclose(
            weights(gates.Aspo(), ratio, -1.0), [0, 0, 0.9, 1.1, 1.3, 3], rtol=1e-5
        )

    def test_reinforce_ignores_the_ratio(self):
        np.testing.assert_allclose(weights(gates.Reinforce(), [0.1, 9.0], 1.0), 1, 1e-6)


class TestSequences:
    def tokens(self, *log_ratios, advantage=1.0):
        log_ratio = jnp.array([log_ratios])
        same = lambda value: jnp.full(log_ratio.shape, value)
        return log_ratio, same(advantage), same(-1.0)

    @pytest.mark.parametrize("kind", [gates.Gspo, gates.Gmpo])
    def test_the_weight_is_the_geometric_mean_for_every_token(self, kind):
        tokens = self.tokens(0.1, -0.3, 0.2)
        weight = kind(0.9, 0.9)(*tokens) * jnp.exp(tokens[0])
        np.testing.assert_allclose(weight, np.ones((1, 3)), rtol=1e-6)

    def test_gspo_clips_whole_responses(self):
        gate = gates.Gspo(0.1, 0.1)
        assert not np.any(gate(*self.tokens(0.9, -0.1, 0.0)))
        assert np.all(gate(*self.tokens(0.9, -0.9, 0.2)))
        assert np.all(gate(*self.tokens(0.9, -0.1, 0.0, advantage=-1.0)))

    def test_gspo_of_single_tokens_is_clip_without_dual(self):
        log_ratio, advantage, old = (x.reshape(-1, 1) for x in random_tokens())
        np.testing.assert_allclose(
            gates.Gspo(0.2, 0.2)(log_ratio, advantage, old),
            gates.Clip(dual=np.inf)(log_ratio, advantage, old),
            rtol=1e-5,
        )

    def test_gspo_ends_where_a_ratio_of_responses_is_absurd(self):
        gate = gates.Gspo()
        near, far = (self.tokens(x, x, advantage=-1.0) for x in (9.9, 10.1))
        assert np.all(gate(*near)) and not np.any(gate(*far))

    def test_gmpo_closes_single_tokens(self):
        tokens = self.tokens(1.0, 0.0, -1.0)
        weight = gates.Gmpo()(*tokens) * jnp.exp(tokens[0])
        mean = np.exp((0.4 + 0 - 1) / 3)
        np.testing.assert_allclose(weight, [[0, mean, mean]], rtol=1e-5)


def test_dppo_bounds_the_change_of_probability():
    gate = gates.Dppo()
    assert weights(gate, 100.0, 1.0, q=1e-3) == pytest.approx(20, rel=1e-5)
    assert weights(gate, 1.5, 1.0, q=0.3) > 0 and weights(gate, 1.5, 1.0, q=0.5) == 0
    assert weights(gate, 0.5, -1.0, q=0.3) > 0 and weights(gate, 0.5, -1.0, q=0.5) == 0


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

    @pytest.mark.parametrize("kind", [gates.Maspo, gates.Dgpo])
    def test_a_dual_clip_closes_above_it_for_negative_advantages_alone(self, kind):
        ratio, none = [2.9, 3.1], weights(kind(), [2.9, 3.1], 1.0)
        closed = weights(kind(dual=3.0), ratio, -1.0)
        np.testing.assert_allclose(closed, [2.9, 0], rtol=1e-5)
        np.testing.assert_array_equal(weights(kind(dual=3.0), ratio, 1.0), none)

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
