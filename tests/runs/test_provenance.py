"""Where a run comes from is recorded; other code of one's own is not gone on with."""

import json
import subprocess
import sys

import pytest
from conftest import EXPERIMENTS, command
from support.processes import files_of_at_most

from maspo_jax.config import loading
from maspo_jax.runs import provenance
from maspo_jax.storage import WriteError

FILES = {
    "helpers.py": "SCALE = 2\nUNIT = 1\n\n\ndef scaled(x):\n    return SCALE * x\n",
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


def unit():
    return (lambda: (lambda: helpers.UNIT)())()


def own(response, gold):
    """Right or wrong."""
    return scaled(float(response.strip() == gold)) / unit()


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
    ("helpers.py", "UNIT = 1", "UNIT = 2", {GRADER}),
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


@pytest.fixture
def repository(tmp_path):
    """A repository that tracks one file, `a`."""
    run = lambda *words: subprocess.run(["git", *words], cwd=tmp_path, check=True)
    run("init", "-q")
    (tmp_path / "a").write_text("1")
    run("add", "a")
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    run(*who, "commit", "-qm", "first")
    return tmp_path


def test_a_repository_says_its_commit_and_whether_it_is_clean(repository):
    assert provenance.git(repository / "none") is None
    found = provenance.git(repository)
    assert len(found["commit"]) == 40 and found["clean"] is True
    (repository / "a").write_text("2")
    assert provenance.git(repository)["clean"] is False


def test_one_that_does_not_say_in_time_is_not_said_to_have_changed(
    repository, monkeypatch
):
    ask = subprocess.run

    def slow(words, **settings):
        if "status" in words:
            raise subprocess.TimeoutExpired(words, settings["timeout"])
        return ask(words, **settings)

    known = provenance.git(repository)
    monkeypatch.setattr(subprocess, "run", slow)
    assert provenance.git(repository) == known | {"clean": None}


def test_the_repository_of_a_user_is_not_that_of_the_package(repository, monkeypatch):
    installed = repository / "venv" / "provenance.py"
    installed.parent.mkdir()
    installed.write_text("")
    assert provenance.git(repository, "a") == provenance.git(installed.parent)
    monkeypatch.setattr(provenance, "__file__", str(installed))
    assert provenance.start(None)["package_git"] is None


def started(jax):
    return {"versions": {"jax": jax}, "devices": {}, "package_git": None}


def test_a_start_is_compared_with_the_one_before_it(tmp_path):
    said = [provenance.write(tmp_path, started(jax)) for jax in "122"]
    assert said[0] == said[2] == []
    (line,) = said[1]
    assert line.endswith("before: jax 1 before, 2 now")


@pytest.mark.parametrize("rest", ['{"time": "20', "\x00\x00\n", "3\n", "\n"])
def test_a_damaged_line_is_said_once_and_blocks_nothing(tmp_path, rest):
    file = tmp_path / provenance.FILE
    provenance.write(tmp_path, started("1"))
    with file.open("a") as opened:
        opened.write(rest)
    changed, damaged = provenance.write(tmp_path, started("2"))
    assert changed.endswith("jax 1 before, 2 now")
    assert damaged.startswith(f"{file}: line 2 is damaged")
    assert json.loads(file.read_text().splitlines()[-1]) == started("2")
    assert file.read_text().splitlines()[1] == rest.rstrip("\n")
    assert provenance.write(tmp_path, started("2")) == []


def test_a_record_that_holds_no_start_at_all_is_begun_anew(tmp_path):
    (tmp_path / provenance.FILE).write_text("{")
    (line,) = provenance.write(tmp_path, started("1"))
    assert "line 1 is damaged" in line
    assert provenance.write(tmp_path, started("1")) == []


def test_a_full_disk_at_the_record_of_starts_is_said_and_leaves_it_whole(tmp_path):
    file = tmp_path / provenance.FILE
    provenance.write(tmp_path, started("1"))
    before = file.read_bytes()
    with files_of_at_most(len(before) + 10):
        with pytest.raises(WriteError, match=f"{file} could not be written: File too"):
            provenance.write(tmp_path, started("2"))
    assert file.read_bytes() == before
