"""A pod of two processes on a checkpoint of Hugging Face and real problems."""

import json
import shutil

import numpy as np
import pytest
from support.checkpoint_files import (
    PROMPT_LENGTH,
    SMALL,
    write_checkpoint,
    write_experiment,
    write_problems,
)
from support.processes import LIMIT, free_port, launch

from maspo_jax.runs import run_folder

# Updates so small that they change no sampled token, and nearly proportional to the
# gradient, so that rounding is not amplified.
SETTINGS = [
    *SMALL,
    *("--sft.phases.0.updates", 3, "--sft.optimization.warmup-updates", 0),
    *("--sft.optimization.learning-rate", 0.1),
    *("--sft.optimization.epsilon", 1, "--optimization.epsilon", 1),
    *("--optimization.learning-rate", 0.1, "--sampling.responses", 4),
    *("--sampling.response-length", 32),
]
PENALTY = "OverlongPenalty(buffer=31)"  # so that rewards differ: no answer is right


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with an experiment, its checkpoint and problems, by relative path."""
    folder = tmp_path_factory.mktemp("here")
    write_problems(folder / "gsm8k.jsonl")
    write_checkpoint(folder / "tiny-qwen2", folder / "gsm8k.jsonl")
    file = write_experiment(folder / "experiment.py", "tiny-qwen2", "gsm8k.jsonl")
    text = file.read_text().replace(
        "Validation,", "Validation,\n    OverlongPenalty,", 1
    )
    gate = "gate=gates.Maspo()"
    file.write_text(text.replace(gate, f"{gate}, overlong_penalty={PENALTY}"))
    return folder


def start(module, *words, folders):
    """Starts a command in each of some folders, as one pod if there are several."""
    if len(folders) == 1:
        return [launch(module, *words, folder=folders[0])]
    address = f"localhost:{free_port()}"
    return [
        launch(
            module,
            *(*words, "--pod", f"{address}/{index}/{len(folders)}"),
            devices=2,
            folder=folder,
        )
        for index, folder in enumerate(folders)
    ]


def outputs(pod):
    """Returns the status and the output of each process, when all have ended."""
    texts = [process.communicate(timeout=LIMIT)[0] for process in pod]
    return [process.returncode for process in pod], texts


@pytest.fixture(scope="module")
def trained(here):
    """The same run by one process, and by two that share one copy of the policy."""
    for name, count, fsdp in (("one", 1, 1), ("two", 2, 4)):
        words = ("experiment.py", *SETTINGS, "--fsdp", fsdp, "--run", here / name)
        pod = start("train", *words, folders=[here] * count)
        statuses, texts = outputs(pod)
        assert statuses == [0] * count, "\n".join(texts)
    return here / "one", here / "two"


@pytest.fixture(scope="module")
def weights(trained, here):
    """{name: value} of the tensors before, after one process, and after two."""
    from safetensors.numpy import load_file

    for folder in trained:
        words = (folder, "--out", f"{folder}-exported")
        statuses, texts = outputs(start("export", *words, folders=[here]))
        assert statuses == [0], texts
    before = {}
    for file in (here / "tiny-qwen2").glob("*.safetensors"):
        before |= load_file(file)
    after = [load_file(f"{folder}-exported/model.safetensors") for folder in trained]
    return before, *after


def test_both_learned_from_the_same_tokens(trained):
    for folder in trained:
        steps = run_folder.read_metrics(folder, "reinforcement")
        assert [line["grad_norm"] > 1e-3 for line in steps] == [True, True]
    one, two = (sorted(map(json.dumps, drawn(folder))) for folder in trained)
    assert one == two and len(one) == 2 * 8 * 4 / 2


def drawn(folder):
    """Yields what was drawn in the last update of each step of a run."""
    for file in (folder / "rollouts").iterdir():
        for row in map(json.loads, file.read_text().splitlines()):
            names = ("problem", "response", "tokens", "reward")
            yield file.name[:11], *(row[name] for name in names)


def test_parameters_moved_alike(weights):
    before, one, two = weights
    assert before.keys() == one.keys() == two.keys()
    for name in before:
        moved = np.linalg.norm(one[name] - before[name])
        assert moved > 1e-6 * np.linalg.norm(before[name]), name
        assert np.linalg.norm(one[name] - two[name]) < 1e-3 * moved, name


def test_what_two_trained_opens_in_transformers(trained, weights):
    import transformers

    folder = f"{trained[1]}-exported"
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    found = {name: value.numpy() for name, value in model.state_dict().items()}
    for name, value in weights[2].items():
        assert np.array_equal(found[name], value), name
    assert transformers.AutoTokenizer.from_pretrained(folder).eos_token == "<|im_end|>"


@pytest.mark.parametrize("policy", ["two", "tiny-qwen2"])
def test_two_evaluate_what_one_does(trained, here, policy):
    lengths = ("--prompt-length", PROMPT_LENGTH, "--response-length", 16)
    words = (policy, "gsm8k.jsonl", "--samples", 4, "--batch", 16, *lengths)
    found = []
    for count in (1, 2):
        out = here / f"{policy}-evaluated-{count}"
        pod = start("evaluate", *words, "--out", out, folders=[here] * count)
        statuses, texts = outputs(pod)
        assert statuses == [0] * count, "\n".join(texts)
        names = ("evaluation.json", "gsm8k.jsonl", "results.json")
        found.append([(out / name).read_bytes() for name in names])
    assert found[0] == found[1]
    assert found[0][1].count(b"\n") % 4 == 0 and found[0][1]


def copied(here, folder):
    """Returns a copy of what a run is made of, without what came of it."""
    ignored = shutil.ignore_patterns("one*", "two*", "*-evaluated-*")
    return shutil.copytree(here, folder, ignore=ignored)


def lose_weights(folder):
    (folder / "tiny-qwen2" / "model-00002-of-00003.safetensors").unlink()


def cut_weights(folder):
    file = folder / "tiny-qwen2" / "model-00002-of-00003.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def lose_tokenizer(folder):
    (folder / "tiny-qwen2" / "tokenizer.json").unlink()


def lose_problems(folder):
    (folder / "gsm8k.jsonl").unlink()


FAULTS = {
    lose_weights: "model-00002-of-00003.safetensors, which is not there; fetch it",
    cut_weights: "model-00002-of-00003.safetensors is damaged or half a download",
    lose_tokenizer: "no tokenizer at tiny-qwen2",
    lose_problems: "no file of problems at gsm8k.jsonl",
}


@pytest.mark.parametrize(
    "command, spoil, number",
    [
        ("train", lose_weights, 1),
        ("train", lose_problems, 0),
        ("evaluate", lose_weights, 0),
        pytest.param("train", cut_weights, 0, marks=pytest.mark.slow),
        pytest.param("train", lose_tokenizer, 1, marks=pytest.mark.slow),
        pytest.param("evaluate", cut_weights, 1, marks=pytest.mark.slow),
        pytest.param("evaluate", lose_tokenizer, 0, marks=pytest.mark.slow),
        pytest.param("evaluate", lose_problems, 1, marks=pytest.mark.slow),
    ],
)
def test_a_fault_in_one_process_ends_both(here, tmp_path, command, spoil, number):
    spoiled, out = copied(here, tmp_path / "spoiled"), tmp_path / "out"
    spoil(spoiled)
    words = {
        "train": ("experiment.py", *SETTINGS, "--run", out),
        "evaluate": ("tiny-qwen2", "gsm8k.jsonl", "--out", out),
    }
    folders = [here, here]
    folders[number] = spoiled
    pod = start(f"{command}", *words[command], folders=folders)
    statuses, texts = outputs(pod)
    assert statuses == [2, 2], "\n".join(texts)
    for text in texts:
        assert "Traceback" not in text and text.count("error: ") == 1, text
    assert FAULTS[spoil] in texts[number]
    assert "another process of this pod refused" in texts[1 - number]
    assert not out.exists()


def test_processes_with_other_files_stop_before_they_begin(here, tmp_path):
    other, out = copied(here, tmp_path / "other"), tmp_path / "out"
    template = other / "tiny-qwen2" / "chat_template.jinja"
    template.write_text(template.read_text().replace("assistant", "asistant"))
    words = ("experiment.py", *SETTINGS, "--run", out)
    statuses, texts = outputs(start("train", *words, folders=[here, other]))
    for text in texts:
        assert "disagree about the experiment, its files or its folder" in text
    assert statuses == [2, 2] and not out.exists()
