"""Batches of one shape hold every response, and do not change what is drawn."""

import numpy as np
import pytest

from maspo_jax.rollout.batching import plan_batches


@pytest.mark.parametrize("count", [2, 7, 30])
@pytest.mark.parametrize("samples", [1, 6, 32])
@pytest.mark.parametrize("batch", [8, 32, 100])
@pytest.mark.parametrize("devices", [1, 4, 8])
def test_batches_of_one_shape_hold_every_response_once_and_in_order(
    count, samples, batch, devices
):
    plan = plan_batches(count, samples, batch, devices)
    size = plan.prompts * plan.responses
    assert plan.prompts % devices == 0 and size <= max(batch, devices)
    drawn = []
    for start in range(0, count * samples, size):
        number, first = plan.batch(start)
        assert len(number) == len(first) == plan.prompts
        drawn += [
            (int(problem), int(sample) + extra)
            for problem, sample in zip(number, first, strict=True)
            for extra in range(plan.responses)
        ]
    expected = [(i, j) for i in range(count) for j in range(samples)]
    assert drawn[: len(expected)] == expected
    assert set(drawn) == set(expected)
    assert len(drawn) - len(expected) < size


def test_a_batch_may_begin_behind_any_group():
    plan = plan_batches(5, 8, 16, 1)
    assert (plan.prompts, plan.responses) == (2, 8)
    number, first = plan.batch(24)
    np.testing.assert_array_equal(number, [3, 4])
    np.testing.assert_array_equal(first, [0, 0])


def test_too_small_a_batch_is_refused():
    with pytest.raises(ValueError, match="batch=7: at least one response for each"):
        plan_batches(5, 8, 7, 8)
