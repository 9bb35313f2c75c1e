"""What people really give by mistake: field, value and remedy, in a line, in time.

Nothing is compiled before, and nothing is written.
"""

import dataclasses
import json

import jax
import pytest
from conftest import EXPERIMENTS, TINY, command, run
from support.checkpoint_files import write_checkpoint, write_problems

from maspo_jax.cli import (
    compare,
    console,
    contamination,
    data,
    evaluate,
    export,
    figures,
    grade,
)
from maspo_jax.cli import main as cli
from maspo_jax.learning import loop

HEAD = f"""
import dataclasses, sys
sys.path.insert(0, {str(EXPERIMENTS)!r})
import jax.numpy as jnp
from flax import struct
from tiny import experiment
from maspo_jax.config import *
from maspo_jax.data.prompts import ByteTokenizer, FileTokenizer, templates
from maspo_jax.data.sources import *
from maspo_jax.objectives import advantages, gates, terms
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, where nothing may be compiled, with files of problems."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loop, "train", None)
    pairs = [(n % 10, n // 10 + 1) for n in range(20)]
    rows = [{"problem": f"{m}+{n}=?", "answer": f"{m + n}"} for m, n in pairs]
    files = {
        "good.jsonl": "\n".join(map(json.dumps, rows)),
        "empty.jsonl": "",
        "broken.jsonl": '{"problem": "1+1=?", "answer": "2"}\n{"problem": \n',
        "table.csv": "problem,answer\n1+1=?,2\n",
        "columns.jsonl": '{"frage": "1+1=?", "antwort": "2"}\n',
        "notes.txt": "notes",
        "nothing.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.py").mkdir()
    return tmp_path


def refused(status, output, *said):
    """Checks that an output ends in one error, of a line, that says all this."""
    lines = [line for line in output.splitlines() if not line.startswith("  ... ")]
    assert status == 2 and lines[-1].startswith("error: "), output
    assert "Traceback" not in output and "Warning" not in output
    for part in said:
        assert part in lines[-1], output


WORDS = {
    "misspelled": (
        ["--objective.gate.alhpa", 0.5],
        "closest is --objective.gate.alpha",
    ),
    "shortened": (["--gate.alpha", 0.5], "the closest is --objective.gate.alpha"),
    "of another library": (["--lr", 1e-5], "closest is --optimization.learning-rate"),
    "Hydra": (["objective.gate.alpha=0.5"], "write --objective.gate.alpha 0.5"),
    "a gate there is not": (["--objective.gate", "Dgop"], "the closest is Dgpo"),
    "a part": (["--objective.advantage", "x"], "it is chosen in the file, as objecti"),
    "no number": (
        ["--steps", "ten"],
        "--steps: invalid literal for int() with",
        "'ten'",
    ),
    "no seed": (["--seed", "zero"], "--seed: invalid literal for int() with"),
    "no whole number": (["--seed", "1.5"], "--seed: invalid literal for int()"),
    "below zero": (["--steps", -5], "steps=-5: must lie in [0, inf)"),
    "rate": (
        ["--optimization.learning-rate", -1e-4],
        "rate=-0.0001: must lie in (0, in",
    ),
    "of the gate": (
        ["--objective.gate.alpha", -0.3],
        "gate.alpha=-0.3: must lie in [0,",
    ),
    "minibatches": (
        ["--updates.minibatches", 3],
        "not a multiple of updates.minibatch",
    ),
    "devices": (
        ["--fsdp", 3],
        "number of devices=8 is not a multiple of fsdp=3; change",
    ),
    "tensor": (
        ["--tensor", 8],
        "tensor=8 does not divide key_value_heads=1 and feed_forward=32 of the policy",
        "; choose one of [1]",
    ),
    "prompts": (
        ["--sampling.prompt-length", 2],
        *("sampling.prompt_length=2: problem '", "Raise the length to at least"),
        "or leave the problem out with data.sources.Fitting",
    ),
    "no group": (
        ["--sampling.responses", 1],
        "sampling.responses=1: objective.advantage",
    ),
    "dtype": (
        ["--policy.dtype", "float61"],
        "dtype='float61': choose float32 or bfloat1",
    ),
    "heads": (
        ["--policy.query-heads", 3, "--policy.key-value-heads", 2],
        "query_heads=3",
    ),
    "batch": (["--sft.batch", 7], "sft.batch=7 is not a multiple of", "; change one"),
    "warm-up": (["--optimization.warmup-updates", 99], "warmup_updates=99: must be at"),
    "validation": (
        ["--validation.problems", 10**9],
        "validation.problems=1000000000 but",
    ),
    "nothing given": (["--steps"], "Missing value for argument '--steps'"),
    "a folder of no run": (
        ["--run", "folder.py/../."],
        "holds no run",
        "another folder",
    ),
    "a file": (["--run", "notes.txt"], "--run notes.txt: is no folder; give another"),
    "a bucket": (["--run", "gs://bucket/run"], "--run gs://bucket/run", "mount the"),
    "a pod": (["--pod", "nowhere"], "HOST:PORT/INDEX/COUNT"),
}


@pytest.mark.parametrize("name", WORDS)
def test_words_of_training(here, name):
    words, *said = WORDS[name]
    usual = [] if "--run" in words else ["--run", "run"]
    refused(*command(TINY, *words, *usual), *said)
    assert not (here / "run").exists()


PATHS = {
    "alike": ("nothin.py", "no experiment file nothin.py; the closest is nothing.py"),
    "not there": ("zzz.py", "no experiment file zzz.py: give a Python file"),
    "another kind": ("notes.txt", "notes.txt is no experiment: give a Python file"),
    "a folder": ("folder.py", "folder.py is no experiment: give a Python file that"),
    "without one": ("nothing.py", "has no `experiment`: name an instance of"),
}


@pytest.mark.parametrize("name", PATHS)
def test_paths_of_experiments(here, name):
    path, *said = PATHS[name]
    refused(*command(path, "--run", "run"), *said)


GATE = """
@{kind}
class Mine:
    share: float = 0.5
    def __call__(self, log_ratio, advantage, old_logprob):
        return {value}
