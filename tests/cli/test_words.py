"""Words of the command line: parts by name, and one clear line for wrong ones."""

import itertools

import pytest
from conftest import TINY, command, run

from maspo_jax import arguments, config
from maspo_jax.cli import (
    compare,
    contamination,
    evaluate,
    export,
    figures,
    grade,
    plan,
    train,
)
from maspo_jax.cli import main as cli
from maspo_jax.config import Experiment, loading
from maspo_jax.data import prompts
from maspo_jax.data import sources as data_sources
from maspo_jax.data.prompts import templates
from maspo_jax.models.huggingface.load import Checkpoint
from maspo_jax.objectives import advantages, correction, gates, kl, token_weights
from maspo_jax.rewards import graders


def load(*words):
    return loading.load(TINY, words)


@pytest.mark.parametrize("name", ["dgpo", "Dgpo", "DGPO"])
def test_a_gate_is_chosen_by_its_name(name):
    assert load("--objective.gate", name).objective.gate == gates.Dgpo()
    words = [f"--objective.gate={name}", "--objective.gate.n", "2"]
    assert load(*words).objective.gate == gates.Dgpo(n=2.0)
    assert load(*reversed(words[1:2]), "2", words[0]) == load(*words)


@pytest.mark.parametrize("name", ["clip", "paper-bapo", "importance_sampling"])
def test_every_spelling_of_a_name_will_do(name):
    gate = load("--objective.gate", name).objective.gate
    assert type(gate).__name__.lower() == name.replace("-", "").replace("_", "")


@pytest.mark.parametrize("word", ["off", "None", "none"])
def test_a_part_is_left_out(word):
    assert load("--sft", word).sft is None
    assert load("--sft", word) == load(f"--sft={word}")


