"""When a stage of a run saves, and when a run has lost what it saved."""

import json
import types

import pytest

from maspo_jax.runs.run_folder import Run, check_checkpoints


@pytest.mark.parametrize(
    "age, minutes, steps, last, due",
    [
        (119, 2.0, 1, False, False),
        (120, 2.0, 1, False, True),
        (1e9, None, 1, False, False),
        (0, 2.0, 10, False, True),
        (0, None, 20, False, True),
        (0, None, 1, True, True),
    ],
)
def test_a_stage_saves_by_its_steps_or_by_the_minutes(age, minutes, steps, last, due):
    """A tenth step is due; the age is in seconds."""
    experiment = types.SimpleNamespace(checkpoint_minutes=minutes)
    run = Run(experiment, *[None] * 6)
    checkpoints = types.SimpleNamespace(age=age)
    assert run.save_is_due(checkpoints, steps, 10, last) is due


@pytest.mark.parametrize(
    "there, logged, lost",
    [
        (["sft/10", "reinforcement"], {"sft": 10, "reinforcement": 1}, None),
        (["sft/10"], {"sft": 10, "reinforcement": 1}, "1 steps"),
        (["sft", "reinforcement"], {"sft": 5}, None),
        (["reinforcement"], {"sft": 5}, "5 sft updates"),
        (["sft/10", "reinforcement"], {"sft": 10, "reinforcement": 5}, "5 steps"),
        (["sft", "reinforcement"], {"sft": 21}, "21 sft updates"),
    ],
)
def test_a_stage_that_was_measured_has_its_folder(tmp_path, there, logged, lost):
    """A run that was cut off before its first checkpoint has it, and starts over."""
    for place in there:
        (tmp_path / "checkpoints" / place).mkdir(parents=True)
    lines = [{"stage": stage, "step": step} for stage, step in logged.items()]
    (tmp_path / "metrics.jsonl").write_text(
        "".join(f"{json.dumps(x)}\n" for x in lines)
    )
    before = {"checkpoint_every": 2, "sft": {"checkpoint_every": 10}}
    if lost is None:
        return check_checkpoints(tmp_path, before)
    with pytest.raises(ValueError, match=f"lost its checkpoints: .* holds {lost}"):
        check_checkpoints(tmp_path, before)
