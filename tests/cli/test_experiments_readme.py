"""The walk through adding a method is run as it is printed."""

import dataclasses
import importlib
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
from support.members import random_batch
from support.settings import validate

from maspo_jax.config import loading
from maspo_jax.objectives import advantages, kl, terms
from maspo_jax.objectives.advantages import PromptStats

FOLDER = pathlib.Path(__file__).parents[2] / "experiments"
MORE = ("likelihood", "discounted", "above_last_visit")
NAMES = ("arithmetic", "log_gaussian", "my_method", "with_terms", *MORE)
WITH_TERMS = """
import dataclasses
from likelihood import Likelihood
from my_method import experiment
from maspo_jax.objectives import kl

terms = (Likelihood(), kl.Penalty(0.001, kl.k3))
objective = dataclasses.replace(experiment.objective, terms=terms)
experiment = dataclasses.replace(experiment, objective=objective)
"""


@pytest.fixture
def printed(tmp_path, monkeypatch):
    """The files of the walk, in a folder with the experiment they build on."""
    text = (FOLDER / "README.md").read_text()
    method, row, experiment, *more = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "row.txt").write_text(row)
    (tmp_path / "log_gaussian.py").write_text(method)
    (tmp_path / "my_method.py").write_text(experiment)
    for name, example in zip(MORE, more, strict=True):
        (tmp_path / f"{name}.py").write_text(example)
    shutil.copy(FOLDER / "arithmetic.py", tmp_path)
    for name in NAMES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in NAMES:
        sys.modules.pop(name, None)


def test_the_example_is_a_method(printed):
    words = ["--objective.gate.width", "0.3"]
    experiment = loading.load(printed / "my_method.py", words)
    validate(experiment, 1)
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
    with pytest.raises(ValueError, match="objective.gate.width=0.0"):
        validate(experiment, 1)


def with_parts(printed, **parts):
    """The experiment of the walk, with other parts of its objective."""
    experiment = loading.load(printed / "my_method.py")
    objective = dataclasses.replace(experiment.objective, **parts)
    return dataclasses.replace(experiment, objective=objective)


def test_the_example_of_a_term_is_a_term(printed):
    mine = importlib.import_module("likelihood").Likelihood()
    (printed / "with_terms.py").write_text(WITH_TERMS)
    words = ["--objective.terms.0.coefficient", "0.05"]
    changed = loading.load(printed / "with_terms.py", words)
    validate(changed, 1)
    assert changed.objective.terms[0] == mine.replace(coefficient=0.05)
    assert changed.objective.terms[1] == kl.Penalty(0.001, kl.k3)
    assert changed.objective.needs == {"reference_logprob"}
    batch, logprob = random_batch()
    slope = jax.grad(terms.loss)(logprob, -logprob, batch, (mine,))
    expected = np.where(batch.advantage > 0, -0.1 * batch.weight, 0)
    np.testing.assert_allclose(slope, expected, rtol=1e-6)


def test_its_coefficient_is_checked_like_any_other(printed):
    mine = importlib.import_module("likelihood").Likelihood(-1.0)
    with pytest.raises(ValueError, match="objective.terms.0.coefficient=-1.0"):
        validate(with_parts(printed, terms=(mine,)), 1)


def test_the_example_of_an_advantage_gives_each_token_its_own(printed):
    discounted = importlib.import_module("discounted").discounted
    validate(with_parts(printed, advantage=discounted), 1)
    mask = np.array([[True] * 3, [True, False, False]])
    found = discounted(jnp.array([[1.0, 0.0]]), mask)
    expected = 0.5 * np.array([[0.99**2, 0.99, 1], [-1, 0, 0]])
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_example_that_remembers_is_given_what_it_left(printed):
    mine = importlib.import_module("above_last_visit").above_last_visit
    experiment = with_parts(printed, advantage=mine)
    validate(experiment, 1)
    assert experiment.objective.needs == {"prompt_stats"}
    compare = jax.jit(advantages.with_stats(mine))
    mask, stats = np.ones((4, 2), bool), PromptStats(*jnp.zeros((3, 2)))
    first, stats = compare(jnp.array([[1.0, 0], [1, 1]]), mask, stats)
    second, stats = compare(jnp.array([[1.0, 1], [1, 1]]), mask, stats)
    np.testing.assert_array_equal(first[:, 0], [1, 0, 1, 1])
    np.testing.assert_array_equal(second[:, 0], [0.5, 0.5, 0, 0])
    np.testing.assert_array_equal(stats.visits, [2, 2])


def test_every_link_leads_somewhere():
    text = (FOLDER / "README.md").read_text()
    for target in re.findall(r"\]\((\.\./[^)#]+)", text):
        assert (FOLDER / target).exists(), target