@pytest.mark.parametrize(
    "words, message",
    [
        (["--objective.gate", "dpo"], "choose one of Aspo, Bapo, "),
        (["--objective.gate", "off"], "--objective.gate off: choose one of"),
        (["--objective.gate"], "gate: its value is missing; choose one of Aspo"),
        (["--objective.gate", "--steps", "5"], "--objective.gate: its value is miss"),
        (["--objective.gate=", "--steps", "5"], "--objective.gate: its value is miss"),
        (["--template", "--steps", "5"], "--template: its value is missing; give one"),
        (["--optimization", "off"], "such as --optimization.learning-rate"),
        (["--sft", "on"], "such as --sft.phases; --sft off leaves it out"),
        (["--objective.gate.alhpa", "1"], "the closest is --objective.gate.alpha"),
        (["--gate.alpha", "1"], "the closest is --objective.gate.alpha"),
        (["--learning-rate", "1"], "--optimization.learning-rate"),
        (["--objective.gate.alpha=1", "steps=3"], "write --steps 3"),
        (["objective.gate.alpha=1"], "write --objective.gate.alpha 1"),
        (["sampling.response_length=9"], "write --sampling.response-length 9"),
        (["--lr", "1"], "the closest is --optimization.learning-rate"),
        (["--num-generations", "8"], "the closest is --sampling.responses"),
        (["--ppo_epochs", "2"], "the closest is --updates.epochs"),
        (["--steps", "ten"], "Error parsing --steps: invalid literal"),
        (["--steps", "1", "2"], "'2' is no option, nor the value of one"),
        (
            ["--objective.weight", "token_mean"],
            "in the file, as objective=Objective(weight=token_weights.token_mean)",
        ),
        (
            ["--objective.advantage=Whitened"],
            "in the file, as objective=Objective(advantage=advantages.whitened)",
        ),
        (
            ["--objective.advantage", "x"],
            "advantages.NAME), where NAME is one of group",
        ),
        (["--grading.grader", "gsm8k"], "as grading=Grading(grader=graders.gsm8k)"),
        (
            ["--grader", "x"],
            "the closest is --grading.grader: it is chosen in the file",
        ),
        (["--template", "boxed"], "in the file, as template=templates.BOXED"),
        (["template=dapo"], "'template=dapo': it is chosen in the file, as template="),
        (["--tokenizer", "qwen"], "in the file, as tokenizer=FileTokenizer('qwen')"),
        (["--train-set", "a.jsonl"], "as train_set=ProblemFile('a.jsonl')"),
        (["--validation.source", "a"], "validation=Validation(source=ProblemFile('a')"),
        (["--policy", "Qwen/Q"], "in the file, as policy=Checkpoint('Qwen/Q')"),
        (["--kl_in_reward", "on"], "objective=Objective(kl_in_reward=kl.Penalty(0.001"),
        (["--sampling.dynamic", "on"], "sampling=Sampling(dynamic=DynamicSampling())"),
        (["--sft.phases", "2"], "sft=Sft(phases=(Phase("),
        (["--gate", "dgpo"], "no option --gate; the closest is --objective.gate"),
        (["objective.gate=dgpo"], "write --objective.gate dgpo"),
        (["+objective.gate.alpha=1"], "write --objective.gate.alpha 1"),
        (["--objective.gate", "dgpoo"], "the closest is Dgpo; choose one of"),
        (["--rn", "x"], "no option --rn; the closest is --run"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_wrong_words_are_one_line(words, message):
    with pytest.raises(ValueError) as caught:
        load(*words)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "words, messages",
    [
        (
            ["--steps", "ten", "--stpes", "3"],
            [
                "Error parsing --steps: invalid literal",
                "no option --stpes; the closest",
            ],
        ),
        (
            ["--lr", "1", "--gate.alhpa", "2", "template=boxed", "--seed=x"],
            [
                "Error parsing --seed",
                "no option --lr; the closest is --optimization.learning-rate",
                "no option --gate.alhpa; the closest is --objective.gate.alpha",
                "'template=boxed': it is chosen in the file",
            ],
        ),
        (
            ["--objective.gate", "dpo", "--policy.dtype", "float61", "--optimization"],
            [
                "choose one of Aspo",
                "choose float32 or bfloat16",
                "--optimization: its value is missing; give one of its settings",
            ],
        ),
    ],
    ids=lambda words: words[0],
)
def test_several_wrong_words_are_said_at_once(words, messages):
    with pytest.raises(ValueError) as caught:
        load(*words)
    first, *lines = str(caught.value).splitlines()
    assert first == f"{len(messages)} things are wrong:" and len(lines) == len(messages)
    for message in messages:
        assert sum(message in line for line in lines) == 1


def test_wrong_words_and_what_does_not_fit_are_said_at_once(tmp_path):
    words = ["--objective.gate.alhpa", 1, "--steps", -5, "--updates.minibatches", 3]
    status, output = command(TINY, *words, "--run", tmp_path / "run")
    assert status == 2 and not (tmp_path / "run").exists()
    (begin,) = [n for n, line in enumerate(output.splitlines()) if "error" in line]
    first, *lines = output.splitlines()[begin:]
    assert first == "error: 3 things are wrong:"
    for message in ("the closest is --objective.gate.alpha", "steps=-5: must", "=3;"):
        assert sum(message in line for line in lines) == 1


def test_several_options_of_a_command_are_said_at_once():
    words = ["RUN", "FILE", "--sampels", "3", "--top-p", "0", "--batch", "x"]
    status, output = run(evaluate, *words)
    assert status == 2 and output.startswith("error: 3 things are wrong:\n")
    for message in ("the closest is --samples", "--top-p=0.0: must lie", "--batch"):
        assert message in output


def test_parts_that_are_chosen_in_the_file_are_there():
    rooms = {
        "advantages": advantages,
        "graders": graders,
        "templates": templates,
        "token_weights": token_weights,
    }
    for module, names in loading.CHOICES.values():
        assert all(hasattr(rooms[module], name) for name in names)
    known = {**vars(config), **vars(data_sources), **vars(prompts)}
    known |= {"advantages": advantages, "correction": correction, "kl": kl}
    known |= {"Checkpoint": Checkpoint}
    for example in loading.EXAMPLES.values():
        eval(example.replace("...", "'1'" if "File" in example else "1"), known)


@pytest.mark.parametrize(
    "module, words, message",
    [
        (train, [], "EXPERIMENT.py"),
        (train, ["--run", "x"], "Missing from maspo train: EXPERIMENT.py"),
        (train, ["--rnu", "x"], "give EXPERIMENT.py"),
        (train, [TINY, "--rnu", "x"], "no option --rnu"),
        (train, [TINY, "--sampling.top-p", "1"], "samples from the whole distribution"),
        (train, [TINY, "--sampling.slots", "all"], "all: give None or a whole number"),
        (train, ["experiments/aritmetic.py"], "the closest is experiments/arithmetic"),
        (evaluate, ["run", "file", "--sample", "3"], "the closest is --samples"),
        (evaluate, ["--sample", "3"], "the closest is --samples"),
        (evaluate, ["run"], "give BENCHMARK=FILE"),
        (evaluate, ["run", "file", "--top-p", "0"], "--top-p=0.0: must lie in (0, 1]"),
        (evaluate, ["run", "file", "--temperature", "0"], "greedy"),
        (evaluate, ["run", "file", "--dtype", "int8"], "--dtype"),
        (compare, ["a"], "DIR_B"),
        (compare, ["a", "b", "c"], "'c' is no option"),
        (export, ["run"], "--out"),
        (contamination, ["--word", "3"], "the closest is --words"),
        (contamination, [], "Missing from maspo contamination: FILE"),
        (contamination, ["a.jsonl", "--against"], "--against: give one or more files"),
        (cli, ["evalute"], "the closest is evaluate"),
        (cli, ["xyzzy"], "there are train, sweep, export"),
    ],
    ids=str,
)
def test_every_command_says_so_in_one_line(module, words, message):
    status, output = run(module, *words)
    (line,) = [line for line in output.splitlines() if line.startswith("error")]
    assert status == 2 and message in line, output


def test_pages_of_help_show_intervals_and_defaults(capsys):
    with pytest.raises(SystemExit) as end:
        train.main([TINY, "--help"])
    page = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert end.value.code == 0
    for said in (
        "--steps INT rollout batches (in [0, inf), default: 4)",
        "--objective.gate.alpha FLOAT (in [0, inf), default: 0.3)",
        "--optimization.beta1 FLOAT (in [0, 1), default: 0.9)",
    ):
        assert said in page
    for words in (["--help"], ["--run", "x", "--help"], ["-h", "--rnu"]):
        with pytest.raises(SystemExit) as end:
            train.main(words)
        assert end.value.code == 0 and "EXPERIMENT.py" in capsys.readouterr().out


@pytest.mark.parametrize("width", [50, 80, 120])
@pytest.mark.parametrize(
    "module",
    [train, plan, export, evaluate, compare, figures, grade, contamination],
    ids=lambda module: module.__name__.rpartition(".")[2],
)
def test_pages_of_help_fit_the_terminal(monkeypatch, width, module):
    monkeypatch.setenv("COLUMNS", str(width))
    status, page = run(module, "--help")
    assert status == 0
    lines = page.splitlines()
    assert max(map(len, lines)) <= width
    assert not any(first == second == "" for first, second in itertools.pairwise(lines))
    assert "None" not in page
    head = page.split("positional arguments")[0].split("\n\n", 1)[1]
    said = " ".join(head.rpartition("\n\n")[0].split())
    kind = getattr(module, module.__name__.rpartition(".")[2].capitalize())
    assert said == " ".join(kind.__doc__.split())


def test_a_page_for_a_terminal_without_unicode_has_all_the_same(monkeypatch):
    monkeypatch.setattr(arguments._Page, "encoding", "ascii")
    status, page = run(export, "--help")
    assert status == 0 and page.isascii()
    for said in ("usage: maspo export", "Writes a policy as", "POLICY ", "--out DIR "):
        assert said in page


def test_the_page_of_evaluate_says_what_may_be_given():
    _, page = run(evaluate, "--help")
    page = " ".join(page.replace("│", " ").split())
    assert all(template.name in page for template in templates.ALL)
    for said in (
        "POLICY [BENCHMARK=]FILE ...",
        "--samples INT responses to each problem (in [1, 1000], default: 32)",
        "(in [1, inf), default: as in training; 8192 for Hugging Face)",
        "(default: boxed)",
    ):
        assert said in page


def test_names_of_others_lead_to_settings():
    options = arguments._options(Experiment, "maspo", loading.load(TINY))
    for ours in arguments.ELSEWHERE.values():
        assert any(f".{option[2:]}".endswith(f".{ours}") for option in options), ours


def test_a_size_is_not_taken_for_a_number():
    status, output = command(TINY, "--ppo-mini-batch-size", 64)
    assert status == 2
    assert "the closest is --updates.minibatches, how many of them, not" in output
    _, output = run(evaluate, "POLICY", "FILE", "--ppo-mini-batch-size", 64)
    assert "no option --ppo-mini-batch-size; maspo evaluate --help" in output
    assert arguments.REMARKS.keys() <= arguments.ELSEWHERE.keys()


def test_the_version_is_that_of_the_package():
    status, output = run(cli, "--version")
    assert status == 0 and output.split()[0] == "maspo" and output.count(".") == 2


def test_without_words_the_commands_are_listed():
    for words, status in (([], 2), (["--help"], 0)):
        found, output = run(cli, *words)
        assert found == status and "contamination" in output


def test_options_are_found_on_a_page_in_colors(monkeypatch):
    monkeypatch.setattr(arguments._Page, "isatty", lambda self: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    status, output = run(export, "RUN", "--out", "d", "--stp", "3")
    assert status == 2 and "no option --stp; the closest is --step" in output


def test_a_page_that_is_not_reached_ends_in_a_line():
    status, output = run(evaluate, "RUN", "a=b", "--out", "--help")
    assert status == 2 and "Traceback" not in output and "--out" in output
