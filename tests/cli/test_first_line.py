"""What is loaded when the first line of a command appears: that is what one waits for.

Nothing is timed here. Each of `HEAVY` takes a tenth of a second or more to load, all of
them together seconds; a first line that needs none of them comes within 0.3 s.
"""

import pathlib
import subprocess
import sys
import tempfile

import pytest
from conftest import ROOT

HEAVY = {
    *("jax", "flax", "optax", "orbax", "grain", "numpy", "scipy", "sympy"),
    *("matplotlib", "rich", "tensorboardX", "tokenizers", "transformers", "pyarrow"),
}
EXPERIMENT = "experiments/arithmetic.py"

# Runs the command up to its first line, and prints this and what is loaded by then.
UP_TO_ITS_FIRST_LINE = """
import os, sys

class FirstLine:
    def write(self, text):
        loaded = {name.partition(".")[0] for name in sys.modules}
        os.write(real, "\\n".join([text.split("\\n")[0], *loaded]).encode())
        os._exit(0)

    def flush(self):
        pass

    isatty = lambda self: False
    encoding = "utf-8"

real = os.dup(1)
sys.stdout = sys.stderr = FirstLine()
from maspo_jax.cli.main import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    "words, begins",
    [
        (["train", EXPERIMENT], "loading JAX"),
        (["train", EXPERIMENT, "--help"], "loading JAX"),
        (["train", EXPERIMENT, "--no-such-option"], "loading JAX"),
        (["train", "--help"], "usage: maspo train"),
        (["train", "nowhere.py"], "error: no experiment file"),
        (["plan", EXPERIMENT, "--devices", "v5e:4x4"], "loading JAX"),
        (["plan", "--help"], "usage: maspo plan"),
        (["evaluate", "nowhere", "aime24=a.jsonl"], "loading JAX"),
        (["evaluate", "--help"], "usage: maspo evaluate"),
        (["evaluate", "nowhere", "a", "--samples", "0"], "error: --samples"),
        (["export", "nowhere", "--out", "new"], "loading JAX"),
        (["figures", "gates", "--out", "new"], "loading JAX"),
        (["compare", "--help"], "usage: maspo compare"),
        (["grade", "--help"], "usage: maspo grade"),
        (["data", "--help"], "usage: maspo data"),
    ],
    ids=" ".join,
)
def test_the_first_line_waits_for_nothing_heavy(words, begins):
    code = [sys.executable, "-c", UP_TO_ITS_FIRST_LINE, *words]
    shown = subprocess.check_output(code, text=True, cwd=ROOT)
    line, *loaded = shown.splitlines()
    assert line.startswith(begins)
    assert not set(loaded) & HEAVY


def test_training_loads_no_torch_and_leaves_it_to_others():
    """TensorBoard's writer takes it along where it is installed; others may want it."""
    script = """
import sys
import maspo_jax.learning.run
print("torch" in sys.modules)
import tensorboardX, torch
folder = sys.argv[1]
with tensorboardX.SummaryWriter(folder) as writer:
    writer.add_scalar("loss", torch.tensor(1.5), 1)
    writer.add_histogram("weights", torch.arange(4.0), 1)
"""
    pytest.importorskip("torch")
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-c", script, folder]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[0] == "False"
        assert list(pathlib.Path(folder).glob("events*"))
