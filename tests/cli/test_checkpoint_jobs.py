"""A checkpoint of Hugging Face from its folder through training to a new folder."""

import contextlib
import io
import json
import shutil

import jax
import numpy as np
import pytest
import safetensors
from conftest import command, measured
from support.checkpoint_files import (
    SMALL,
    write_checkpoint,
    write_experiment,
    write_problems,
)

from maspo_jax import distributed
from maspo_jax.cli import compare, evaluate, export
from maspo_jax.data.prompts import templates
from maspo_jax.evaluation import evaluation_folder, policies
from maspo_jax.models.attention import layout_of_mask
from maspo_jax.models.huggingface import load
from maspo_jax.runs import run_folder


@pytest.fixture(scope="module")
def problems(tmp_path_factory):
    return write_problems(tmp_path_factory.mktemp("data") / "gsm8k.jsonl")


@pytest.fixture(scope="module")
def checkpoint(problems, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny-qwen2"
    return write_checkpoint(folder, problems)


@pytest.fixture(scope="module")
def trained(checkpoint, problems, tmp_path_factory):
    """A run of two steps with MASPO on it."""
    folder = tmp_path_factory.mktemp("runs")
    file = write_experiment(folder / "experiment.py", checkpoint, problems)
    status, output = command(file, *SMALL, "--run", folder / "run")
    assert status == 0, output
    return folder / "run", file


def shown(main, *words):
    """Runs another command in this process. Returns its status and what it printed."""
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            status = main([str(word) for word in words])
        except SystemExit as exit:
            status = exit.code
    return status, output.getvalue() + errors.getvalue()


def test_a_checkpoint_trains_on_real_problems(trained):
    supervised = run_folder.read_metrics(trained[0], "sft")
    assert supervised[-1]["loss"] < supervised[0]["loss"] < 6
    steps = run_folder.read_metrics(trained[0], "reinforcement")
    assert [line["step"] for line in steps] == [1, 2]
    assert all(line["response_length/mean"] > 1 for line in steps)
    (rollouts, _) = sorted((trained[0] / "rollouts").iterdir())
    row = json.loads(rollouts.read_text().splitlines()[0])
    assert len(row["question"]) > 40 and row["gold"]


def test_it_goes_on_without_reading_the_weights_again(trained, monkeypatch):

    monkeypatch.setattr(load, "load", None)
    before = measured(trained[0])
    longer = [trained[1], *SMALL, "--run", trained[0], "--steps"]
    status, output = command(*longer, 3)
    assert status == 0, output
    assert measured(trained[0])[: len(before)] == before
    status, output = command(*longer, 2)
    assert status == 2 and "steps: 3 in the run, 2 here" in output


def test_the_policy_before_and_after_can_be_evaluated(
    trained, checkpoint, problems, tmp_path
):
    before, after = tmp_path / "before", tmp_path / "after"
    asked = (checkpoint, "--template", "gsm8k_hash")
    for words, folder in ((asked, before), ((trained[0],), after)):
        status, output = shown(
            evaluate.main,
            *(words[0], f"gsm8k={problems}", *words[1:], "--samples", 2),
            *("--prompt-length", 352, "--response-length", 16, "--out", folder),
        )
        assert status == 0, output
        results = json.loads((folder / "results.json").read_text())
        assert "gsm8k" in results["benchmarks"]
        assert "pass@2" in (folder / "results.md").read_text()
    prompts = [
        evaluation_folder.read_settings(folder)["answers"]["template"]
        for folder in (before, after)
    ]
    assert prompts[0] == prompts[1]
    words = (before, after, "--out", tmp_path / "compared")
    status, output = shown(compare.main, *words)
    assert status == 0 and "They differ in" not in output, output


def test_a_template_is_known_and_not_that_of_a_run(trained, checkpoint, problems):
    for policy, name, message in (
        (checkpoint, "boxes", "template=boxes: choose one of plain, "),
        (trained[0], "boxed", "template=boxed: a run is asked with the template it"),
    ):
        words = (policy, problems, "--template", name)
        status, output = shown(evaluate.main, *words)
        assert status == 2 and message in output, output


def test_an_evaluation_goes_on_with_the_files_it_began_with(
    checkpoint, problems, tmp_path
):
    copy = tmp_path / "copy"
    shutil.copytree(checkpoint, copy)
    words = (copy, f"gsm8k={problems}", "--samples", 2, "--out", tmp_path / "out")
    lengths = ("--prompt-length", 352, "--response-length", 4)
    begin = lambda: shown(evaluate.main, *words, *lengths)
    status, output = begin()
    assert status == 0, output
    for name, message in (
        ("chat_template.jinja", f"files.{copy}/chat_template.jinja: 'sha256 "),
        ("tokenizer.json", f"files.{copy}/tokenizer.json: 'sha256 "),
        ("generation_config.json", f"files.{copy}/generation_config.json: 'sha256 "),
        ("config.json", "decoder.rope_theta: 10000.0 in the folder, 20000.0 here"),
    ):
        content = (copy / name).read_text()
        (copy / name).write_text(content.replace("10000.0", "20000.0") + "\n")
        status, output = begin()
        assert status == 2 and message in output, output
        assert "Put back what was changed" in output
        (copy / name).write_text(content)
    status, output = begin()
    assert status == 0, output


def test_a_run_is_evaluated_with_the_configuration_it_was_trained_with(
    trained, checkpoint, problems, tmp_path
):
    config = checkpoint / "config.json"
    content = config.read_text()
    config.write_text(content.replace("10000.0", "20000.0"))
    assert config.read_text() != content
    words = (trained[0], f"gsm8k={problems}", "--samples", 2, "--out", tmp_path / "out")
    try:
        status, output = shown(evaluate.main, *words, "--response-length", 4)
    finally:
        config.write_text(content)
    assert status == 2 and f"{config} has changed since the run" in output, output


def test_an_exported_run_opens_in_transformers_with_equal_logits(trained, tmp_path):
    import torch
    import transformers

    from maspo_jax import distributed
    from maspo_jax.evaluation import policies

    folder = tmp_path / "exported"
    status, output = shown(export.main, trained[0], "--out", folder)
    assert status == 0, output
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    question = "How much is 3 + 4?"
    turns = [{"role": "user", "content": templates.BOXED.render(question)}]
    tokens = tokenizer.apply_chat_template(
        turns, add_generation_prompt=True, return_dict=True
    )["input_ids"]
    with torch.no_grad():
        expected = model(torch.tensor([tokens])).logits[0].numpy()
    policy = policies.open_policy(folder, distributed.make_mesh())
    assert policy.tokenizer.encode(policy.template.render(question)) == tokens
    rows = np.array([tokens], np.int32)
    mask = np.ones_like(rows, bool)

    @jax.jit
    def forward(decoder, rows):
        return decoder.logits(decoder(rows, layout_of_mask(mask))[0])

    logits = np.asarray(forward(policy.decoder, rows))[0]
    assert np.linalg.norm(logits - expected) <= 1e-5 * np.linalg.norm(expected)
    assert model.generation_config.eos_token_id == [2, 0]
    assert model.config.max_position_embeddings == 512  # as it was, not as trained


def test_an_export_to_a_folder_in_use_is_refused_before_any_work(tmp_path):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "thesis.tex").write_text("precious")
    for folder, message in (
        (tmp_path / "used", "is not empty; give a new folder"),
        (
            tmp_path / "used" / "thesis.tex",
            "is no folder; give another folder with --out",
        ),
    ):
        status, output = shown(export.main, "no such policy", "--out", folder)
        assert status == 2 and message in output
        assert "loading JAX" not in output
    assert (tmp_path / "used" / "thesis.tex").read_text() == "precious"


