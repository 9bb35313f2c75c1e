"""Notebooks run from a clean kernel, hold no logic and no outputs."""

import importlib.util
import json
import pathlib
import re
import subprocess
import sys

import nbclient
import nbformat
import pytest

from maspo_jax.reports.figures import gates

FOLDER = pathlib.Path(__file__).parents[2] / "colab"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_of(path):
    cells = json.loads(path.read_text())["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


@every_notebook
def test_it_holds_no_logic_and_no_outputs(path):
    for cell in code_of(path):
        assert not cell["outputs"] and cell["execution_count"] is None
        source = "".join(cell["source"])
        assert "def " not in source and "class " not in source


@every_notebook
def test_it_runs_from_a_clean_kernel(path, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(FOLDER)}}
    ).execute()
    shown = re.findall(r"show\((?:\w+\.)?(\w+)\)", path.read_text())
    pictures = [
        output
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == len(shown) == len(set(shown))


def test_the_notebook_of_gates_shows_every_figure():
    text = (FOLDER / "gates.ipynb").read_text()
    drawn = {draw.__name__ for draw in gates.FIGURES}
    assert set(re.findall(r"show\(\w+\.(\w+)\)", text)) == drawn


@every_notebook
@pytest.mark.parametrize("place", ["clone", "elsewhere"])
def test_its_first_cell_installs_from_its_clone_or_asks(
    path, place, tmp_path, monkeypatch
):
    cell = "".join(code_of(path)[0]["source"])
    assert "%pip install -q {SOURCE}" in cell
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.chdir(FOLDER if place == "clone" else tmp_path)
    names = {}
    run = lambda: exec(cell.replace("%pip install -q {SOURCE}", "pass"), names)
    if place == "clone":
        run()
        assert names["SOURCE"] == ".."
    else:
        with pytest.raises(SystemExit, match=r"set SOURCE .* git\+https"):
            run()


@pytest.mark.slow
def test_its_first_cell_installs_the_package(tmp_path):
    """In an environment with nothing but what runs notebooks."""
    python = tmp_path / "bin" / "python"
    run = lambda *words: subprocess.run(words, check=True, cwd=FOLDER)
    run(sys.executable, "-m", "venv", tmp_path)
    run(python, "-m", "pip", "install", "-q", "nbclient", "ipykernel")
    run(
        tmp_path / "bin" / "jupyter-execute",
        "--output",
        tmp_path / "out",
        "gates.ipynb",
    )
    assert "image/png" in (tmp_path / "out.ipynb").read_text()
