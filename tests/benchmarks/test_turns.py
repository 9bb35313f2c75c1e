"""Workers that take turns, and the page of a benchmark."""

import dataclasses
import itertools
import json
import pathlib
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

FOLDER = pathlib.Path(__file__).parents[2] / "experiments" / "benchmarks"


@pytest.fixture(autouse=True)
def beside(monkeypatch):
    """Scripts find what lies beside them."""
    monkeypatch.syspath_prepend(FOLDER)


@pytest.fixture
def script(tmp_path):
    """The file of a worker that squares the number of its turn, and fails at 13."""
    file = tmp_path / "worker.py"
    file.write_text(
        textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {str(FOLDER)!r})
        import turns

        def make():
            print("what packages print is no answer")
            def run(number):
                assert number != 13
                return {{"square": number**2, "word": sys.argv[2]}}
            return run

        turns.serve(make)
        """)
    )
    return file


def test_workers_take_turns_in_alternating_order(script, monkeypatch):
    import turns

    plain, order = turns.Worker.turn, []

    def turn(worker, number):
        plain(worker, number)
        order.append(worker.runs[-1]["word"])

    monkeypatch.setattr(turns.Worker, "turn", turn)
    start = lambda word: lambda: turns.Worker(sys.executable, script, word)
    workers = turns.take_turns({"a": start("a"), "b": start("b")}, 3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert [run["square"] for run in workers["a"].runs] == [1, 4, 9]
    assert workers["b"].median("square") == 4
    for run in workers["a"].runs:
        assert run["GiB"] > 0 and run["cpu"] >= 0 and run["wall"] > 0


def test_a_worker_that_fails_ends_the_benchmark(script):
    import turns

    worker = turns.Worker(sys.executable, script, "word")
    with pytest.raises(SystemExit, match="a process ended: 1"):
        worker.turn(13)


def test_the_cpu_seconds_of_processes_that_were_started_count():
    import turns

    busy = "while True: pass"
    before = turns.cpu_seconds()
    with subprocess.Popen([sys.executable, "-c", busy]) as process:
        try:
            deadline = time.monotonic() + 60
            while turns.cpu_seconds() - before < 1.0:  # while it runs
                assert time.monotonic() < deadline
                time.sleep(0.1)
        finally:
            process.kill()
    assert turns.cpu_seconds() - before >= 1.0  # and when it has ended


def test_what_a_part_calls_is_not_counted_twice(monkeypatch):
    import turns

    clock = itertools.count()
    monkeypatch.setattr(turns, "cpu_seconds", lambda: float(next(clock)))
    parts = turns.Parts()
    inner = parts.timed("inner", lambda: None)  # a second each time

    def twice():
        inner()
        inner()

    parts.timed("outer", twice)()
    assert parts.seconds == {"inner": 2.0, "outer": 3.0}  # of 5 in all


def test_a_page_says_how_it_was_made(tmp_path, monkeypatch):
    import turns

    monkeypatch.setattr(turns.os, "sched_setaffinity", lambda *_: None)
    monkeypatch.setattr(turns.os, "environ", {"JAX_COMPILATION_CACHE_DIR": "here"})
    words = ["--json", tmp_path / "rows.json", "--out", tmp_path / "page.md"]
    words = ["script.py", "--tunix", "/a/b/python", "--core", "0", *map(str, words)]
    monkeypatch.setattr(sys, "argv", [*words, "--tiny"])
    parser = turns.arguments("A benchmark.")
    parser.add_argument("--tunix")
    options = parser.parse_args(sys.argv[1:])
    page = turns.Page("Title", options, {"--tunix": "PYTHON"}, packages=("jax",))
    assert "JAX_COMPILATION_CACHE_DIR" not in turns.os.environ
    page.say("word " * 40)
    page.table(("what", "CPU s"), [("one", 1.23456), ("many", 12345.0), ("none", None)])
    page.compare("a row", 2.0, 5.0, "peer")
    page.write()
    lines = (tmp_path / "page.md").read_text().splitlines()
    assert lines[0] == "# Title"
    assert (
        lines[2] == "    python experiments/benchmarks/script.py --tunix PYTHON --tiny"
    )
    assert max(map(len, lines)) <= 88
    assert lines[-5:] == [
        "| what | CPU s |",
        "|---|--:|",
        "| one | 1.23 |",
        "| many | 12,345 |",
        "| none |  |",
    ]
    found = json.loads((tmp_path / "rows.json").read_text())
    assert found["rows"] == [
        {
            "name": "a row",
            "ours": 2.0,
            "peer": 5.0,
            "ratio": 2.5,
            "unit": "CPU s",
            "peer_name": "peer",
        }
    ]


def test_the_parameters_of_shapes_are_those_of_the_policies():
    import step

    from maspo_jax.models import sizes
    from maspo_jax.models.decoder import DecoderConfig

    for shape in step.SHAPES.values():
        config = DecoderConfig(
            vocabulary=shape.vocabulary,
            width=shape.width,
            depth=shape.depth,
            query_heads=shape.query_heads,
            key_value_heads=shape.key_value_heads,
            head_width=step.HEAD_WIDTH,
            feed_forward=shape.feed_forward,
            qk_norm=True,
        )
        assert shape.parameters == sizes.param_count(config)


def test_the_bounds_of_the_sampler_are_those_of_its_steps():
    import accelerator
    import sampler

    case = sampler.CASES["full"]["heavy-tailed"]
    case = dataclasses.replace(case, prompts=4, slots=(6,))
    steps, _ = accelerator.steps_of(case.lengths, 6, case.prompt)
    assert case.steps == steps
    assert case.read_bytes == steps * 4 * sampler.MATRICES
    # One prompt of one token, one response of one token: two tokens are read, and the
    # second one sees a half more than the first.
    tiny = sampler.Case(1, 1, 1, 1, 1, None, 1, (None,), 1)
    layers, wide = sampler.QWEN2["num_hidden_layers"], sampler.QWEN2["hidden_size"]
    attended = 4 * layers * wide * (0.5 + 1.5)
    assert tiny.flops == 2 * 2 * sampler.MATRICES + attended


def test_the_bounds_of_a_step_count_the_head_at_tokens_that_are_scored(tmp_path):
    import step

    from maspo_jax.config import load

    shape = step.SHAPES["tiny"]
    experiment = load(step.write_experiment("tiny", tmp_path))
    found = step.bounds(experiment, {"flops": 1.0, "bytes": np.inf})
    rows, length = step.PROMPTS * step.RESPONSES, step.PROMPT + step.RESPONSE
    head = shape.vocabulary * shape.width
    pairs = rows * length * length / 2
    attended = 4 * shape.depth * shape.query_heads * step.HEAD_WIDTH * pairs
    products = 2 * (shape.parameters - head) * rows * length
    scored = 2 * head * rows * (step.RESPONSE + 1)  # and one behind the last token
    once = products + scored + attended
    assert found["update"][0] == pytest.approx(3 * (products + scored) + 3.5 * attended)
    assert found["update"][1] == "products"
    assert found["sample"][0] < once  # prompts are read once a group
    assert found.keys() == {"sample", "update"}  # of one update, which scores itself
    found = step.bounds(experiment, {"flops": np.inf, "bytes": 1.0})
    assert found["sample"][1] == "memory"


def test_another_tree_than_the_one_meant_is_not_measured(tmp_path):
    import turns

    turns.assert_of(turns.ROOT)
    with pytest.raises(AssertionError, match="is not of"):
        turns.assert_of(tmp_path)


def test_log_probabilities_of_all_systems_are_the_same():
    import logprobs

    shape = logprobs.Shape(8, 4, 32)
    assert shape.flops == 3 * 2 * 8 * 4 * 32
    pytest.importorskip("torch")
    for entropy in (True, False):
        runs = [system(shape, entropy)(0) for system in logprobs.SYSTEMS.values()]
        losses = [run["loss"] for run in runs]
        np.testing.assert_allclose(losses, losses[0], rtol=1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--turns", "0"], "0: give a whole number, at least 1"),
        (["--core", "9999"], "9999: choose one of"),
        (["--json", "/nowhere/rows.json"], "cannot be written"),
        (["--out", "/"], "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_measured(
    words, message, capsys
):
    import turns

    with pytest.raises(SystemExit):
        turns.arguments("about").parse_args(words)
    assert message in capsys.readouterr().err


def test_an_interpreter_has_to_be_there():
    import turns

    assert turns.interpreter(sys.executable) == sys.executable
    with pytest.raises(turns.argparse.ArgumentTypeError, match="no program"):
        turns.interpreter("/no/python")
