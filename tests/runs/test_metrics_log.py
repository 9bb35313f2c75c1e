"""What a run writes down, and how it is read, that of earlier versions included."""

import json

import numpy as np
import pytest

from maspo_jax.data.sources import arithmetic
from maspo_jax.objectives.surrogate import TokenTrace
from maspo_jax.runs import run_folder
from maspo_jax.runs.metrics_log import MetricsLog
from maspo_jax.runs.responses import token_fields
from maspo_jax.types import Sequences, TrainBatch

EARLIER = [
    {"stage": "warm_up", "step": 10, "loss": 0.1 + 0.2},
    {"stage": "held_out", "step": 0, "length": 4.5},
    {"stage": "reinforcement", "step": 1, "reward": float("nan")},
    {"stage": "reinforcement", "step": 2, "reward": 0.5},
]


@pytest.fixture
def folder(tmp_path):
    lines = "".join(f"{json.dumps(line)}\n" for line in EARLIER)
    (tmp_path / "metrics.jsonl").write_text(f'{lines}{{"stage": "reinforcement", "st')
    for place in ("checkpoints/warm_up/120", "checkpoints/reinforcement/1"):
        (tmp_path / place).mkdir(parents=True)
    for place in ("tensorboard/held_out", "tensorboard/warm_up"):
        (tmp_path / place).mkdir(parents=True)
    return tmp_path


def test_stages_of_earlier_runs_are_read_by_their_names_today(folder):
    assert [line["loss"] for line in run_folder.read_metrics(folder, "sft")] == [
        0.1 + 0.2
    ]
    (validation,) = run_folder.read_metrics(folder, "validation")
    named = {"response_length/mean": 4.5}
    assert validation == {"stage": "validation", "step": 0, **named}
    assert len(run_folder.read_metrics(folder, "reinforcement")) == 2


def test_a_log_opened_again_forgets_what_came_later_and_renames_the_rest(folder):
    kept = {"sft": 10, "validation": 0, "reinforcement": 1}
    with MetricsLog(folder, kept) as log:
        log.write("validation", 5, {"accuracy": 0.5})
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    stages = [json.loads(line)["stage"] for line in lines]
    assert stages == ["sft", "validation", "reinforcement", "validation"]
    assert json.loads(lines[0])["loss"] == 0.1 + 0.2


def test_the_words_of_today_are_not_taken_for_those_of_earlier_versions(tmp_path):
    """A gate of one's own may call a detail `kept`."""
    line = {"stage": "update", "step": 1, "ratio/mean": 1.0, "kept": 0.5}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    assert run_folder.read_metrics(tmp_path) == [line]


def test_what_is_not_finite_is_null_in_json_and_nan_to_a_reader(tmp_path):
    with MetricsLog(tmp_path, {}) as log:
        log.write_updates(0, [{"entropy": np.inf, "loss": 1.0}])
    text = (tmp_path / "metrics.jsonl").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["entropy"] is None
    (line,) = run_folder.read_metrics(tmp_path)
    assert np.isnan(line["entropy"]) and line["loss"] == 1


@pytest.mark.parametrize("damage", ["\0\0\0", "[1]", '{"step": 1}', "{"])
def test_a_damaged_line_is_named(folder, damage):
    file = folder / "metrics.jsonl"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:2], damage, *lines[2:]]))
    with pytest.raises(ValueError, match=r"metrics\.jsonl: line 3 is damaged"):
        run_folder.read_metrics(folder)


def test_folders_of_stages_are_renamed_once(folder):
    for _ in range(2):
        run_folder.rename_stages(folder)
        names = {str(path.relative_to(folder)) for path in folder.glob("*/*")}
        assert names == {
            "checkpoints/sft",
            "checkpoints/reinforcement",
            "tensorboard/sft",
            "tensorboard/validation",
        }
    assert (folder / "checkpoints" / "sft" / "120").is_dir()


@pytest.mark.parametrize(
    "advantage, written",
    [([0.5, 0.5, 9.0], 0.5), ([0.5, 0.25, 9.0], [0.5, 0.25])],
    ids=["one for all", "of each token"],
)
def test_a_response_is_written_with_its_advantages(advantage, written):
    tokenizer = arithmetic.tokenizer()
    row = lambda values, kind=np.float32: np.array([values], kind)
    mask = row([1, 1, 0], bool)
    tokens = row([*tokenizer.encode("12"), 0], np.int32)
    batch = TrainBatch(
        Sequences(tokens, mask, tokens, mask),
        old_logprob=row([-1, -2, 5]),
        advantage=row(advantage),
        weight=row([0.5, 0.5, 0]),
        policy_version=row(6, np.int32),
    )
    trace = TokenTrace(row([-1, -1, 7]), row([1, 0.5, 3]))
    assert token_fields(0, batch, trace, tokenizer) == {
        "advantage": written,
        "tokens": ["1", "2"],
        "old_logprob": [-1.0, -2.0],
        "ratio": [1.0, round(float(np.exp(np.float32(1))), 4)],
        "gate": [1.0, 0.5],
        "policy_version": 6,
    }
