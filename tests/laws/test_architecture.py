"""The rules of the house, checked on every file."""

import ast
import pathlib
import re
import subprocess
import sys

import pytest

PACKAGE = pathlib.Path(__file__).parents[2] / "maspo_jax"
FILES = sorted(PACKAGE.rglob("*.py"))
every_file = pytest.mark.parametrize(
    "path", FILES, ids=lambda path: str(path.relative_to(PACKAGE))
)

# From the bottom up. A room may import those of lower layers, and itself.
LAYERS = (
    {"refusals"},
    {"settings", "markdown"},
    {"arguments"},
    {"types", "distributed", "storage", "hub"},
    {"data", "models", "rewards", "objectives"},
    {"config", "statistics", "testbeds"},
    {"runs"},
    {"rollout"},
    {"learning", "evaluation"},
    {"reports", "plan"},
    {"sweeps"},
    {"api", "maspo_jax"},
    {"cli"},
)


def room_of(module):
    """Returns the room of a dotted module name of the package."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "maspo_jax"


def layer_of(room):
    (layer,) = [index for index, rooms in enumerate(LAYERS) if room in rooms]
    return layer


def imports(path):
    """Yields every module of the package that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from names if node.module == "maspo_jax" else [node.module]


@every_file
def test_imports_point_down(path):
    inside = path.relative_to(PACKAGE.parent).with_suffix("")
    room = room_of(".".join(inside.parts))
    if room in ("__init__", "__main__"):
        return
    for module in imports(path):
        if module.split(".")[0] != "maspo_jax":
            continue
        other = room_of(module)
        assert other == room or layer_of(other) < layer_of(room), (
            f"{room} imports {module}"
        )


@every_file
def test_nothing_mutates_or_evaluates_text(path):
    text = path.read_text()
    mutable = r"\bnnx\.(jit|grad|value_and_grad|Optimizer|scan|vmap)\b"
    assert not re.search(mutable, text)
    calls = {
        node.func.id
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & {"eval", "exec", "sympify", "parse_expr"}


def outside(room):
    """The files of the package that are not in a room."""
    return [path for path in FILES if path.relative_to(PACKAGE).parts[0] != room]


@pytest.mark.parametrize(
    "path", outside("distributed"), ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_only_distributed_talks_between_processes(path):
    talk = r"multihost_utils|process_allgather|(?<!maspo_)jax\.distributed"
    assert not re.search(talk, path.read_text())


@pytest.mark.parametrize(
    "path", outside("models"), ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_only_models_knows_how_a_decoder_is_built(path):
    assert not re.search(r"\bnnx\b|\.blocks\b|[\"']blocks", path.read_text())


@pytest.mark.parametrize("name", ["learner", "batches", "update"])
def test_the_learner_knows_nothing_of_drawing(name):
    """Of the rollout it uses how tokens are scored, and no more."""
    room = {
        module
        for module in imports(PACKAGE / "learning" / f"{name}.py")
        if module.startswith("maspo_jax.rollout")
    }
    assert room <= {"maspo_jax.rollout.logprobs"}


@every_file
def test_no_loop_has_the_order_of_hashes(path):
    """A set of texts has another order in each process."""
    tree = ast.parse(path.read_text())
    loops = [node for node in ast.walk(tree) if isinstance(node, ast.For)]
    assert [
        node.lineno
        for loop in loops
        for node in ast.walk(loop.iter)
        if isinstance(node, ast.Set) and isinstance(loop.iter, ast.Set | ast.BinOp)
    ] == []


@every_file
def test_nothing_is_left_over(path):
    assert not re.search(r"\b(TODO|FIXME|XXX|HACK)\b", path.read_text())


def test_no_two_files_of_tests_have_one_name():
    """pytest imports each by its name alone, and refuses the second."""
    names = [path.name for path in pathlib.Path(__file__).parents[1].rglob("test_*.py")]
    assert sorted({name for name in names if names.count(name) > 1}) == []


@pytest.mark.parametrize(
    "module, absent",
    [
        ("maspo_jax.rewards", {"jax", "flax", "sympy"}),
        ("maspo_jax.statistics.intervals", {"jax", "matplotlib"}),
        ("maspo_jax.cli.evaluate", {"jax", "matplotlib", "sympy"}),
        ("maspo_jax.objectives.gates", {"sympy", "grain", "matplotlib"}),
        ("maspo_jax.learning.loop", {"sympy", "matplotlib"}),
        ("maspo_jax.data.sources", {"jax", "pyarrow", "tokenizers", "datasets"}),
        ("maspo_jax.data.prompts", {"jax", "jinja2", "tokenizers", "transformers"}),
    ],
)
def test_a_room_loads_only_what_it_needs(module, absent):
    code = f"import sys, {module}; print(*{{m.split('.')[0] for m in sys.modules}})"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert not set(loaded.split()) & absent
