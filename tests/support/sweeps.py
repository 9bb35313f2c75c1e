"""Sweeps of the tiny experiment, by the command in a process of its own."""

import shutil
import textwrap

from support.processes import LIMIT, ROOT, launch

TINY = ROOT / "tests" / "experiments" / "tiny.py"

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


def write_sweep(folder, text=SWEEP, name="sweep.py"):
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
