import numpy as np
import pytest
from support import reference

from maspo_jax.objectives.overlong import OverlongPenalty
from maspo_jax.settings import check_intervals


def test_overlong_penalty_of_the_released_code():
    arrays = reference.load("overlong")
    limit, buffer = int(arrays["max_resp_len"]), int(arrays["buffer_len"])
    for factor, penalty in zip(arrays["factors"], arrays["penalty"], strict=True):
        ours = OverlongPenalty(buffer, float(factor))(arrays["lengths"], limit)
        np.testing.assert_allclose(ours, penalty, rtol=1e-6)


@pytest.mark.parametrize("buffer", [0, -1, 11])
def test_a_buffer_that_does_not_fit_is_refused(buffer):
    penalty = OverlongPenalty(buffer)
    with pytest.raises(ValueError, match=f"buffer={buffer}"):
        check_intervals(penalty)
        penalty([1], 10)
