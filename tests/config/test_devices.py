"""How many devices an experiment asks for, and which fit it."""

import contextlib
import dataclasses

import pytest
from conftest import EXPERIMENTS
from support.settings import validate

from maspo_jax.config import loading, validation
from maspo_jax.learning.run import check_experiment
from maspo_jax.models.attention import choice
from maspo_jax.refusals import Refusals
from maspo_jax.rollout import memory

EXPERIMENT = loading.load(EXPERIMENTS / "tiny.py")


def asking(heads=8, **settings):
    policy = dataclasses.replace(
        EXPERIMENT.policy, query_heads=heads, key_value_heads=heads
    )
    return dataclasses.replace(EXPERIMENT, policy=policy, **settings)


@pytest.mark.parametrize("fsdp, tensor", [(1, 1), (8, 1), (2, 2), (1, 4)])
def test_devices_that_fit(fsdp, tensor):
    validate(asking(fsdp=fsdp, tensor=tensor), 8, hosts=2)


@pytest.mark.parametrize(
    "experiment, devices, hosts, message",
    [
        (asking(tensor=2, heads=1), 8, 1, r"tensor=2 .*heads=1 .*choose one of \[1\]"),
        (asking(tensor=8), 8, 2, r"tensor=8 .*4 devices of a process; .*\[1, 2, 4\]"),
        (asking(tensor=3, heads=3), 9, 1, "tensor=3 .*feed_forward=32"),
        (asking(fsdp=4, tensor=4), 8, 1, "devices=8 .*of fsdp \\* tensor=16"),
        (asking(fsdp=3), 8, 1, "the number of devices=8 .*of fsdp=3"),
        (asking(tensor=0), 8, 1, "tensor=0"),
    ],
)
def test_devices_that_do_not_fit_are_refused(experiment, devices, hosts, message):
    with pytest.raises(ValueError, match=message):
        validate(experiment, devices, hosts)
    with pytest.raises(ValueError, match=message), Refusals() as refusals:
        validation.check_layout(experiment, devices, refusals, hosts)


def test_the_layout_is_checked_without_reading_anything():
    class Unreadable:
        """A source of problems that is not there."""

        def __len__(self):
            raise OSError("no such file")

        def __getitem__(self, index):
            raise OSError("no such file")

    experiment = dataclasses.replace(asking(fsdp=8), train_set=Unreadable())
    with pytest.raises(OSError, match="no such file"):
        validate(experiment, 8)
    with Refusals() as refusals:
        validation.check_layout(experiment, 8, refusals)


@pytest.mark.parametrize("row_length, packed", [(None, False), (64, True)])
def test_rows_of_supervised_training_are_packed_where_it_has_a_length(
    row_length, packed, monkeypatch
):
    """And only then does a kernel that reads one text a row not fit."""
    monkeypatch.setattr(choice, "target_platform", lambda: "gpu")
    policy = dataclasses.replace(
        EXPERIMENT.policy, attention="cudnn", compute_dtype="bfloat16"
    )
    sft = dataclasses.replace(EXPERIMENT.sft, row_length=row_length)
    experiment = asking(heads=4, sft=sft)
    experiment = dataclasses.replace(experiment, policy=policy)
    refused = pytest.raises(ValueError, match="attention='cudnn' reads rows of one")
    with refused if packed else contextlib.nullcontext():
        validate(experiment, 1)


def test_a_state_that_no_device_holds_is_refused_before_a_run(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "memory_limit", lambda: 4096)
    with pytest.raises(ValueError, match="fsdp=1: parameters, moments and gradients"):
        check_experiment(EXPERIMENT, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    odd = dataclasses.replace(EXPERIMENT, fsdp=16)
    with pytest.raises(ValueError, match="devices=8 .*of fsdp=16"):
        check_experiment(odd, tmp_path / "run")
    none = dataclasses.replace(EXPERIMENT, optimization=None)
    with pytest.raises(ValueError, match="^optimization=None: must be of type"):
        check_experiment(none, tmp_path / "run")


def test_another_way_to_gather_is_refused_by_name():
    sampling = dataclasses.replace(EXPERIMENT.sampling, gather="never")
    with pytest.raises(ValueError, match="sampling.gather='never': choose one of once"):
        validate(asking(sampling=sampling), 1)
