"""Compiled programs are kept for later processes, and never stand in a run's way."""

import os
import re
import subprocess
import sys
import zlib

import jax
import pytest
from conftest import ROOT, TINY, command, run

from maspo_jax.cli import evaluate
from maspo_jax.runs import compilation_cache

PROGRAM = """
import sys
import jax
from maspo_jax.runs import compilation_cache
from maspo_jax.runs.display import Display

compilation_cache.enable(*sys.argv[1:])
with Display() as display, compilation_cache.reported(display):
    for power in range(2, 5):
        print(jax.jit(lambda x: x**power)(3.0))
"""
RESULTS = ["9.0", "27.0", "81.0"]


def start(home, *words, **variables):
    """Starts a process that compiles, with a folder for the caches of its user."""
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(ROOT),
        "XDG_CACHE_HOME": str(home),
        **variables,
    }
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM, *map(str, words)],
        cwd=home.parent,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finished(process):
    """Returns programs compiled, programs read, and what was said besides."""
    text = process.communicate(timeout=120)[0]
    assert process.returncode == 0, text
    *lines, last = text.splitlines()
    assert [line for line in lines if line in RESULTS] == RESULTS
    total, compiled, read = map(int, re.findall(r"(\d+)(?= prog| comp| read)", last))
    assert total == compiled + read
    return compiled, read, [line for line in lines if line not in RESULTS]


def entries(folder):
    return sorted(folder.glob("*-cache"))


def test_two_processes_at_once_compile_what_a_third_reads(tmp_path):
    home = tmp_path / "caches"
    folder = home / "maspo_jax" / "jax" / "cpu"
    for process in [start(home), start(home)]:
        compiled, read, said = finished(process)
        assert said[0] == f"compiled programs are kept in {folder}"
        assert compiled + read >= len(RESULTS)
    assert folder.stat().st_mode & 0o777 == 0o700
    total = compiled + read
    assert len(entries(folder)) == total
    assert finished(start(home)) == (0, total, said[:1])


@pytest.mark.parametrize(
    "word, variables",
    [
        ("none", {}),
        ("off", {"JAX_COMPILATION_CACHE_DIR": "elsewhere"}),
        ("", {"JAX_COMPILATION_CACHE_DIR": "none"}),
        ("folder", {"JAX_ENABLE_COMPILATION_CACHE": "false"}),
    ],
)
def test_it_is_turned_off(tmp_path, word, variables):
    compiled, read, said = finished(start(tmp_path / "caches", word, **variables))
    assert compiled and not read
    assert said == ["compiled programs are not kept"]
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("where", ["user", "option", "variable"])
def test_a_folder_that_cannot_be_written_is_gone_on_without(tmp_path, where):
    file = tmp_path / "file"
    file.write_text("no folder")
    variables = {"JAX_COMPILATION_CACHE_DIR": str(file)} if where == "variable" else {}
    words = [file] if where == "option" else []
    home = file if where == "user" else tmp_path / "caches"
    compiled, read, said = finished(start(home, *words, **variables))
    assert compiled and not read
    warning, kept = said
    assert f"{file}" in warning and "--compilation-cache" in warning
    assert kept == "compiled programs are not kept"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: data[:-9] + bytes(9),
        lambda data: zlib.compress(b"no program"),
    ],
    ids=["cut off", "empty", "overwritten", "of something else"],
)
def test_a_damaged_entry_is_said_and_replaced(tmp_path, spoil):
    folder = tmp_path / "programs"
    total, _, said = finished(start(tmp_path / "caches", folder))
    assert said == [f"compiled programs are kept in {folder}"]
    for entry in entries(folder):
        entry.write_bytes(spoil(entry.read_bytes()))
    compiled, read, said = finished(start(tmp_path / "caches", folder))
    assert compiled == total and not read
    names = {
        entry.name.rpartition("-")[0].rpartition("-")[0] for entry in entries(folder)
    }
    assert {line.split()[1] for line in said[1:]} == names
    assert all("cannot be read" in line for line in said[1:])
    assert finished(start(tmp_path / "caches", folder))[:2] == (0, total)


def test_a_full_disk_is_said_once(tmp_path):
    folder = tmp_path / "programs"
    limit = "import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (99, r.RLIM_INFINITY))"
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", limit + PROGRAM, folder],
        env=os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout.count("is not kept in the compilation cache") == 1
    assert not process.stderr


@pytest.fixture
def unconfigured(monkeypatch, tmp_path):
    """The folder of the user, while JAX has not been told of another."""
    names = "jax_compilation_cache_dir", "jax_enable_compilation_cache"
    before = {name: getattr(jax.config, name) for name in names}
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    yield tmp_path / "caches" / "maspo_jax" / "jax" / "cpu"
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.mark.parametrize("home", ["relative", ""])
def test_a_home_of_caches_that_is_no_absolute_path_is_not_one(home, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", home)
    monkeypatch.setenv("HOME", "/somebody")
    assert compilation_cache.user_folder() == "/somebody/.cache/maspo_jax/jax/cpu"


def test_a_folder_that_jax_was_told_stays(tmp_path):
    told = jax.config.jax_compilation_cache_dir
    compilation_cache.enable(str(tmp_path / "another"))
    assert jax.config.jax_compilation_cache_dir == told
    assert not [*tmp_path.iterdir()]


def test_training_keeps_its_programs_for_the_user(unconfigured, tmp_path):
    words = (TINY, "--steps", 1, "--sft", "off", "--run", tmp_path / "run")
    status, output = command(*words)
    assert status == 0, output
    assert f"compiled programs are kept in {unconfigured}" in output
    assert re.search(r"^\d+ programs: \d+ compiled, \d+ read ", output, re.M)
    assert jax.config.jax_compilation_cache_dir == str(unconfigured)


def test_training_keeps_them_in_the_folder_that_is_named(unconfigured, tmp_path):
    named = tmp_path / "named"
    words = (TINY, "--steps", 1, "--sft", "off", "--run", tmp_path / "run")
    status, output = command(*words, "--compilation-cache", named)
    assert status == 0, output
    assert f"compiled programs are kept in {named}" in output
    assert not unconfigured.exists()


@pytest.mark.parametrize("named", [True, False])
def test_so_does_an_evaluation(unconfigured, tiny_run, chain_files, tmp_path, named):
    jax.config.update("jax_compilation_cache_dir", None)  # of training `tiny_run`
    folder = tmp_path / "named" if named else unconfigured
    words = (tiny_run, chain_files[0], "--samples", 1, "--out", tmp_path / "out")
    words += ("--compilation-cache", folder) if named else ()
    status, output = run(evaluate, *words)
    assert status == 0, output
    assert f"compiled programs are kept in {folder}" in output
    assert jax.config.jax_compilation_cache_dir == str(folder)
