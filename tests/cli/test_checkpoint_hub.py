"""Checkpoints by name: where their parts come from."""

import pytest

from maspo_jax import hub
from maspo_jax.data.prompts.chat import ChatTemplate
from maspo_jax.data.prompts.tokenizer import FileTokenizer
from maspo_jax.models.huggingface.load import Checkpoint


@pytest.mark.parametrize(
    "read",
    [
        lambda: FileTokenizer("owner/model", revision="v2").file,
        lambda: ChatTemplate("owner/model", revision="v2").exists,
        lambda: Checkpoint("owner/model", revision="v2").folder,
    ],
    ids=["tokenizer", "template", "weights"],
)
def test_all_parts_come_from_the_revision_asked_for(monkeypatch, read):
    asked = []

    def folder_of(name, revision=None, files=hub.TEXTS):
        asked.append((name, revision, "*.safetensors" in files))
        raise FileNotFoundError(name)

    monkeypatch.setattr(hub, "folder_of", folder_of)
    with pytest.raises(FileNotFoundError):
        read()
    assert [row[:2] for row in asked] == [("owner/model", "v2")]


@pytest.mark.parametrize(
    "name, is_one",
    [
        ("Qwen/Qwen2.5-1.5B", True),
        ("checkpoint", False),
        ("/data/Qwen/model", False),
        ("Qwen/tokenizer.json", False),
        ("tests/experiments", False),  # a folder that exists
    ],
)
def test_a_name_has_an_owner_and_is_no_path(name, is_one, monkeypatch):
    from conftest import ROOT

    monkeypatch.chdir(ROOT)
    assert hub.is_name(name) == is_one


def test_what_is_neither_folder_nor_name_is_refused():
    with pytest.raises(FileNotFoundError, match="nor is it a name like OWNER/MODEL"):
        hub.folder_of("nowhere")


def test_a_revision_of_a_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="revision='v2': .* is a folder here"):
        hub.folder_of(str(tmp_path), "v2")
