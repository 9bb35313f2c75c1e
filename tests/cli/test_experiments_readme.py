"""The walk through adding a method is run as it is printed."""

import pathlib
import re
import shutil
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import test_gate_nature
from laws.test_gate_nature import Nature

from maspo_jax.config import loading, validation

FOLDER = pathlib.Path(__file__).parents[2] / "experiments"


@pytest.fixture
def printed(tmp_path, monkeypatch):
    """The files of the walk, in a folder with the experiment they build on."""
    text = (FOLDER / "README.md").read_text()
    method, row, experiment = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "row.txt").write_text(row)
    (tmp_path / "log_gaussian.py").write_text(method)
    (tmp_path / "my_method.py").write_text(experiment)
    shutil.copy(FOLDER / "arithmetic.py", tmp_path)
    monkeypatch.delitem(sys.modules, "arithmetic", raising=False)
    monkeypatch.delitem(sys.modules, "log_gaussian", raising=False)
    yield tmp_path
    sys.modules.pop("arithmetic", None)
    sys.modules.pop("log_gaussian", None)


def test_the_example_is_a_method(printed):
    words = ["--objective.gate.width", "0.3"]
    experiment = loading.load(printed / "my_method.py", words)
    validation.validate(experiment, 1)
    gate = experiment.objective.gate
    assert gate.width == 0.3
    log_ratio = jnp.array([0.0, 0.3, -0.3])
    value = jax.jit(gate)(log_ratio, jnp.ones(3), -jnp.ones(3))
    np.testing.assert_allclose(value, [1, np.exp(-0.5), 1], rtol=1e-6)


def test_its_row_holds(printed):
    experiment = loading.load(printed / "my_method.py")
    known = {"LogGaussian": type(experiment.objective.gate), "Nature": Nature}
    nature = eval((printed / "row.txt").read_text(), known)
    assert isinstance(nature, Nature)
    for law in (
        test_gate_nature.test_continuity,
        test_gate_nature.test_boundedness,
        test_gate_nature.test_the_push_on_vanishing_tokens,
        test_gate_nature.test_against_the_advantage,
    ):
        law(nature)
    for q in test_gate_nature.Q:
        test_gate_nature.test_only_gates_with_an_unbounded_push_open_on_the_way(
            nature, q
        )


def test_its_settings_are_checked_like_any_other(printed):
    experiment = loading.load(printed / "my_method.py", ["--objective.gate.width", "0"])
    with pytest.raises(ValueError, match="LogGaussian.width=0.0"):
        validation.validate(experiment, 1)


def test_every_link_leads_somewhere():
    text = (FOLDER / "README.md").read_text()
    for target in re.findall(r"\]\((\.\./[^)]+)\)", text):
        assert (FOLDER / target).exists(), target