change = dict(objective=Objective(Mine()))
"""
GRADER = """
def mine(response, gold):
    return {value}
change = dict(grading=Grading(mine))
"""
PARTS = {
    "syntax": ("change = (", "does not run: SyntaxError in line"),
    "import": ("from maspo_jax.data import Nothing", "ImportError in line"),
    "a field": ("Experiment(polcy=3)", "TypeError in line", "'polcy'"),
    "division": ("1 / 0", "does not run: ZeroDivisionError in line"),
    "text for a number": (
        "change = dict(sampling=Sampling('16', 4, 6, response_length=14))",
        "sampling.prompts='16': must be of type int",
    ),
    "a word": (
        "change = dict(optimization=Optimization(1e-3, schedule='cosin'))",
        "optimization.schedule='cosin': choose one of constant, linear, cosine",
    ),
    "no file": (
        "change = dict(train_set=ProblemFile('godo.jsonl'))",
        "no file of problems at godo.jsonl; the closest is good.jsonl",
    ),
    "an empty file": (
        "change = dict(train_set=ProblemFile('empty.jsonl'))",
        "is empty",
    ),
    "a folder": (
        "change = dict(train_set=ProblemFile('folder'))",
        "problems at folder: it is a folder",
    ),
    "a broken file": (
        "change = dict(train_set=ProblemFile('broken.jsonl'))",
        "broken.jsonl, line 2",
    ),
    "a table": (
        "change = dict(train_set=ProblemFile('table.csv'))",
        "table.csv, line 1",
    ),
    "other columns": (
        "change = dict(train_set=ProblemFile('columns.jsonl'))",
        *("columns.jsonl", "frage", "antwort"),
    ),
    "no checkpoint": (
        "change = dict(policy=Checkpoint('folder'))",
        "folder",
    ),
    "characters": (
        "change = dict(validation=Validation(ProblemFile('words.jsonl'), problems=1))",
        *("no piece", "ByteTokenizer()"),
    ),
    "the training set": (
        "change = dict(train_set=ProblemFile('good.jsonl'), sft=None, "
        "validation=Validation(ProblemFile('good.jsonl'), problems=20))",
        *("validation.source: all of its 20 problems stand in train_set", "Unseen("),
    ),
    "a plain class": (
        GATE.format(kind="dataclasses.dataclass(frozen=True)", value="log_ratio"),
        *("objective.gate", "Mine", "flax.struct.dataclass"),
    ),
    "a shape": (
        GATE.format(kind="struct.dataclass", value="jnp.sum(log_ratio)"),
        *("objective.gate: Mine returns", "one gate per token"),
    ),
    "a function": (
        "change = dict(objective=Objective(lambda *tokens: tokens[0]))",
        *("objective.gate", "flax.struct.dataclass"),
    ),
    "a grader of text": (
        GRADER.format(value="'right'"),
        "grader=mine fails",
        "return a",
    ),
    "a grader of nothing": (
        GRADER.format(value="None"),
        "returned None",
        "return a rewa",
    ),
    "a grader that fails": (
        GRADER.format(value="int(response)"),
        *(
            "grading.grader=mine fails on response ''",
            "ValueError",
            "return a rewards.",
        ),
    ),
}


@pytest.mark.parametrize("name", PARTS)
def test_parts_of_an_experiment(here, name):
    text, *said = PARTS[name]
    (here / "words.jsonl").write_text('{"problem": "Add Zoë", "answer": "2"}\n')
    imports = "from maspo_jax.models.huggingface.load import Checkpoint\n"
    end = "\nexperiment = dataclasses.replace(experiment, **change)\n"
    (here / "mine.py").write_text(f"{HEAD}{imports}{text}{end}")
    refused(*command("mine.py", "--run", "run"), *said)
    assert not (here / "run").exists()


OTHERS = {
    "no benchmark": (evaluate, ["RUN", "missing=godo.jsonl"], "closest is good.jsonl"),
    "no samples": (
        evaluate,
        ["RUN", "good.jsonl", "--samples", 0],
        "--samples=0: must",
    ),
    "samples": (evaluate, ["RUN", "good.jsonl", "--samples", 10**7], "[1, 1000]"),
    "top-p": (
        evaluate,
        ["RUN", "good.jsonl", "--top-p", 95],
        "--top-p=95.0: must lie in",
    ),
    "greedy": (evaluate, ["RUN", "good.jsonl", "--temperature", 0], "greedy"),
    "no step": (evaluate, ["RUN", "good.jsonl", "--step", 99], "step=99", "2 and 4"),
    "a template": (
        evaluate,
        ["RUN", "good.jsonl", "--template", "gsm8k"],
        "leave it out",
    ),
    "twice": (evaluate, ["RUN", "good.jsonl", "good.jsonl"], "apart with NAME=FILE"),
    "no policy": (evaluate, ["/no/where", "good.jsonl"], "no policy /no/where"),
    "a policy alike": (evaluate, ["./foldr", "good.jsonl"], "the closest is folder"),
    "of no policy": (
        evaluate,
        ["folder", "good.jsonl"],
        "not the folder of a run, nor",
    ),
    "nothing to export": (export, ["./foldr", "--out", "o"], "the closest is folder"),
    "not empty": (export, ["RUN", "--out", "."], ". is not empty; give a new folder"),
    "no run": (
        figures,
        ["NOT_A_RUN", "--out", "f"],
        "NOT_A_RUN is not the folder of a r",
    ),
    "an empty folder": (figures, ["folder", "--out", "f"], "has no metrics.jsonl"),
    "nowhere to draw": (figures, ["RUN"], "Missing from maspo figures: --out"),
    "a subcommand": (cli, ["evalute"], "the closest is evaluate"),
    "no data": (data, ["godo.jsonl"], "the closest is good.jsonl"),
    "other columns": (data, ["columns.jsonl"], "frage"),
    "a schema": (data, ["good.jsonl", "--schema", "gsm9k"], "gsm9k"),
    "no training file": (
        contamination,
        ["godo.jsonl", "--against", "good.jsonl"],
        "the closest is good.jsonl",
    ),
    "no response": (
        grade,
        ["2", "--response", "none"],
        "--response none",
        "correct the",
    ),
    "no reference": (grade, [], "give a reference answer or --audit"),
    "one evaluation": (compare, ["RUN"], "DIR_B"),
    "no evaluation": (
        compare,
        ["folder", "folder"],
        "is not the folder of an evaluation",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_commands(here, tiny_run, name):
    module, words, *said = OTHERS[name]
    words = [tiny_run if word == "RUN" else word for word in words]
    before = sorted(here.iterdir())
    refused(*run(module, *words), *said)
    assert sorted(here.iterdir()) == before


def test_a_name_that_is_almost_a_published_one_is_said():
    assert evaluate.names_alike(["aime24=a.jsonl", "mine=b.jsonl", "gsm8k.jsonl"]) == []
    first, second = evaluate.names_alike(["aime42=a.jsonl", "data/math50.jsonl"])
    assert first.startswith("note: aime42 is a name of your own; aime2")
    assert second.startswith("note: math50 is a name of your own; math500")


def test_a_wrong_field_is_never_named(here):
    _, output = run(figures, "NOT_A_RUN", "--out", "f")
    assert "--out" not in output


def test_all_reasons_of_a_job_come_at_once(here):
    """As a newcomer's checkpoint job, which was refused four times in a row."""
    rows = [{"problem": "1" * size + "+1=?", "answer": "1"} for size in range(3, 12)]
    for name in ("train", "test"):
        lines = [json.dumps(row) for row in rows]
        (here / f"{name}.jsonl").write_text("\n".join(lines))
        rows = [row | {"problem": "2" * 20 + "+1=?"} for row in rows]
    (here / "job.py").write_text(
        f"""{HEAD}
experiment = dataclasses.replace(
    experiment,
    train_set=ProblemFile("train.jsonl"),
    validation=Validation(ProblemFile("test.jsonl"), problems=50),
    optimization=Optimization(-1.0, warmup_updates=10),
    sampling=dataclasses.replace(experiment.sampling, prompts=12),
    policy=dataclasses.replace(experiment.policy, vocabulary=70),
)
"""
    )
    status, output = command("job.py", "--updates.minibatches", 5, "--run", "notes.txt")
    first, *lines = output.split("error: ")[1].splitlines()
    reasons = (
        "optimization.learning_rate=-1.0: must lie in (0, inf)",
        "train_set has 9 problems but sampling.prompts=12",
        "validation.problems=50 but its source has only 9",
        "sampling.prompts=12 is not a multiple of devices=8",
        "sampling.prompts=12 is not a multiple of updates.minibatches=5",
        "policy.vocabulary=70 but the tokenizer has 76 tokens",
        "sampling.prompt_length=6: problem 'test.jsonl:1' does not fit",
        "--run notes.txt: is no folder",
    )
    assert status == 2 and first == f"{len(reasons)} things are wrong:", output
    for reason in reasons:
        assert sum(line.startswith(f"- {reason}") for line in lines) == 1, reason


