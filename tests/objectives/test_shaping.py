import numpy as np
import pytest
from support import reference

from maspo_jax.objectives import shaping


def test_overlong_penalty_of_the_released_code():
    arrays = reference.load("overlong")
    limit, buffer = int(arrays["max_resp_len"]), int(arrays["buffer_len"])
    for factor, penalty in zip(arrays["factors"], arrays["penalty"], strict=True):
        ours = shaping.overlong_penalty(arrays["lengths"], limit, buffer, float(factor))
        np.testing.assert_allclose(ours, penalty, rtol=1e-6)


@pytest.mark.parametrize("buffer", [0, -1, 11])
def test_a_buffer_that_does_not_fit_is_refused(buffer):
    with pytest.raises(ValueError, match=f"buffer={buffer}"):
        shaping.overlong_penalty([1], 10, buffer)
