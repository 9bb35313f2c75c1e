"""A sweep that has been trained, for all tests that read one."""

import shutil
import textwrap

import pytest

from tests.conftest import TINY
from tests.support.processes import LIMIT, launch

SWEEP = """
    from tiny import experiment
    from maspo_jax import sweeps

    sweep = sweeps.Sweep(
        experiment,
        sweeps.grid(
            {
                "objective.gate.alpha": [0.1, 0.5],
                "optimization.learning_rate": [1e-3, 3e-3],
            }
        ),
        seeds=[0, 3],
        together=4,
    )
"""


def write_sweep(folder, text, name="sweep.py"):
    """Writes a sweep file beside the tiny experiment. Returns its path."""
    shutil.copy(TINY, folder / "tiny.py")
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return path


def swept(path, folder, *words, devices=1):
    """Runs `maspo sweep`. Returns its status and what it printed."""
    process = launch("sweep", path, "--run", folder, *words, devices=devices)
    output, _ = process.communicate(timeout=LIMIT)
    return process.returncode, output


@pytest.fixture(scope="session")
def tiny_sweep(tmp_path_factory):
    """The folder of a sweep of four trials with two seeds each, and its output."""
    room = tmp_path_factory.mktemp("sweeps")
    status, output = swept(write_sweep(room, SWEEP), room / "done")
    assert status == 0, output
    return room / "done", output
