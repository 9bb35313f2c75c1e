"""A job on files alone: their tokenizer, their chat template, their problems."""

import json

import pytest
import tokenizers as library
from conftest import EXPERIMENTS, command, measured, run

from maspo_jax.cli import evaluate
from maspo_jax.config import loading, serialization
from maspo_jax.runs import run_folder

CHAT = (
    "{{ bos_token }}{% for message in messages %}<U>{{ message.content }}{% endfor %}"
    "{% if add_generation_prompt %}<A><think>\n{% endif %}"
)


@pytest.fixture
def checkpoint(tmp_path):
    """The folder of a checkpoint, without its weights."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=270,
        special_tokens=["<bos>", "<eos>", "<stop>", "<U>", "<A>", "<think>"],
        initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["What is 1+1?"], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"bos_token": "<bos>", "eos_token": "<eos>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(special))
    (folder / "generation_config.json").write_text('{"eos_token_id": [1, 2]}')
    (folder / "chat_template.jinja").write_text(CHAT)
    return folder


@pytest.fixture
def experiment(tmp_path, checkpoint, write):
    rows = [{"problem": f"What is {n}+{n}?", "answer": str(2 * n)} for n in range(20)]
    train = write(*rows[:12], rows[0], name="train.parquet")
    other = write(*rows[12:], name="other.json")
    asked = [{"problem": f"What is {n}+1?", "answer": str(n + 1)} for n in range(2, 10)]
    held_out = write(*asked, name="held_out.jsonl")
    path = tmp_path / "experiment.py"
    path.write_text(
        f"""
import dataclasses, sys
sys.path.insert(0, {str(EXPERIMENTS)!r})
from tiny import experiment
from maspo_jax.config import Grading, Validation
from maspo_jax.data.prompts import templates
from maspo_jax.data.prompts.chat import ChatTemplate
from maspo_jax.data.sources import ProblemFile
from maspo_jax.data.sources.selections import Distinct, Fitting, Mixture
from maspo_jax.data.prompts.tokenizer import FileTokenizer
from maspo_jax.rewards import graders

tokenizer = FileTokenizer({str(checkpoint)!r})
template = ChatTemplate({str(checkpoint)!r}, templates.DAPO)
train, other = ProblemFile({train!r}), ProblemFile({other!r})
fitting = Fitting(Distinct(train), template, tokenizer, 400)
experiment = dataclasses.replace(
    experiment,
    tokenizer=tokenizer,
    template=template,
    policy=dataclasses.replace(experiment.policy, vocabulary=tokenizer.size + 30),
    train_set=Mixture((fitting, other), (3, 2)),
    validation=Validation(ProblemFile({held_out!r}), problems=8),
    sampling=dataclasses.replace(experiment.sampling, prompt_length=400),
    grading=Grading(graders.dapo),
    sft=None,
    steps=1,
)
"""
    )
    return path


def test_it_runs_and_its_record_builds_it_again(experiment, tmp_path):
    folder = tmp_path / "run"
    status, output = command(experiment, "--run", folder)
    assert status == 0, output
    again = run_folder.read_experiment(folder)
    assert again == loading.load(experiment)
    assert len(again.train_set) == 20
    (line,) = run_folder.read_metrics(folder, "reinforcement")
    # It is asked to reason, and too short to get to an answer.
    assert line["verifier/no_answer"] == 1


@pytest.mark.parametrize(
    "words, message",
    [
        (["--policy.vocabulary", "260"], "policy.vocabulary=260 but the tokenizer has"),
        (["--tokenizer.eos-token", "<gone>"], "eos_token='<gone>' is not a token"),
        (["--template.style.answer", "####"], "reads only `Answer:`"),
        (["--template.folder", "gone"], "no folder gone"),
        (["--sampling.prompt-length", "200"], "Raise the length to at least"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_files_that_do_not_fit_are_refused(experiment, tmp_path, words, message):
    folder = tmp_path / "run"
    status, output = command(experiment, "--run", folder, *words)
    assert status == 2 and message in output, output
    assert "Traceback" not in output and not folder.exists()


@pytest.mark.parametrize(
    "words, change",
    [
        (["--template.enable-thinking", "False"], "template.enable_thinking"),
        (["--tokenizer.pad-token", "<stop>"], "tokenizer.pad_token"),
        (["--template.system", "Be brief."], "template.system"),
        (["--validation.source.first", "8"], "validation.source.first"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_settings_of_files_can_be_overridden(experiment, words, change):
    changed = loading.load(experiment, words)
    (line,) = serialization.differences(
        serialization.to_json(changed), serialization.to_json(loading.load(experiment))
    )
    assert line.startswith(f"{change}: ")


FILES = [
    "checkpoint/tokenizer.json",
    "checkpoint/tokenizer_config.json",
    "checkpoint/generation_config.json",
    "checkpoint/chat_template.jinja",
    "train.parquet",
    "other.json",
    "held_out.jsonl",
]
EVALUATION = ("--samples", 2, "--response-length", 2)


def test_a_file_that_changed_is_seen_by_whatever_goes_on(experiment, tmp_path):
    """Edits that change nothing that was trained on: only the content can tell."""
    folder, out = tmp_path / "run", tmp_path / "evaluation"
    start = lambda: command(experiment, "--run", folder)
    words = (folder, tmp_path / "other.json", *EVALUATION, "--out")
    ask = lambda: run(evaluate, *words, out)
    ask_anew = lambda: run(evaluate, *words, tmp_path / "new")
    for go in (start, ask):
        status, output = go()
        assert status == 0, output
    before, drawn = measured(folder), (out / "other.jsonl").read_bytes()
    assert set(run_folder.record(loading.load(experiment))["files"]) == {
        str(tmp_path / name) for name in FILES
    }
    for name in FILES:
        file = tmp_path / name
        content = file.read_bytes()
        file.write_bytes(edited(name, content))
        asked = "checkpoint" in name
        for go in (start, ask, ask_anew) if asked else (start,):
            status, output = go()
            assert status == 2 and str(file) in output, (name, output)
            assert "ut back" in output or "put it back" in output
            assert "Traceback" not in output
        file.write_bytes(content)
    for go in (start, ask):
        status, output = go()
        assert status == 0, output
    assert measured(folder) == before
    assert (out / "other.jsonl").read_bytes() == drawn


def edited(name, content):
    """Returns another content that is read as the same, but for the parquet file."""
    if name.endswith(".parquet"):
        import pyarrow.parquet

        file = pyarrow.BufferReader(content)
        sink = pyarrow.BufferOutputStream()
        table = pyarrow.parquet.read_table(file)
        pyarrow.parquet.write_table(table, sink, compression="gzip")
        return sink.getvalue().to_pybytes()
    return content + (b"{# #}" if name.endswith(".jinja") else b"\n")
