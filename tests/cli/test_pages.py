"""The blocks of the documents run as they stand, in a folder with nothing beside it."""

import ast
import importlib
import inspect
import io
import os
import re
import shlex
import subprocess
import sys

import pytest
from conftest import EXPERIMENTS, ROOT, run
from support.checkpoint_files import write_checkpoint, write_problems

from maspo_jax import arguments
from maspo_jax.cli import main as cli
from maspo_jax.data.prompts import templates
from maspo_jax.data.prompts.tokenizer import ByteTokenizer
from maspo_jax.learning import loop
from maspo_jax.plan import devices

PAGES = ("README.md", "docs/guide.md", "experiments/README.md")
# The file that the blocks train, small enough for a test: as many parts, fewer updates.
SMALL = f"""
import dataclasses, sys
sys.path.insert(0, {str(EXPERIMENTS)!r})
from tiny import experiment
sampling = dataclasses.replace(experiment.sampling, prompt_length=16)
experiment = dataclasses.replace(experiment, sampling=sampling)
"""


def blocks(page, language):
    text = (ROOT / page).read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands(page):
    """The words of every `maspo SUBCOMMAND ...` in the shell blocks of a page."""
    found = []
    for block in blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|\|", line):
                words = shlex.split(part, comments=True)
                if words and words[0].rpartition("/")[2] == "maspo":
                    found.append(words[1:])
    return found


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A folder like a fresh clone, whose default experiment takes seconds."""
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "arithmetic.py").write_text(SMALL)
    papers = ROOT / "experiments" / "papers"
    (tmp_path / "experiments" / "papers").symlink_to(papers, target_is_directory=True)
    # The race that the README shows, of fewer runs.
    (race,) = [each for each in blocks("README.md", "python") if "Race(" in each]
    (tmp_path / "experiments" / "sweeps").mkdir()
    few = race.replace("[3e-5, 1e-4]", "[1e-4]").replace("range(10)", "range(2)")
    file = tmp_path / "experiments" / "sweeps" / "maspo_or_dgpo.py"
    file.write_text(few.replace("seeds=", "tuning_seeds=[9], seeds="))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [words for page in PAGES for words in commands(page)],
    ids=lambda words: " ".join(words)[:60],
)
def test_every_command_of_a_page_is_one(words):
    name, *words = words
    module = importlib.import_module(f"maspo_jax.cli.{name}")
    kind = getattr(module, name.capitalize())
    overridden = name in ("train", "plan", "sweep")
    options = arguments.parse(kind, words, f"maspo {name}", unknown=overridden)
    if overridden:
        options, overrides = options
        assert [word for word in overrides if word.startswith("--")] in (
            [],
            ["--objective.gate.alpha"],
            ["--objective.gate", "--objective.gate.n"],
            ["--fsdp", "--policy.compute-dtype"],
            ["--fsdp", "--policy.compute-dtype", "--sampling.wave"],
        )


def test_the_pages_have_commands_to_try():
    assert len(commands("README.md")) >= 10 and len(commands("docs/guide.md")) >= 4


def test_the_gate_of_the_readme_is_called_as_it_is_printed():
    (block,) = [
        each for each in blocks("README.md", "python") if "gates.Maspo(alpha" in each
    ]
    *_, last = ast.parse(block).body
    names = {}
    exec(block, names)
    assert eval(compile(ast.Expression(last.value), "README", "eval"), names).shape == (
        3,
    )


def test_the_functions_of_the_readme_are_called_as_they_are_printed(clone):
    (block,) = [each for each in blocks("README.md", "python") if ".train(" in each]
    names = {}
    exec(block, names)
    assert (clone / "runs" / "mine" / "metrics.jsonl").is_file()
    assert names["run"].metrics["reinforcement"]["reward"].shape == (5,)


def test_the_loop_of_the_readme_is_that_of_the_code():
    """Without its comments, and without what is done about signals and files."""
    (block,) = [each for each in blocks("README.md", "python") if "for step in" in each]
    said = ast.parse(block).body[0]
    learn = ast.parse(inspect.getsource(loop.learn)).body[0]
    calls = lambda tree: [
        node.func.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and getattr(node.func.value, "id", None) in ("worker", "learner")
    ]
    assert set(calls(said)) <= set(calls(learn))
    assert {"collect", "assemble", "minibatches", "update"} == set(calls(said))


def test_the_sources_of_the_guide_are_made_as_they_are_printed(clone):
    names = {"template": templates.BOXED, "tokenizer": ByteTokenizer()}
    block, sweep = blocks("docs/guide.md", "python")
    exec(block, names)
    assert names["train_set"].length == 512
    exec(sweep, names)
    assert len(names["sweep"].trials) == 4


def no_compiler(slice_):
    raise devices.NoCompiler(f"none for {slice_.name}")


def test_the_shell_blocks_of_the_readme_run_as_they_are_printed(clone, monkeypatch):
    """Those that need no checkpoint."""
    rows = '{"problem": "1+1=?", "answer": "2"}\n'
    (clone / "train.jsonl").write_text(rows)
    for words in commands("README.md"):
        if "checkpoint" in " ".join(words) or "evaluations/after" in words:
            continue
        if words[0] == "plan":  # by arithmetic, whatever compilers are installed
            monkeypatch.setattr(devices, "compile_only", no_compiler)
        if words[0] == "grade":
            monkeypatch.setattr("sys.stdin", io.StringIO(r"so \boxed{0.5}"))
        status, output = run(cli, *words)
        assert status == 0, output
    assert (clone / "figures" / "learning_curves.png").is_file()
    assert {path.name for path in (clone / "runs").iterdir()} == {
        "arithmetic",
        "alpha_0.5",
        "dgpo",
        "maspo_or_dgpo",
    }
    assert (clone / "figures" / "improvement.png").is_file()
    assert "beats" in (clone / "runs" / "maspo_or_dgpo" / "verdict.md").read_text()


@pytest.mark.slow
def test_the_block_of_the_readme_on_a_checkpoint_runs_in_a_shell(clone):
    """With the lengths of the page; a small policy, few problems, few steps."""
    problems = write_problems(clone / "train.jsonl")
    write_checkpoint(clone / "checkpoint", problems, longest=1024)
    rows = problems.read_text().splitlines(True)
    problems.write_text("".join(rows[:-4]))
    (clone / "test.jsonl").write_text("".join(rows[-4:]))
    text = (ROOT / "experiments" / "checkpoint.py").read_text()
    for released, small in (
        ("problems=64", "problems=4"),
        ("updates=100", "updates=12"),
        ("batch=16", "batch=2"),
        ("prompts=32, responses=8", "prompts=4, responses=2"),
        ("steps=100", "steps=1"),
    ):
        assert text.count(released) == 1
        text = text.replace(released, small)
    (clone / "experiments" / "checkpoint.py").write_text(text)
    (block,) = [each for each in blocks("README.md", "bash") if "maspo export" in each]
    command = f'maspo() {{ "{sys.executable}" -m maspo_jax "$@"; }}\n{block}'
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", command],
        env=os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (clone / "comparison" / "comparison.md").is_file()
    assert (clone / "exported" / "model.safetensors").is_file()
