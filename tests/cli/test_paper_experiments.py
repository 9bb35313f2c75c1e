"""The runs of the papers: complete, valid, and true to the papers' tables."""

import json
import re

import pytest
from conftest import ROOT
from support.hollow import write_hollow
from support.settings import validate

from maspo_jax import hub
from maspo_jax.config import loading, serialization
from maspo_jax.data.prompts import tokenizer_files
from maspo_jax.data.sources import arithmetic
from maspo_jax.models import presets
from maspo_jax.models.huggingface import load

FILES = sorted((ROOT / "experiments" / "papers").glob("*_distill_*.py"))
SIZES = {
    "1p5b": ("1.5B", presets.DEEPSEEK_R1_DISTILL_QWEN_1_5B),
    "7b": ("7B", presets.DEEPSEEK_R1_DISTILL_QWEN_7B),
    "14b": ("14B", presets.DEEPSEEK_R1_DISTILL_QWEN_14B),
}
METHODS = {
    "grpo": "GRPO",
    "clip_higher": "Clip-Higher",
    "dac": "DAC",
    "entropy_adv": "Entropy Adv.",
    "bapo": "BAPO",
    "sapo": "SAPO",
    "maspo": "MASPO",
    "cispo": "CISPO",
    "gppo": "GPPO",
    "ce_gppo": "CE-GPPO",
    "aspo": "ASPO",
    "dgpo": "DGPO",
}
every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def parts_of(path):
    """Returns the method and the size that the name of a file says."""
    method, size = path.stem.split("_distill_")
    return METHODS[method], size


def fill(file, size=151_665):
    """Gives a tokenizer as many tokens as that of the checkpoints has."""
    data = json.loads(file.read_text())
    vocabulary = data["model"]["vocab"]
    for number in range(len(vocabulary), size):
        vocabulary[f"<unused {number}>"] = number
    file.write_text(json.dumps(data))


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """Stands for the hub and for the data: hollow checkpoints, problems by number."""
    folder = tmp_path_factory.mktemp("machine")
    fetched = {}
    for size, shape in SIZES.values():
        name = f"deepseek-ai/DeepSeek-R1-Distill-Qwen-{size}"
        fetched[name] = folder / size
        fetched[name].mkdir()
        write_hollow(fetched[name], shape)
        tokenizer_files.write_tokenizer(arithmetic.tokenizer(), fetched[name])
        fill(fetched[name] / "tokenizer.json")
        (fetched[name] / "chat_template.jinja").write_text("{{ messages[0].content }}")
    (folder / "data").mkdir()
    rows = [{"problem": f"{n}+1=?", "answer": str(n + 1)} for n in range(600)]
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    (folder / "data" / "math500.jsonl").write_text(text)
    import pyarrow.json
    import pyarrow.parquet

    table = pyarrow.json.read_json(folder / "data" / "math500.jsonl")
    pyarrow.parquet.write_table(table, folder / "data" / "dapo_math_17k.parquet")
    return folder, fetched


@pytest.fixture
def experiment(machine, monkeypatch):
    """Loads the experiment of a file on that machine."""
    folder, fetched = machine
    monkeypatch.chdir(folder)
    monkeypatch.setattr(hub, "folder_of", lambda name, *_: fetched[name])
    return loading.load


@every_file
def test_every_run_is_valid_and_comes_back_from_its_record(experiment, path):
    loaded = experiment(path)
    pod = ["--fsdp", "8", "--updates.microbatches", "4"]
    for devices, words in ((1, []), (8, ["--fsdp", "8"]), (64, pod)):
        validate(experiment(path, words), devices)
    record = json.loads(json.dumps(serialization.to_json(loaded)))
    assert serialization.from_json(record) == loaded
    assert loaded.decoder == SIZES[parts_of(path)[1]][1]
    load.verify(loaded.policy.folder, loaded.decoder)
    assert loaded.updates_per_step == 16


@every_file
def test_every_file_says_its_command_and_the_figures_of_the_papers(shared, path):
    method, size = parts_of(path)
    text = path.read_text()
    assert f"maspo train experiments/papers/{path.name}" in text
    assert "Obtained here:\nnot yet run" in text
    average, at_32 = reported(shared)[method, SIZES[size][0]]
    assert f"{average} avg@32 and {at_32} pass@32" in text


def test_no_row_of_the_tables_is_missing(shared):
    rows = {(method, SIZES[size][0]) for method, size in map(parts_of, FILES)}
    assert rows == set(reported(shared))


def reported(shared):
    """Returns {(method, size): (avg@32, pass@32)}, the means the papers print."""
    text = (shared / "reference" / "objectives.md").read_text()
    found = {}
    for size in ("1.5B", "7B"):
        table = text.split(f"**DeepSeek-R1-Distill-Qwen-{size}**")[1].split("\n\n")[1]
        for line in table.splitlines()[2:]:
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            found[cells[0], size] = tuple(cells[-1].split("/"))
    scale = text.split("**Scale**")[1].splitlines()[0]
    for method, average, at_32 in re.findall(r"(\w+) ([\d.]+)/([\d.]+\d)", scale):
        found[method, "14B"] = average, at_32
    return found
