"""Ctrl-C ends every command in one line, without a traceback."""

import dataclasses
import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest
from conftest import ROOT, TINY
from support.processes import LIMIT, wait_for

from maspo_jax.cli.console import command, signals_end_at_once
from maspo_jax.runs.display import Display
from maspo_jax.runs.interrupts import Interrupts

COMMANDS = {
    "figures gates": ["-m", "maspo_jax", "figures", "gates", "--out", "OUT"],
    "train": ["-m", "maspo_jax", "train", TINY, "--run", "OUT"],
    "evaluate": ["-m", "maspo_jax", "evaluate", "OUT", "a=b"],
    "export": ["-m", "maspo_jax", "export", "OUT", "--out", "OUT/new"],
    "bandit": ["experiments/bandit.py", "--out", "OUT"],
}


def start(words, folder):
    """Starts a command as a terminal does: all that it starts gets its signals."""
    return subprocess.Popen(
        [sys.executable, *(word.replace("OUT", str(folder)) for word in words)],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def ended(process, number):
    """Sends a signal to all of a command. Returns what it still prints."""
    os.killpg(process.pid, number)
    output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == -number  # 130 for a shell
    return output.splitlines()


def handles(process, number):
    """Returns whether a process has a handler for a signal that ends others."""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    (caught,) = re.findall(r"SigCgt:\s*(\w+)", status)
    return int(caught, 16) >> number - 1 & 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_signal_ends_a_command_in_a_line(tmp_path, name, number):
    process = start(COMMANDS[name], tmp_path)
    assert "loading JAX" in process.stdout.readline()
    assert ended(process, number) == [f"stopped by {number.name}"]


def test_while_it_waits_for_a_response(tmp_path):
    process = start(["-m", "maspo_jax", "grade", "2"], tmp_path)
    wait_for(lambda: handles(process, signal.SIGTERM), process)
    assert ended(process, signal.SIGINT) == ["stopped by SIGINT"]


def test_while_a_picture_is_drawn(tmp_path):
    process = start(COMMANDS["figures gates"], tmp_path)
    while "drawing" not in process.stdout.readline():
        assert process.poll() is None
    *_, last = ended(process, signal.SIGINT)
    assert last == "stopped by SIGINT"


def test_while_the_command_is_loaded(tmp_path):
    """Before it has printed anything: the handlers come first."""
    code = (
        "import os, signal, time\n"
        "from maspo_jax.cli import main\n"
        "main.importlib.import_module = "
        "lambda name: os.kill(os.getpid(), signal.SIGINT) or time.sleep(9)\n"
        "main.main(['figures'])\n"
    )
    process = start(["-c", code], tmp_path)
    output, _ = process.communicate(timeout=LIMIT)
    assert (process.returncode, output) == (-signal.SIGINT, "stopped by SIGINT\n")


def test_while_a_run_notes_them_nobody_else_hears_of_them():
    """Who hears of one late, when the run is over, would end the process by it."""

    def watched():
        place = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(place)
        return place >= 0

    with signals_end_at_once(), Display(quiet=True) as display:
        assert watched()
        with Interrupts(display) as interrupts:
            assert not watched()
            signal.raise_signal(signal.SIGTERM)
        assert interrupts.requested == signal.SIGTERM
        assert watched()


def test_a_command_that_is_called_from_python_leaves_signals_to_its_caller():
    found = []

    @dataclasses.dataclass
    class Look:
        def run(self):
            found.extend(map(signal.getsignal, (signal.SIGINT, signal.SIGTERM)))

    before = [*map(signal.getsignal, (signal.SIGINT, signal.SIGTERM))]
    assert command(Look)([]) == 0
    assert found == before
