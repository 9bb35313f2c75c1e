import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import reference

from maspo_jax.objectives import advantages

RULES = [
    advantages.group_normalized,
    advantages.group_centered,
    advantages.leave_one_out,
    advantages.length_centered,
    advantages.rare_success,
]
WHITENED = [advantages.whitened, advantages.group_whitened]
every_rule = pytest.mark.parametrize("rule", RULES, ids=lambda f: f.__name__)


def random_rewards(prompts=5, responses=4, length=6, seed=0):
    draw = np.random.default_rng(seed)
    reward = draw.integers(0, 2, (prompts, responses)).astype(np.float32)
    reward[0] = 1  # a group that says nothing
    mask = np.arange(length) < draw.integers(1, length, (reward.size, 1))
    return reward, mask


@every_rule
def test_every_token_of_a_response_has_its_advantage_and_padding_none(rule):
    reward, mask = random_rewards()
    advantage = np.asarray(rule(reward, mask))
    assert advantage.shape == mask.shape
    np.testing.assert_array_equal(advantage[~mask], 0)
    first = advantage[:, :1].repeat(mask.shape[1], 1)
    np.testing.assert_array_equal(advantage[mask], first[mask])


@every_rule
def test_equal_rewards_teach_nothing(rule):
    """Exactly: the rounding of a mean must not be divided by a tiny deviation."""
    for value in (0.0, 1.0, 0.7, 0.1, -1 / 3):
        reward = jnp.full((3, 7), value, jnp.float32)
        assert not np.any(rule(reward, np.ones((21, 2), bool)))


@every_rule
def test_a_group_of_one_teaches_nothing(rule):
    assert not np.any(rule(jnp.array([[1.0], [0.0]]), np.ones((2, 3), bool)))


@pytest.mark.parametrize("rule", RULES[:4])
def test_shifting_the_rewards_of_a_group_changes_nothing(rule):
    reward, mask = random_rewards()
    np.testing.assert_allclose(rule(reward + 3, mask), rule(reward, mask), atol=1e-5)


@every_rule
def test_the_advantages_of_a_group_cancel(rule):
    """With responses of one length, where the length-weighted mean is the mean."""
    reward, mask = random_rewards()
    whole = np.ones_like(mask)
    advantage = np.asarray(rule(reward, whole))[:, 0].reshape(reward.shape)
    np.testing.assert_allclose(advantage.sum(1), 0, atol=1e-6)


@every_rule
def test_misfitting_shapes_are_refused(rule):
    reward, mask = random_rewards()
    with pytest.raises(AssertionError):
        rule(reward, mask[1:])


def groups(arrays):
    """Yields the rows of each group of at least two."""
    for group in np.unique(arrays["group_ids"]):
        rows = np.flatnonzero(arrays["group_ids"] == group)
        if len(rows) > 1:
            yield rows


@pytest.mark.parametrize(
    "rule, column",
    [
        (advantages.group_normalized, "adv_grpo"),
        (advantages.group_normalized, "adv_grpo_vectorized"),
        (advantages.group_centered, "adv_grpo__norm_adv_by_std_in_grpo_False"),
        (advantages.leave_one_out, "adv_rloo"),
        (advantages.leave_one_out, "adv_rloo_vectorized"),
        (advantages.length_centered, "adv_opo"),
        (advantages.rare_success, "adv_gpg"),
    ],
)
def test_against_the_released_code(rule, column):
    arrays = reference.load("advantages")
    mask = arrays["mask"] != 0
    with jax.enable_x64(True):
        for rows in groups(arrays):
            ours = rule(jnp.asarray(arrays["rewards"][rows])[None], mask[rows])
            theirs = np.where(mask[rows], arrays[column][rows], 0)
            np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9)


def test_normalization_variants():
    arrays = reference.load("own_group_norm_variants")
    variants = {
        "ddof0_eps1e6": {"ddof": 0},
        "ddof1_eps1e4": {"epsilon": 1e-4},
        "ddof1_eps1e6_singleton_zero": {},
    }
    with jax.enable_x64(True):
        for group in np.unique(arrays["group_ids"]):
            rows = np.flatnonzero(arrays["group_ids"] == group)
            reward, mask = (
                jnp.asarray(arrays["rewards"][rows])[None],
                np.ones((len(rows), 1)),
            )
            for name, options in variants.items():
                ours = advantages.group_normalized(reward, mask != 0, **options)[:, 0]
                np.testing.assert_allclose(ours, arrays[name][rows], rtol=1e-9)


