"""A run goes on with what only places the work, and with nothing that changes it."""

import dataclasses
import math

import pytest
from conftest import EXPERIMENTS

from maspo_jax.config import loading, serialization
from maspo_jax.settings import settings_in

# Names of settings that may differ: all else is refused.
FREE = {
    *("fsdp", "tensor", "checkpoint_every", "rollouts_every", "grading.workers"),
    "grading.unreadable",
    *("updates.microbatches", "sft.checkpoint_every", "sft.microbatches"),
    *("sampling.wave", "updates.length_buckets"),
}


def changed(part, name, value):
    first, _, rest = name.partition(".")
    inside = changed(getattr(part, first), rest, value) if rest else value
    return dataclasses.replace(part, **{first: inside})


def numbers(experiment):
    """Returns {name: number} of all settings that are one and finite."""
    return {
        name: getattr(part, field.name)
        for name, field, part in settings_in(experiment)
        if type(getattr(part, field.name)) in (int, float) and field.init
        if math.isfinite(getattr(part, field.name))
        if not any(word.isdecimal() for word in name.split("."))
    }


EXPERIMENT = changed(loading.load(EXPERIMENTS / "tiny.py"), "sampling.wave", 8)


def test_the_settings_that_are_tried_are_there():
    assert FREE <= numbers(EXPERIMENT).keys()
    assert {"updates.minibatches", "seed", "objective.gate.alpha"} <= numbers(
        EXPERIMENT
    ).keys()


@pytest.mark.parametrize(
    "name, value, free",
    [
        ("policy.remat", "dots", True),
        ("updates.microbatch_tokens", 64, True),
        ("updates.row_length", 64, True),
        ("optimization.moments_dtype", "bfloat16", False),
        ("policy.compute_dtype", "bfloat16", False),
    ],
)
def test_names_of_dtypes_and_what_is_kept(name, value, free):
    moved = serialization.to_json(changed(EXPERIMENT, name, value))
    lines = serialization.differences(moved, serialization.to_json(EXPERIMENT))
    assert bool(lines) != free, lines


@pytest.mark.parametrize("name", numbers(EXPERIMENT))
def test_a_setting_that_changes_what_is_computed_may_not_differ(name):
    value = numbers(EXPERIMENT)[name]
    # `steps` may grow, so it falls here; a share stays one.
    other = value - 1 if name == "steps" else value / 2 if value == 1.0 else value + 1
    if isinstance(value, int):
        other = int(other) or 2
    try:
        moved = changed(EXPERIMENT, name, other)
    except ValueError:
        pytest.skip("a part refuses the other number by itself")
    lines = serialization.differences(
        serialization.to_json(moved), serialization.to_json(EXPERIMENT)
    )
    assert bool(lines) == (name not in FREE), lines
