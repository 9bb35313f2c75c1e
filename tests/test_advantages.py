import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

from maspo_jax.objectives import advantages

RULES = [
    advantages.group_normalized,
    advantages.group_centered,
    advantages.leave_one_out,
]
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


@every_rule
def test_shifting_the_rewards_of_a_group_changes_nothing(rule):
    reward, mask = random_rewards()
    np.testing.assert_allclose(rule(reward + 3, mask), rule(reward, mask), atol=1e-5)


@every_rule
def test_the_advantages_of_a_group_cancel(rule):
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


@reference.needs_golden
@pytest.mark.parametrize(
    "rule, column",
    [
        (advantages.group_normalized, "adv_grpo"),
        (advantages.group_normalized, "adv_grpo_vectorized"),
        (advantages.group_centered, "adv_grpo__norm_adv_by_std_in_grpo_False"),
        (advantages.leave_one_out, "adv_rloo"),
        (advantages.leave_one_out, "adv_rloo_vectorized"),
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
