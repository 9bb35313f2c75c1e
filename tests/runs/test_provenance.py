"""Where a run comes from is recorded; other code of one's own is not gone on with."""

import json
import subprocess
import sys

import pytest
from conftest import EXPERIMENTS, command

from maspo_jax.config import loading
from maspo_jax.runs import provenance

FILES = {
    "helpers.py": "SCALE = 2\n\n\ndef scaled(x):\n    return SCALE * x\n",
    "mine.py": '''"""A gate and a grader."""

import dataclasses

import helpers
import jax.numpy as jnp
from flax import struct
from helpers import scaled
from tiny import experiment as base

from maspo_jax.config import Grading, Objective

WIDTH = 0.5


def distance(log_ratio):
    return jnp.square(log_ratio / WIDTH)


class Base:
    def shift(self, x):
        return x


@struct.dataclass
class Mine(Base):
    """A gate."""

    def __call__(self, log_ratio, advantage, old_logprob):
        """Returns it."""
        return jnp.exp(-distance(self.shift(log_ratio)))


def own(response, gold):
    """Right or wrong."""
    return scaled(float(response.strip() == gold)) / helpers.scaled(1)


experiment = dataclasses.replace(
    base, objective=Objective(Mine()), grading=Grading(own), sft=None, steps=1
)
''',
}
GATE, GRADER = "mine:Mine", "mine:own"


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes the files, one of them changed; returns the path of the experiment."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # of files a moment old

    def write(name="mine.py", old="", new=""):
        for file, text in FILES.items():
            assert file != name or old in text
            changed = text.replace(old, new, 1) if file == name and old else text
            (tmp_path / file).write_text(changed)
        (tmp_path / "tiny.py").write_text((EXPERIMENTS / "tiny.py").read_text())
        return tmp_path / "mine.py"

    return write


def digests(path):
    return provenance.code(loading.load(path))


SAME = [
    ("mine.py", "        return x\n", "        # nothing\n\n        return x\n"),
    ("mine.py", '    """Right or wrong."""\n', '    """Says it."""\n'),
    ("mine.py", "jnp.square(log_ratio / WIDTH)", "jnp.square(log_ratio/WIDTH)"),
    ("mine.py", "steps=1", "steps=2"),
    ("helpers.py", "SCALE = 2\n", "SCALE = 2\nUNUSED = 3\n"),
]  # fmt: skip
OTHER = [
    ("mine.py", "WIDTH = 0.5", "WIDTH = 0.25", {GATE}),
    ("mine.py", "jnp.square", "jnp.abs", {GATE}),
    ("mine.py", "jnp.exp(-", "jnp.exp(-2 * ", {GATE}),
    ("mine.py", "        return x\n", "        return 2 * x\n", {GATE}),
    ("mine.py", "response.strip()", "response", {GRADER}),
    ("helpers.py", "SCALE = 2", "SCALE = 3", {GRADER}),
    ("helpers.py", "SCALE * x", "SCALE + x", {GRADER}),
    ("mine.py", "scaled(float", "abs(float", {GRADER}),
]


def test_what_is_recorded_is_ones_own_code_alone(written):
    assert digests(written()).keys() == {GATE, GRADER}
    assert provenance.code(loading.load(EXPERIMENTS / "tiny.py")) == {}


@pytest.mark.parametrize("name, old, new", SAME)
def test_words_about_code_do_not_count(written, name, old, new):
    before = digests(written())
    assert digests(written(name, old, new)) == before


@pytest.mark.parametrize("name, old, new, changed", OTHER)
def test_code_counts_wherever_it_is_written(written, name, old, new, changed):
    before = digests(written())
    after = digests(written(name, old, new))
    assert {each for each in before if before[each] != after[each]} == changed


def starts(folder):
    lines = (folder / provenance.FILE).read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_a_run_with_other_code_is_refused_or_gone_on_with_if_asked(written, tmp_path):
    run = tmp_path / "run"
    words = ("--run", run, "--steps")
    status, output = command(written(), *words, 1)
    assert status == 0, output
    config = (run / "config.json").read_text()
    changed = written("mine.py", "WIDTH = 0.5", "WIDTH = 0.25")
    status, output = command(changed, *words, 2)
    assert status == 2 and f"the code of {GATE} has changed" in output
    assert GRADER not in output and "--accept-code-changes" in output
    assert (run / "config.json").read_text() == config and len(starts(run)) == 1
    status, output = command(changed, "--accept-code-changes", *words, 2)
    assert status == 0, output
    first, second = starts(run)
    assert first["code"][GRADER] == second["code"][GRADER]
    assert first["code"][GATE] != second["code"][GATE]
    # What it goes on with counts from now on.
    status, output = command(written(), *words, 3)
    assert status == 2 and f"the code of {GATE} has changed" in output


def test_a_start_says_what_it_ran_on_and_what_has_changed_since(tmp_path):
    tiny = EXPERIMENTS / "tiny.py"
    words = (tiny, "--run", tmp_path / "run", "--sft", "off", "--steps")
    assert command(*words, 0)[0] == 0
    (first,) = starts(tmp_path / "run")
    assert first["versions"].keys() >= {"python", "jax", "maspo_jax", "optax"}
    assert first["devices"] == {"cpu": 8} and first["processes"] == 1
    assert [*first["experiment"]] == [str(tiny)] and first["code"] == {}
    first["versions"]["jax"] = "0.0.1"
    first["devices"] = {"TPU v5": 4}
    (tmp_path / "run" / provenance.FILE).write_text(json.dumps(first) + "\n")
    status, output = command(*words, 1)
    assert status == 0, output
    said = "other than when it was started before: "
    assert f"{said}jax 0.0.1 before" in output
    assert f"{said}TPU v5 4 before, absent now" in output
    assert len(starts(tmp_path / "run")) == 2


def test_a_repository_says_its_commit_and_whether_it_is_clean(tmp_path):
    assert provenance.git(tmp_path / "none") is None
    run = lambda *words: subprocess.run(["git", *words], cwd=tmp_path, check=True)
    run("init", "-q")
    (tmp_path / "a").write_text("1")
    run("add", "a")
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    run(*who, "commit", "-qm", "first")
    found = provenance.git(tmp_path)
    assert len(found["commit"]) == 40 and found["clean"]
    (tmp_path / "a").write_text("2")
    assert not provenance.git(tmp_path)["clean"]
