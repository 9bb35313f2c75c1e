"""What is said of a run before anything is compiled."""

import dataclasses

from conftest import TINY

from maspo_jax.config import loading
from maspo_jax.learning import run
from maspo_jax.rollout import memory


class Lines(list):
    """A display that keeps what it is told."""

    note = list.append


def test_a_run_says_what_reads_its_rows():
    experiment, said = loading.load(TINY), Lines()
    sampling = experiment.sampling
    tokens = sampling.prompt_length + sampling.response_length - 1
    long = dataclasses.replace(sampling, response_length=1024)
    for each in (experiment, dataclasses.replace(experiment, sampling=long)):
        run.introduce(each, "runs/tiny", said, [])
    assert f"rows of {tokens} tokens, read by reference attention" in said[0]
    assert said[1].endswith("tokens, read by chunked attention")


def test_a_run_says_what_a_device_will_hold_where_devices_tell(monkeypatch):
    experiment = loading.load(TINY)
    silent, said = Lines(), Lines()
    run.introduce(experiment, "runs/tiny", silent, ["a remark"])
    assert len(silent) == 2 and silent[1] == "a remark"
    monkeypatch.setattr(memory, "memory_limit", lambda: 16 * memory.GIB)
    run.introduce(experiment, "runs/tiny", said, ["a remark"])
    assert said[:2] == silent
    assert said[2].startswith("memory of a device while it draws") and len(said) == 3
