"""The content of every file an experiment is made of has a digest."""

import dataclasses
import json

import pytest

from maspo_jax import hub, storage
from maspo_jax.data.prompts import templates
from maspo_jax.data.prompts.chat import ChatTemplate
from maspo_jax.data.prompts.tokenizer import FileTokenizer
from maspo_jax.data.sources import ProblemFile
from maspo_jax.data.sources.selections import Distinct, Fitting, Mixture, Unseen
from maspo_jax.models.huggingface.load import Checkpoint
from maspo_jax.runs import provenance

TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "generation_config.json")
CHAT = ("chat_template.jinja", "tokenizer_config.json")
# A part of an experiment, made in a folder, and the files it is read from.
PARTS = {
    "tokenizer": (FileTokenizer, TOKENIZER),
    "its file": (lambda folder: FileTokenizer(f"{folder}/tokenizer.json"), TOKENIZER),
    "template": (ChatTemplate, CHAT),
    "weights": (Checkpoint, ("config.json",)),
    "problems": (lambda folder: ProblemFile(f"{folder}/a.jsonl"), ("a.jsonl",)),
    "selection": (
        lambda folder: Fitting(
            Distinct(ProblemFile(f"{folder}/a.jsonl")),
            ChatTemplate(folder),
            FileTokenizer(folder),
            9,
        ),
        ("a.jsonl", *CHAT, *TOKENIZER),
    ),
    "mixture": (
        lambda folder: Mixture(
            (
                ProblemFile(f"{folder}/a.jsonl"),
                Unseen(
                    ProblemFile(f"{folder}/b.json"), (ProblemFile(f"{folder}/c.gz"),)
                ),
            ),
            (1, 2),
        ),
        ("a.jsonl", "b.json", "c.gz"),
    ),
}


@pytest.fixture
def folder(tmp_path):
    """A file of every name, whose content is its name."""
    for name in {name for _, files in PARTS.values() for name in files}:
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.mark.parametrize("make, files", PARTS.values(), ids=PARTS)
def test_a_part_has_a_digest_for_each_file_and_they_differ_with_it(make, files, folder):
    before = provenance.digests(make(str(folder)))
    assert set(before) == {str(folder / name) for name in files}
    assert len(set(before.values())) == len(set(files))
    assert provenance.digests(make(str(folder))) == before
    for name in files:
        (folder / name).write_text("other")
        after = provenance.digests(make(str(folder)))
        changed = {file for file in before if before[file] != after[file]}
        assert changed == {str(folder / name)}
        (folder / name).write_text(name)
    assert provenance.digests(make(str(folder))) == before


def test_a_digest_is_that_of_sha256sum(folder):
    (folder / "a.jsonl").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert storage.digest_file(folder / "a.jsonl") == f"sha256 {known}"


def test_what_reads_no_files_has_no_digests():
    for part in (templates.BOXED, (1, "a", None)):
        assert provenance.digests(part) == {}


def test_the_revision_of_a_name_is_the_commit_that_was_fetched(folder, monkeypatch):
    snapshot = folder / "snapshots" / "0a1b"
    snapshot.mkdir(parents=True)
    for name in (*TOKENIZER, *CHAT, "config.json"):
        (snapshot / name).write_text(name)
    found = lambda name, *rest: folder if name == str(folder) else snapshot
    monkeypatch.setattr(hub, "folder_of", found)

    @dataclasses.dataclass(frozen=True)
    class Parts:
        parts: tuple

    name = "owner/model"
    parts = Parts((FileTokenizer(name), ChatTemplate(name), Checkpoint(name)))
    assert provenance.revisions(parts) == {name: "0a1b"}
    for part in parts.parts:
        assert provenance.revisions(part) == {name: "0a1b"}
    assert {file.rpartition("/")[0] for file in provenance.digests(parts)} == {name}
    digests = provenance.digests(parts)
    assert json.loads(json.dumps(digests)) == digests
    assert provenance.revisions(FileTokenizer(str(folder))) == {}