@pytest.mark.parametrize(
    "column", ["adv_reinforce_plus_plus", "adv_reinforce_plus_plus_baseline"]
)
def test_whitening_of_the_released_code(column):
    arrays = reference.load("advantages")
    mask = arrays["mask"] != 0
    with jax.enable_x64(True):
        reward = arrays["rewards"].copy()
        if "baseline" in column:  # its groups of one keep their reward
            for rows in groups(arrays):
                group = jnp.asarray(reward[rows])[None]
                reward[rows] = advantages.group_centered(group, mask[rows])[:, 0]
        ours = advantages.whitened(jnp.asarray(reward)[:, None], jnp.asarray(mask))
    theirs = np.where(mask, arrays[column], 0)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("rule", WHITENED)
def test_whitened_advantages_have_mean_zero_and_variance_one(rule):
    reward, mask = random_rewards(20)
    advantage = np.asarray(rule(reward, mask))
    np.testing.assert_allclose(advantage[mask].mean(), 0, atol=1e-6)
    np.testing.assert_allclose(advantage[mask].var(ddof=1), 1, rtol=1e-4)
    assert not np.any(advantage[~mask])
    assert np.all(np.isfinite(rule(reward * 0, mask)))
    assert np.all(np.isfinite(rule(reward, np.zeros_like(mask))))


def test_a_group_of_one_is_worth_nothing_or_its_reward():
    reward, mask = jnp.array([[1.0], [0.5]]), jnp.ones((2, 3), bool)
    assert not np.any(advantages.group_normalized(reward, mask))
    raw = advantages.group_normalized(reward, mask, singleton="raw")
    np.testing.assert_array_equal(raw, [[1] * 3, [0.5] * 3])
    pairs = reward.reshape(1, 2)
    same = advantages.group_normalized(pairs, mask, singleton="raw")
    np.testing.assert_array_equal(same, advantages.group_normalized(pairs, mask))
    with pytest.raises(ValueError, match="singleton='mean': choose zero or raw"):
        advantages.group_normalized(reward, mask, singleton="mean")


def test_raw_is_the_reward():
    reward, mask = random_rewards()
    advantage = np.asarray(advantages.raw(reward, mask))
    np.testing.assert_array_equal(advantage, np.where(mask, reward.reshape(-1, 1), 0))


def test_smoothed_over_visits():
    arrays = reference.load("advantages_dcpo_sas")
    for group in np.unique(arrays["group_ids"]):
        rows = np.flatnonzero(arrays["group_ids"] == group)
        first = rows[:1]
        mask = arrays["mask"][rows] != 0
        with jax.enable_x64(True):
            history = advantages.PromptStats(
                *(
                    jnp.asarray(arrays[f"old_{name}"][first])
                    for name in ("times", "mean", "std")
                )
            )
            reward = jnp.asarray(arrays["rewards"][rows])[None]
            ours, after = advantages.smoothed(reward, mask, history)
        theirs = np.where(mask, arrays["adv"][rows], 0)
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)
        assert float(after.visits[0]) == arrays["old_times"][first[0]] + 1


def test_smoothing_remembers_what_one_visit_cannot_say():
    """A prompt solved by all now, and by none before, still has a lesson."""
    mask = np.ones((4, 1), bool)
    none = advantages.PromptStats(jnp.zeros(1), jnp.zeros(1), jnp.zeros(1))
    first, history = advantages.smoothed(jnp.zeros((1, 4)), mask, none)
    assert not np.any(first)
    second, history = advantages.smoothed(jnp.ones((1, 4)), mask, history)
    assert np.all(np.asarray(second) >= 0) and history.visits == 2
    np.testing.assert_allclose([history.mean[0], history.deviation[0]], [0.5, 0.5])


def test_entropy_advantage():
    inputs, arrays = (
        reference.load("inputs_main"),
        reference.load("own_entropy_advantage"),
    )
    with jax.enable_x64(True):
        shaped = advantages.EntropyAdvantage(arrays["alpha"], arrays["kappa"])
        ours = shaped(inputs["advantages"], inputs["entropy"])
    np.testing.assert_allclose(ours, arrays["shaped_advantages"], rtol=1e-12)
    added = np.asarray(ours) - inputs["advantages"]
    np.testing.assert_allclose(added, arrays["psi"], atol=1e-12)


