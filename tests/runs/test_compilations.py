"""The programs of a run: named, timed, bounded, and none compiled twice."""

import collections
import json
import os
import re
import subprocess
import sys

import jax
import numpy as np
import pytest
from conftest import ROOT, TINY
from support.processes import files_of_at_most

from maspo_jax.runs import programs, run_folder
from maspo_jax.runs.programs import Program, compilations
from maspo_jax.storage import WriteError

# A log of what is compiled, with its shapes, also where it is read from the cache.
COMPILING = re.compile(r"Compiling jit\((\S+)\) with global shapes and types (.*)")
DYNAMIC = ROOT / "tests" / "experiments" / "tiny_all.py"
STEPS = ("--steps", "7", "--sampling.wave", "4")


def rows_in(folder):
    return [*map(json.loads, (folder / programs.FILE).read_text().splitlines())]


def compiled_by(folder, experiment, *words):
    """Returns the (name, shapes) of all that a run in a process of its own compiles."""
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_LOG_COMPILES": "1",
        "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".cache" / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "maspo_jax", "train", experiment, "--run", folder]
    run = subprocess.run(
        [*map(str, command), *words], env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr
    found = collections.Counter(COMPILING.findall(run.stderr))
    # What the record names is what was compiled, in whatever order threads end.
    written = collections.Counter(each["name"] for each in rows_in(folder))
    assert written and written <= names_of(found)
    return found


def names_of(found):
    return collections.Counter(name for name, _ in found)


@pytest.mark.slow
@pytest.mark.parametrize("experiment, sizes", [(TINY, 1), (DYNAMIC, 3)])
def test_no_program_is_compiled_twice_and_later_steps_compile_none(
    tmp_path, experiment, sizes
):
    found = compiled_by(tmp_path / "run", experiment, *STEPS)
    assert [program for program, times in found.items() if times > 1] == []
    names = names_of(found)
    assert names.pop("update") == 2  # supervised, and of reinforcement learning
    # Dynamic sampling draws P, P / 2 or P / 4 again, and picks from what it has.
    assert names.pop("sample") <= sizes
    assert names.pop("_merge", 0) <= sizes and names.pop("_join", 0) <= sizes
    assert names.pop("_folded") <= 3  # keys of one count, of two, and of three
    assert names.pop("<lambda>") <= 3  # the advantage, tried on small batches
    assert set(names.values()) == {1} and len(names) <= 8
    lines = run_folder.read_metrics(tmp_path / "run", "reinforcement")
    done = [line["time/programs_compiled"] for line in lines]
    assert done[-1] <= len(found)
    if sizes == 1:
        assert done[2] == done[-1]


def test_every_program_is_named_and_timed():
    begin = compilations().finished
    exec("def unheard_of(x): return x * 3", namespace := {})
    jax.jit(namespace["unheard_of"])(np.ones(3))
    (program,) = compilations().since(begin)
    assert program.name == "unheard_of" and program.seconds > 0


def test_a_program_that_is_read_is_told_from_one_that_is_compiled():
    """JAX says of a hit within the same program, in the same thread."""
    log = programs.Compilations()
    done = "/jax/core/compile/backend_compile_duration"
    log._note_read("/jax/compilation_cache/cache_hits")
    log._note(done, 1.0, fun_name="jit(first)")
    log._note(done, 2.0, fun_name="jit(second)")
    assert log.programs == [Program("first", 1.0, True), Program("second", 2.0, False)]


def test_a_line_names_the_slowest():
    seconds = {"a": 1.0, "b": 20.26, "c": 3.0, "d": 2.0}
    found = [Program(name, spent, name == "c") for name, spent in seconds.items()]
    assert programs.describe(found) == (
        "4 programs: 3 compiled, 1 read from the compilation cache (26.3 s, threads "
        "added up; the longest: b 20.3, c 3.0, d 2.0)"
    )
    assert programs.describe([]).endswith("(0.0 s, threads added up)")


def test_each_start_adds_its_programs(tmp_path):
    first, second = Program("update", 1.5, False), Program("update", 0.1, True)
    programs.write(tmp_path, [first])
    programs.write(tmp_path, [second])
    rows = rows_in(tmp_path)
    assert [Program(**row) for row in rows] == [first, second]


def test_a_record_that_cannot_be_written_is_said_and_ends_nothing(tmp_path):
    said, begin = [], compilations().finished
    jax.jit(lambda x: x * 7)(np.ones(5))  # else its entry in the cache is cut off
    with files_of_at_most(0):
        with pytest.raises(WriteError):
            programs.write(tmp_path, [Program("update", 1.0, False)])
        with programs.recorded(tmp_path, begin, said.append):
            pass
    assert said[0].startswith(f"warning: {tmp_path / programs.FILE} could not be")


def test_what_a_run_has_compiled_is_kept_however_it_ends(tmp_path):
    begin = compilations().finished
    with pytest.raises(KeyboardInterrupt):
        with programs.recorded(tmp_path, begin, pytest.fail):
            jax.jit(lambda x: x * 11)(np.ones(6))
            raise KeyboardInterrupt
    (row,) = rows_in(tmp_path)
    assert Program(**row) == compilations().since(begin)[0]