def test_some_held_out_problems_in_the_training_set_are_said(here):
    pairs = ((3, 1), (4, 2), (5, 5), (6, 6))
    rows = [{"problem": f"{m}+{n}=?", "answer": f"{m + n}"} for m, n in pairs]
    (here / "held_out.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (here / "job.py").write_text(
        f"""{HEAD}
experiment = dataclasses.replace(
    experiment,
    train_set=ProblemFile("good.jsonl"),
    validation=Validation(ProblemFile("held_out.jsonl"), problems=4),
    sft=None,
)
"""
    )
    from maspo_jax.config import loading
    from maspo_jax.learning.run import check_experiment

    warning = check_experiment(loading.load("job.py"), "run")[-1]
    said = (
        "warning: 2 of the 4 problems of validation.source (50.0%) stand in train_set"
    )
    assert warning.startswith(said) and "data.sources.Unseen" in warning


CHECKPOINTS = {
    "gpt2": (
        lambda folder: changed(folder / "config.json", model_type="gpt2"),
        "gpt2",
    ),
    "no weights": (lambda folder: weights(folder).unlink(), "safetensors"),
    "half a file": (
        lambda folder: weights(folder).write_bytes(weights(folder).read_bytes()[:-99]),
        "damaged",
    ),
    "no tokenizer": (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer"),
}


def weights(folder):
    return min(folder.glob("*.safetensors"))


def changed(file, **settings):
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoints(here, name):
    damage, *said = CHECKPOINTS[name]
    problems = write_problems(here / "gsm8k.jsonl")
    damage(write_checkpoint(here / "checkpoint", problems))
    refused(*run(evaluate, "checkpoint", "gsm8k.jsonl"), *said)
    assert not (here / "evaluations").exists()


def test_too_little_memory_on_a_device_is_said_in_a_line(capsys):
    """With what to change; any other error of the runtime is not for a user."""

    @dataclasses.dataclass(frozen=True)
    class Draw:
        """Draws."""

        why: str

        def run(self):
            raise jax.errors.JaxRuntimeError(f"{self.why}: 9 GiB\nand much else")

    assert console.command(Draw)(["--why", "RESOURCE_EXHAUSTED"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(
        "error: a device has too little memory: RESOURCE_EXHAUSTED: 9 GiB; "
    )
    for option in ("--sampling.slots", "--sampling.wave", "--batch"):
        assert option in said
    assert said.count("\n") == 1
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        console.command(Draw)(["--why", "INTERNAL"])
