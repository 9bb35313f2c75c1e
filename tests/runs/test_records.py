"""Numbers of steps and updates in what a run leaves."""

import math

import pytest

from maspo_jax.runs import run_folder
from maspo_jax.runs.checkpoints import steps_of
from maspo_jax.runs.metrics_log import MetricsLog, refuse_non_finite


def test_checkpoints_are_in_the_order_of_their_steps(tmp_path):
    for name in ("9", "10", "100", "20", "30.orbax-checkpoint-tmp-4", "metadata"):
        (tmp_path / name).mkdir()
    assert steps_of(tmp_path) == [9, 10, 20, 100]
    assert steps_of(tmp_path / "nothing") == []


def test_updates_are_numbered_behind_those_that_were_done(tmp_path):
    with MetricsLog(tmp_path, {}) as log:
        log.write_updates(0, [{"loss": 1.0}, {"loss": 2.0}])
        log.write_updates(2, [{"loss": 3.0}])
    lines = run_folder.read_metrics(tmp_path, "update")
    assert [(line["step"], line["loss"]) for line in lines] == [
        *((1, 1.0), (2, 2.0), (3, 3.0))
    ]


@pytest.mark.parametrize("name", ["loss", "grad_norm"])
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_neither_a_loss_nor_a_gradient_may_be_infinite(name, number):
    numbers = {"loss": 1.0, "grad_norm": 2.0}
    refuse_non_finite("step 3", numbers, "optimization")
    with pytest.raises(FloatingPointError, match=rf"{name} is .* at step 3"):
        refuse_non_finite("step 3", numbers | {name: number}, "optimization")
