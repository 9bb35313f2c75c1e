"""Words of the command line: parts by name, and one clear line for wrong ones."""

import pytest
from conftest import TINY, run

from maspo_jax.cli import compare, evaluate, export, train
from maspo_jax.cli import main as cli
from maspo_jax.config import loading
from maspo_jax.objectives import gates


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
        (["--objective.gate"], "choose one of"),
        (["--optimization", "off"], "such as --optimization.learning-rate"),
        (["--sft", "on"], "such as --sft.phases; --sft off leaves it out"),
        (["--objective.gate.alhpa", "1"], "the closest is --objective.gate.alpha"),
        (["--gate.alpha", "1"], "the closest is --objective.gate.alpha"),
        (["--learning-rate", "1"], "--optimization.learning-rate"),
        (["--objective.gate.alpha=1", "steps=3"], "write --steps 3"),
        (["objective.gate.alpha=1"], "write --objective.gate.alpha 1"),
        (["sampling.response_length=9"], "write --sampling.response-length 9"),
        (["--steps", "ten"], "Error parsing --steps: invalid literal"),
        (["--steps", "1", "2"], "'2' is no option, nor the value of one"),
        (["--objective.weight", "token_mean"], "--objective.weight"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_wrong_words_are_one_line(words, message):
    with pytest.raises(ValueError) as caught:
        load(*words)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "module, words, message",
    [
        (train, [], "EXPERIMENT.py"),
        (train, [TINY, "--rnu", "x"], "no option --rnu"),
        (train, ["experiments/aritmetic.py"], "the closest is experiments/arithmetic"),
        (evaluate, ["run", "file", "--sample", "3"], "the closest is --samples"),
        (evaluate, ["run"], "give BENCHMARK=FILE"),
        (evaluate, ["run", "file", "--dtype", "int8"], "--dtype"),
        (compare, ["a"], "DIR_B"),
        (compare, ["a", "b", "c"], "'c' is no option"),
        (export, ["run"], "--out"),
        (cli, ["evalute"], "the closest is evaluate"),
        (cli, ["serve"], "there are train, export"),
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
    with pytest.raises(SystemExit) as end:
        train.main(["--help"])
    assert end.value.code == 0 and "EXPERIMENT.py" in capsys.readouterr().out


def test_the_version_is_that_of_the_package():
    status, output = run(cli, "--version")
    assert status == 0 and output.split()[0] == "maspo" and output.count(".") == 2


def test_without_words_the_commands_are_listed():
    for words, status in (([], 2), (["--help"], 0)):
        found, output = run(cli, *words)
        assert found == status and "contamination" in output
