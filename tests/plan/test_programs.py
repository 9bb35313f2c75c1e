"""What a device holds beside a program, and what the program is given."""

import dataclasses

import jax
import pytest
from conftest import EXPERIMENTS

from maspo_jax import distributed
from maspo_jax.config import loading
from maspo_jax.learning import learner
from maspo_jax.models import sizes
from maspo_jax.objectives import kl
from maspo_jax.plan import devices, programs
from maspo_jax.plan.job import STAGES, job_of
from maspo_jax.rollout import memory


def job(*words):
    """The smallest experiment on eight devices."""
    experiment = loading.load(EXPERIMENTS / "tiny.py", words)
    return job_of(experiment, devices.parse_slice("v5e:2x4"))


@pytest.mark.parametrize(
    "words, copied",
    [
        ((), False),
        (("--fsdp", 4, "--sampling.gather", "layer"), False),
        (("--fsdp", 4), True),
        (("--policy.compute-dtype", "bfloat16"), True),
    ],
)
def test_a_policy_that_is_sampled_from_itself_is_held_once(words, copied):
    planned = job(*words)
    made = programs.programs_of(planned, jax.devices())
    shards = planned.experiment.fsdp
    policy = 4 * sizes.param_count(planned.decoder) / shards
    # Masters, if the sampler is given a copy, and two moments of each.
    expected = (policy if copied else 0) + 2 * policy
    for stage in ("sample", "validation"):  # scales are whole everywhere
        assert made[stage].beside == pytest.approx(expected, rel=0.05)
    assert made["score"].beside == pytest.approx(2 * policy, rel=0.05)
    assert made["update"].beside == 0


def test_a_wave_and_a_batch_of_a_validation_are_drawn():
    planned = job("--sampling.prompts", 32, "--sampling.wave", 16)
    made, plan = programs.programs_of(planned, jax.devices()), planned.validation
    rows = {
        stage: made[stage].lower().out_info.sequences.response.shape
        for stage in ("sample", "validation")
    }
    responses, length = 4, planned.experiment.sampling.response_length
    assert rows["sample"] == (16 * responses, length)
    assert plan.responses != responses
    assert rows["validation"] == (plan.prompts * plan.responses, length)


class Recorded:
    """In place of a program: what it is lowered for."""

    def lower(self, *given):
        return given


def test_the_sampler_is_lowered_with_the_slots_of_the_job(monkeypatch):
    for name in ("sample", "draw"):
        monkeypatch.setattr(programs, name, Recorded())
    found = memory.AtATime(16, 3)
    monkeypatch.setattr(memory, "drawn_at_a_time", lambda *of: found)
    planned = job("--sampling.prompts", 32)
    made = programs.programs_of(planned, jax.devices())
    _, prompts, _, decoding, *_ = made["sample"].lower()
    assert decoding.slots == 3 and len(prompts.tokens.shape) == 2
    assert prompts.tokens.shape[0] == 16
    *_, greedy, _ = made["validation"].lower()
    assert greedy.slots is None


def test_a_reference_policy_is_held_beside_every_program():
    plain = job()
    penalty = kl.Penalty(0.001, kl.k3)
    objective = dataclasses.replace(plain.experiment.objective, terms=(penalty,))
    one, two = (
        programs.programs_of(each, jax.devices())
        for each in (plain, plain.changed(objective=objective))
    )
    policy = programs.bytes_of(jax.tree.leaves(made_policy(plain)))
    for stage in STAGES:
        assert two[stage].beside - one[stage].beside == policy


def made_policy(planned):
    """The policy of a job, as shapes on eight devices."""
    mesh = distributed.make_mesh(planned.experiment.fsdp, planned.tensor)
    return learner.build(planned.experiment, mesh).skeleton.policy
