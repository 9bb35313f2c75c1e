"""The default experiment does what the README says. Minutes, so marked slow."""

import numpy as np
import pytest
from conftest import ROOT, command

from maspo_jax.runs import run_folder


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_policy_learns_to_write_its_steps(tmp_path, seed):
    folder = tmp_path / "run"
    experiment = ROOT / "experiments" / "arithmetic.py"
    status, output = command(experiment, "--run", folder, "--seed", seed)
    assert status == 0, output
    validation = run_folder.read_metrics(folder, "validation")
    assert validation[0]["accuracy"] < 0.2
    assert validation[-1]["accuracy"] >= 0.85
    assert (
        validation[-1]["response_length/mean"]
        > 3 * validation[0]["response_length/mean"]
    )
    steps = run_folder.read_metrics(folder, "reinforcement")
    assert np.mean([line["out_of_band_last"] for line in steps]) >= 0.02
    assert np.mean([line["time/overhead_share"] for line in steps[1:]]) < 0.1
