"""The package's own faults: the list cannot rot, and the tests notice what is in it."""

import ast
import collections
import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT
from support import faults
from support.faults import planting

FAULTS = faults.everything()
REVIEWED = {"F1", "F2", "F3", "F4", "F5", "F6", "F7", "F8", "F9", "F12"}
every_fault = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)


def test_there_are_faults_enough_and_those_of_the_review_are_among_them():
    assert len(FAULTS) >= 64
    assert {fault.review for fault in FAULTS if fault.review} == REVIEWED
    for each in ("name", "review"):
        counts = collections.Counter(getattr(f, each) for f in FAULTS)
        assert [name for name, count in counts.items() if name and count > 1] == []


@every_fault
def test_a_fault_is_of_the_present_code_and_another_program_that_runs(fault):
    text = (ROOT / "maspo_jax" / fault.file).read_text("utf-8")
    tree = ast.parse(planting.spoiled(fault, text))
    assert ast.dump(tree) != ast.dump(ast.parse(text))


@every_fault
def test_the_tests_of_a_fault_are_there(fault):
    assert fault.tests
    for test in fault.tests:
        file, _, name = test.partition("::")
        text = (ROOT / "tests" / file).read_text("utf-8")
        name = name.partition("[")[0]
        assert not name or re.search(rf"^def {name}\(", text, re.MULTILINE), name


def test_a_fault_is_taken_back(tmp_path):
    package = tmp_path / "maspo_jax"
    package.mkdir()
    file = package / "module.py"
    file.write_text("x = 1\n", "utf-8")
    before = file.stat()
    fault = faults.Fault("two", "module.py", "x = 1", "x = 2", ("test_module.py",))
    with planting.planted(fault, tmp_path):
        assert file.read_text("utf-8") == "x = 2\n"
    assert file.read_text("utf-8") == "x = 1\n"
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    for text in ("y = 1\n", "x = 1\nx = 1\n"):
        with pytest.raises(ValueError, match="expected once"):
            planting.spoiled(fault, text)


TRIED = """
import sys
from support.faults import planting
for test in sys.argv[2:]:
    limit = 5 if "hangs" in test else 60
    outcome = planting.run_tests(sys.argv[1], [test], limit)
    print(outcome.noticed, outcome.by)
"""
BODIES = {
    "passes": "assert True",
    "fails": "assert False",
    "breaks": "import nothing_of_this_name",
    "hangs": "import time; time.sleep(60)",
}


def test_only_a_test_that_fails_notices(tmp_path):
    (tmp_path / "tests").mkdir()
    for name, body in BODIES.items():
        text = f"def test_{name}():\n    {body}\n"
        (tmp_path / "tests" / f"test_{name}.py").write_text(text)
    (tmp_path / "tests" / "test_none.py").write_text("import nothing_of_this_name")
    tests = [f"test_{name}.py" for name in (*BODIES, "none", "missing")]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run(
        [sys.executable, "-c", TRIED, tmp_path, *tests],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "False NOT NOTICED",
        "True tests/test_fails.py::test_fails",
        "True tests/test_breaks.py::test_breaks",
        "False NOT NOTICED: 5 s",
        *["False NOT NOTICED: pytest ended otherwise"] * 2,
    ]


@pytest.mark.slow
def test_the_tests_notice_what_is_planted(tmp_path):
    script = ROOT / "experiments" / "benchmarks" / "planted_faults.py"
    command = [sys.executable, script, "--out", tmp_path / "table.md"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