def test_the_folder_one_is_in_has_a_name(checkpoint, monkeypatch):
    monkeypatch.chdir(checkpoint)
    policy = policies.open_policy(".", distributed.make_mesh())
    assert policy.title == "tiny-qwen2"


def test_a_full_disk_is_one_line(checkpoint, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise safetensors.SafetensorError("I/O error: No space left on device")

    monkeypatch.setattr("safetensors.numpy.save_file", fail)
    status, output = shown(export.main, checkpoint, "--out", tmp_path / "new")
    assert status == 2 and f"error: {tmp_path}/new: " in output, output
    assert "No space left on device; make room" in output


def test_the_template_exported_is_the_one_it_was_trained_with(trained, tmp_path):
    import transformers

    file, own = tmp_path / "experiment.py", tmp_path / "own"
    own.mkdir()
    (own / "chat_template.jinja").write_text("{{ messages[0].content }}\nAnswer: ")
    text = trained[1].read_text()
    assert "template_of(CHECKPOINT" in text
    text = text.replace("template_of(CHECKPOINT", f"template_of({str(own)!r}")
    file.write_text(text)
    run, out = tmp_path / "run", tmp_path / "out"
    few = ("--sft.phases.0.updates", 11, "--steps", 1)
    status, output = command(file, *SMALL, *few, "--run", run)
    assert status == 0, output
    status, output = shown(export.main, run, "--out", out)
    assert status == 0, output
    turns = [{"role": "user", "content": "Why?"}]
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    prompt = tokenizer.apply_chat_template(
        turns, tokenize=False, add_generation_prompt=True
    )
    assert prompt == "Why?\nAnswer: "


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda folder: (folder / "config.json").unlink(), "it has no config.json"),
        (
            lambda folder: next(iter(folder.glob("*.safetensors"))).unlink(),
            "is half a download",
        ),
        (lambda folder: (folder / "tokenizer.json").unlink(), "no tokenizer at"),
        (
            lambda folder: (folder / "tokenizer.json").write_text(
                (folder / "tokenizer.json").read_text().replace('": 399', '": 499')
            ),
            "policy.vocabulary=416",
        ),
    ],
    ids=["no config", "half a download", "no tokenizer", "another vocabulary"],
)
def test_a_folder_that_is_no_whole_checkpoint_is_refused(
    trained, checkpoint, problems, tmp_path, spoil, message
):
    copy, run = tmp_path / "copy", tmp_path / "run"
    shutil.copytree(checkpoint, copy)
    spoil(copy)
    file = tmp_path / "experiment.py"
    file.write_text(trained[1].read_text().replace(str(checkpoint), str(copy)))
    out = tmp_path / "evaluation"
    status, output = shown(evaluate.main, copy, problems, "--out", out)
    assert status == 2 and "Traceback" not in output and not out.exists(), output
    status, output = command(file, *SMALL, "--run", run)
    assert status == 2 and message in output, output
    assert "Traceback" not in output and not run.exists()
