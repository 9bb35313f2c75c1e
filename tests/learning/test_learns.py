"""Learning itself: rewarded for right answers alone, a policy learns to earn them.

The short companion of `test_arithmetic_learns.py`, which is the default experiment.
"""

import numpy as np
from support.processes import launch

from maspo_jax.runs import run_folder


def test_a_policy_that_prefers_to_guess_learns_that_steps_pay(tmp_path):
    folder = tmp_path / "run"
    process = launch("train", "tests/experiments/learns.py", "--run", folder)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    validation = run_folder.read_metrics(folder, "validation")
    first, last = validation[0], validation[-1]
    assert last["accuracy"] > first["accuracy"] + 0.25
    assert last["response_length/mean"] > 2 * first["response_length/mean"]
    steps = run_folder.read_metrics(folder, "reinforcement")
    reward = [line["reward"] for line in steps]
    assert np.mean(reward[-5:]) > np.mean(reward[:2]) + 0.15
    assert np.mean([line["out_of_band_last"] for line in steps]) >= 0.02
