"""Checkpoints by name, through the client of the hub and over HTTP."""

import os
import pathlib
import subprocess
import sys

import pytest
from conftest import ROOT
from support.checkpoint_files import write_checkpoint, write_problems
from support.hub_server import COMMIT, hub_of
from support.processes import LIMIT, launch

NAME = "someone/tiny-qwen2"
TEXTS = {"config.json", "tokenizer.json", "tokenizer_config.json"}
TEXTS |= {"generation_config.json", "chat_template.jinja"}
OTHERS = ("pytorch_model.bin", "model.pt", "README.md", "old/model.safetensors")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint as it lies on the hub, with files that nobody needs here."""
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny-qwen2"
    problems = write_problems(tmp_path_factory.mktemp("data") / "some.jsonl")
    write_checkpoint(folder, problems)
    (folder / "old").mkdir()
    for name in OTHERS:
        (folder / name).write_text("useless")
    return folder


@pytest.fixture
def hub(folder, tmp_path, monkeypatch):
    """A hub that has it, and a client whose cache is empty."""
    with hub_of({NAME: folder}) as hub:
        for name in list(os.environ):
            if name.startswith(("HF_", "HUGGING")) or name.lower().endswith("_proxy"):
                monkeypatch.delenv(name)
        for name, value in hub.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        yield hub


def export(name, out):
    """Copies a checkpoint by name. Returns the status and what was printed."""
    process = launch("export", name, "--out", out)
    output, _ = process.communicate(timeout=LIMIT)
    return process.returncode, output


def weights(folder):
    from safetensors.numpy import load_file

    found = {}
    for file in pathlib.Path(folder).glob("*.safetensors"):
        found |= {name: value.tobytes() for name, value in load_file(file).items()}
    return found


def test_a_name_is_fetched_once_and_then_needs_no_network(
    hub, folder, tmp_path, monkeypatch
):
    status, output = export(NAME, tmp_path / "online")
    assert status == 0, output
    shards = {f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)}
    wanted = TEXTS | shards | {"model.safetensors.index.json"}
    assert sorted(hub.fetched) == sorted(wanted)
    assert weights(tmp_path / "online") == weights(folder)
    template = "chat_template.jinja"
    assert (tmp_path / "online" / template).read_text() == (
        folder / template
    ).read_text()

    hub.fetched.clear()
    hub.folders.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    status, output = export(NAME, tmp_path / "offline")
    assert status == 0, output
    assert weights(tmp_path / "offline") == weights(folder)
    assert not hub.fetched


def refused(name, out):
    """Returns the one error of an export that fails."""
    status, output = export(name, out)
    assert status == 2 and "Traceback" not in output, output
    (error,) = [line for line in output.splitlines() if "error: " in line]
    assert output.rstrip().endswith(error) and not out.exists()
    assert repr(name) in error
    return error


def test_a_name_that_is_not_there_is_refused(hub, tmp_path):
    error = refused("someone/unknown", tmp_path / "out")
    assert "401 Client Error" in error and "correct the name or the revision" in error


@pytest.mark.parametrize(
    "variable, value, reason",
    [
        ("HF_HUB_OFFLINE", "1", "outgoing traffic has been disabled"),
        ("HF_ENDPOINT", "http://localhost:9", "Connection refused"),
    ],
)
def test_without_a_network_the_remedy_is_named(
    hub, tmp_path, monkeypatch, variable, value, reason
):
    monkeypatch.setenv(variable, value)
    error = refused(NAME, tmp_path / "out")
    assert reason in error and "the same command" in error
    assert "or download it to a folder" in error


def test_a_download_that_breaks_off_is_refused_and_can_be_started_again(
    hub, folder, tmp_path
):
    hub.cut.add("model-00002-of-00003.safetensors")
    error = refused(NAME, tmp_path / "out")
    assert "the same command" in error
    hub.cut.clear()
    hub.fetched.clear()
    status, output = export(NAME, tmp_path / "out")
    assert status == 0, output
    assert weights(tmp_path / "out") == weights(folder)
    assert "model-00002-of-00003.safetensors" in hub.fetched
    assert "config.json" not in hub.fetched  # what was whole stays


def test_the_commit_is_known(hub):
    code = (
        "from maspo_jax.runs import provenance; "
        "from maspo_jax.models.huggingface.load import Checkpoint; "
        f"print(provenance.revisions(Checkpoint({NAME!r})))"
    )
    command = [sys.executable, "-c", code]
    output = subprocess.check_output(command, text=True, cwd=ROOT)
    assert output.strip() == str({NAME: COMMIT})
