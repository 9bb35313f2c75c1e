"""A file becomes an experiment: what it defines is found again, and hides nothing."""

import json
import random
import sys

import pytest
from conftest import EXPERIMENTS
from support.settings import validate

from maspo_jax.config import loading, serialization

BASE = f"""
import dataclasses, sys
sys.path.insert(0, {str(EXPERIMENTS)!r})
from tiny import experiment
del sys.path[0]
from maspo_jax.config import Grading
"""
GRADER = """
def exact(response, gold):
    return response.strip() == gold

experiment = dataclasses.replace(experiment, grading=Grading(exact))
"""


@pytest.fixture(autouse=True)
def modules(monkeypatch):
    """What is imported here is forgotten afterwards."""
    before = dict(sys.modules)
    yield
    for name in sys.modules.keys() - before.keys():
        del sys.modules[name]
    sys.modules.update(before)


@pytest.fixture
def write_experiment(tmp_path):
    """Writes a file of a folder, and returns its path."""

    def write(name, text, folder="one"):
        (tmp_path / folder).mkdir(exist_ok=True)
        path = tmp_path / folder / name
        path.write_text(text)
        return path

    return write


def recorded(experiment):
    """An experiment after it has been through a record."""
    return serialization.from_json(
        json.loads(json.dumps(serialization.to_json(experiment)))
    )


def test_what_a_file_defines_is_found_again(write_experiment):
    path = write_experiment("mine_alone.py", BASE + GRADER)
    experiment, again = loading.load(path), loading.load(path, ["--seed", 3])
    assert recorded(again) == again
    record = serialization.to_json(experiment)  # and so is that of the first time
    assert record["grading"]["grader"] == {"function": "mine_alone:exact"}
    validate(experiment, 1)


def test_what_two_files_call_the_same_is_not_taken_for_each_other(write_experiment):
    first = loading.load(write_experiment("mine_alone.py", BASE + GRADER))
    other = write_experiment("mine_alone.py", BASE + GRADER, folder="two")
    second = loading.load(other)
    assert recorded(second) == second
    with pytest.raises(ValueError, match="mine_alone:exact .*one/mine_alone.py, but"):
        serialization.to_json(first)


def test_modules_beside_a_file_are_those_of_its_folder_and_of_today(write_experiment):
    text = f"{BASE}import amount\n"
    text += "experiment = dataclasses.replace(experiment, steps=amount.N)\n"
    for folder, number in (("one", 3), ("two", 4)):
        write_experiment("amount.py", f"N = {number}", folder)
        experiment = loading.load(write_experiment("mine_alone.py", text, folder))
        assert experiment.steps == number
    write_experiment("amount.py", "N = 17 - 4", "two")
    assert loading.load(write_experiment("mine_alone.py", text, "two")).steps == 13


@pytest.mark.parametrize("name", ["random.py", "fractions.py"])
def test_no_name_hides_a_module(write_experiment, name):
    """While it loads and after, imported before or not."""
    imports = "import random, fractions\nassert random.random and fractions.Fraction\n"
    sys.modules.pop("fractions", None)
    path = write_experiment(name, imports + BASE + GRADER)
    assert recorded(loading.load(path)).grading.grader.__name__ == "exact"
    assert sys.modules["random"] is random
    assert sys.modules["fractions"].Fraction


def test_nothing_is_left_on_the_path(write_experiment):
    before = [*sys.path]
    loading.load(write_experiment("mine_alone.py", BASE))
    broken = write_experiment("broken_alone.py", BASE + "1 / 0")
    with pytest.raises(ValueError):
        loading.load(broken)
    assert sys.path == before and "broken_alone" not in sys.modules


@pytest.mark.parametrize(
    "last, message",
    [
        ("helper.fail()", "does not run: KeyError in line 7: 'nothing'"),
        ("1 / 0", "does not run: ZeroDivisionError in line 7: division by zero"),
        ("int('x')", "bad_alone.py, line 7: invalid literal for int"),
        ("helper.refuse()", "bad_alone.py, line 7: no such setting"),
        ("open('/nowhere')", "bad_alone.py, line 7: .*No such file"),
        ("import unread", "does not run: SyntaxError in line 7: .*unread.py, line 3"),
        ("x = (", r"does not run: SyntaxError in line 7: '\(' was never closed"),
    ],
)
def test_a_fault_has_the_line_of_the_experiment(write_experiment, last, message):
    """Not that of the file it called."""
    helper = "\n" * 40 + "def fail():\n    {}['nothing']\n"
    helper += "def refuse():\n    raise ValueError('no such setting')\n"
    write_experiment("helper.py", helper)
    write_experiment("unread.py", "\n\nx = = 1")
    path = write_experiment("bad_alone.py", f"\n\n\n\n\nimport helper\n{last}\n")
    with pytest.raises(ValueError, match=message) as caught:
        loading.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["correction", "rejection", "overlong-penalty"])
@pytest.mark.parametrize("word", ["off", "none"])
def test_a_part_that_may_be_none_can_be_left_out(name, word):
    path = EXPERIMENTS / "tiny_all.py"
    field = name.replace("-", "_")
    assert getattr(loading.load(path).objective, field) is not None
    changed = loading.load(path, [f"--objective.{name}", word])
    assert getattr(changed.objective, field) is None


def test_a_gate_cannot_be_left_out():
    with pytest.raises(ValueError, match="--objective.gate off: choose one of Aspo"):
        loading.load(EXPERIMENTS / "tiny.py", ["--objective.gate", "off"])


@pytest.mark.parametrize(
    "option, value", [("compute-dtype", "bfloat16"), ("remat", "dots")]
)
def test_a_word_may_be_chosen_where_the_default_is_none(option, value):
    """`compute_dtype` is None unless it is given: no part that only a file chooses."""
    words = [f"--policy.{option}", value]
    experiment = loading.load(EXPERIMENTS / "tiny.py", words)
    assert getattr(experiment.policy, option.replace("-", "_")) == value
    with pytest.raises(ValueError, match="float16|minimal"):
        wrong = "float16" if "dtype" in option else "minimal"
        loading.load(EXPERIMENTS / "tiny.py", [words[0], wrong])