def test_entropy_advantage_keeps_signs_and_gives_no_gradient():
    advantage = jnp.array([-2.0, -0.1, 0.0, 0.1, 2.0])
    entropy = jnp.full(5, 3.0)
    rule = advantages.EntropyAdvantage()
    shaped = rule(advantage, entropy)
    np.testing.assert_array_equal(np.sign(shaped), np.sign(advantage))
    assert np.all(shaped >= advantage)
    without = advantages.EntropyAdvantage(alpha=0.0)
    np.testing.assert_array_equal(without(advantage, entropy), advantage)
    # Once the share of the advantage is the smaller one, once the entropy is.
    for size in (1, 100):
        slope = jax.grad(lambda h, s=size: jnp.sum(rule(s * advantage, h)))(entropy)
        assert not np.any(slope)
    assert (rule(100 * advantage, entropy) > rule(100 * advantage, 0 * entropy))[0]


@pytest.mark.parametrize("rule", RULES + WHITENED, ids=lambda f: f.__name__)
def test_a_response_without_tokens_leaves_its_group(rule):
    """As if it had never been drawn."""
    reward, mask = random_rewards(responses=5)
    reward = reward + np.arange(5, dtype=np.float32)  # no two alike
    mask[2::5] = False
    left = np.arange(len(mask)) % 5 != 2
    expected = rule(np.delete(reward, 2, axis=1), mask[left])
    ours = np.asarray(rule(reward, mask))
    np.testing.assert_allclose(ours[left], expected, rtol=1e-5, atol=1e-6)
    assert not np.any(ours[~left])


def test_a_group_without_tokens_has_not_been_visited():
    before = advantages.PromptStats(*jnp.array([[2.0, 1.0], [0.5, 1.0], [0.5, 0.0]]))
    mask = np.repeat([[True], [False]], 3, axis=0)
    advantage, after = advantages.smoothed(jnp.ones((2, 3)), mask, before)
    assert np.all(np.isfinite(advantage)) and not np.any(advantage[3:])
    np.testing.assert_array_equal(after.visits, [3, 1])
    assert after.mean[1] == 1 and after.mean[0] > 0.5


def test_rare_success_counts_for_as_many_as_it_is_rare():
    mask = np.ones((4, 2), bool)
    found = advantages.rare_success(np.float32([[1, 0, 0, 0]]), mask)
    np.testing.assert_allclose(found[:, 0], [3, -1, -1, -1], rtol=1e-6)


def test_equal_rewards_of_many_visits_teach_nothing():
    """Whatever rounding leaves of the deviation over visits."""
    visit = jax.jit(lambda reward, history: advantages.smoothed(reward, MASK5, history))
    for value in np.random.default_rng(0).uniform(-1, 1, 40).astype(np.float32):
        history = advantages.PromptStats(*np.zeros((3, 1), np.float32))
        for _ in range(20):
            found, history = visit(np.full((1, 5), value), history)
            assert (np.asarray(found) == 0).all()


MASK5 = np.ones((5, 2), bool)


def test_rewards_per_token_add_up_to_those_of_responses():
    reward, mask = random_rewards()
    spread = np.asarray(advantages.token_rewards(reward, mask))
    last = mask.sum(1) - 1
    np.testing.assert_array_equal(spread[np.arange(len(mask)), last], reward.ravel())
    assert np.count_nonzero(spread) == np.count_nonzero(reward)
    np.testing.assert_array_equal(advantages.outcome_rewards(spread, mask, 4), reward)
    np.testing.assert_array_equal(advantages.outcome_rewards(reward, mask, 4), reward)
    np.testing.assert_array_equal(advantages.token_rewards(spread, mask), spread)


def test_a_response_without_tokens_earns_no_reward_per_token():
    mask = np.array([[False, False], [True, False]])
    spread = advantages.token_rewards(np.ones((1, 2), np.float32), mask)
    np.testing.assert_array_equal(spread, [[0, 0], [1, 0]])


def test_an_advantage_is_called_with_what_it_needs():
    reward, mask = random_rewards()
    stats = advantages.PromptStats(*np.ones((3, len(reward)), np.float32))

    def of_tokens(reward, mask, stats):
        """The reward still to come."""
        return jnp.cumsum(reward[:, ::-1], axis=-1)[:, ::-1] * mask, "after"

    of_tokens.needs = ("token_reward", "prompt_stats")
    found, after = advantages.with_stats(of_tokens)(reward, mask, stats)
    np.testing.assert_array_equal(found, advantages.raw(reward, mask))
    assert after == "after"
    plain, same = advantages.with_stats(advantages.raw)(reward, mask, stats)
    np.testing.assert_array_equal(plain, advantages.raw(reward, mask))
    assert same is stats
    ours, theirs = advantages.with_stats(advantages.smoothed), advantages.smoothed
    for left, right in zip(
        jax.tree.leaves(ours(reward, mask, stats)),
        jax.tree.leaves(theirs(reward, mask, stats)),
        strict=True,
    ):
        np.testing.assert_array_equal(left, right)
