"""The documents: links lead somewhere, and names are those of the code."""

import ast
import dataclasses
import importlib
import re
import typing

import pytest
from conftest import ROOT

from maspo_jax import config
from maspo_jax.config import serialization
from maspo_jax.data import sources
from maspo_jax.objectives import (
    advantages,
    correction,
    gates,
    kl,
    terms,
    token_weights,
)
from maspo_jax.reports import metric_names

PAGES = ("README.md", "docs/guide.md", "docs/metrics.md", "experiments/README.md")
NAMES = {
    "advantages": advantages,
    "config": config,
    "gates": gates,
    "kl": kl,
    "terms": terms,
    "token_weights": token_weights,
}
KNOWN = [*NAMES.values(), correction, sources]
GUIDE = (ROOT / "docs" / "guide.md").read_text()


def anchors(path):
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


def rows(head):
    """The rows of the table of the guide whose head begins so."""
    lines = GUIDE.split(f"\n| {head}", 1)[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    path = ROOT / page
    links = re.findall(r"\]\(([^)]+)\)", path.read_text())
    for target in links:
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        place = (path.parent / file).resolve() if file else path
        assert place.exists(), target
        assert not anchor or anchor in anchors(place), target


@pytest.mark.parametrize("page", PAGES)
def test_python_in_the_documents_imports_what_there_is(page):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    for block in blocks:
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("maspo_jax"):
                module = importlib.import_module(node.module)
                for name in node.names:
                    if not hasattr(module, name.name):  # a room, not loaded yet
                        importlib.import_module(f"{node.module}.{name.name}")


def fields(kind):
    """The fields of a dataclass by name, those of a part that may be None included."""
    kinds = [kind, *typing.get_args(kind)]
    kind = next(each for each in kinds if dataclasses.is_dataclass(each))
    return {field.name: field.type for field in dataclasses.fields(kind)}


def test_settings_that_others_lead_to_are_there():
    settings = [cell[2] for cell in rows("TRL | verl | here")]
    dotted = r"`((?:sampling|updates|optimization|validation)\.\w+)"
    named = re.findall(dotted, " ".join(settings))
    assert len(named) > 9
    for name in named:
        part, field = name.split(".")
        assert field in fields(fields(config.Experiment)[part]), name
    parts = re.findall(r"`(?:objective\.)?(\w+)=", " ".join(settings))
    places = [config.Experiment, config.Objective, config.Sampling]
    known = {name for place in places for name in fields(place)}
    assert set(parts) - {"sampling", "policy"} <= known


def test_parts_that_make_a_method_are_there():
    cells = [row[2] for row in rows("TRL | verl | here")]
    cells += [cell for row in rows("method | gate") for cell in row[1:]]
    text = " ".join(cells)
    calls = re.findall(r"[`(=]((?:\w+\.)*[A-Z]\w+)\(", text)
    module = r"(?:advantages\.|token_weights\.)?"
    functions = re.findall(rf"`({module}[a-z]+_[a-z_]+)`", text)
    assert len(calls) > 25 and len(functions) > 10
    for name in {*calls, *functions} - fields(config.Experiment).keys():
        *module, last = name.split(".")
        places = [NAMES[module[0]]] if module else KNOWN
        assert any(hasattr(place, last) for place in places), name


def test_metrics_that_others_lead_to_are_there():
    known = set(metric_names.DESCRIPTIONS)
    for row in rows("metric of TRL"):
        first, *more = re.findall(r"`([\w/]+)`", row[2].split(":")[0])
        room = first.split("/")[0]
        for name in (first, *more):
            name = f"{room}{name}" if name.startswith("/") else name
            assert name in known or name in ("validation", "reinforcement"), name


def test_what_may_change_on_resume_is_all_named():
    said = GUIDE.split("**Resume.**")[1].split("\n\n")[0]
    for name in serialization.RESUMABLE:
        assert f"`{name}`" in said
