"""What a run writes down, and how it is read, that of earlier versions included."""

import json
import re
import types

import jax
import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from maspo_jax.data.sources import arithmetic
from maspo_jax.objectives.surrogate import TokenTrace
from maspo_jax.runs import run_folder
from maspo_jax.runs.metrics_log import Clock, MetricsLog
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


@pytest.fixture
def measured_run(tmp_path):
    """The log of a run of three steps."""
    with MetricsLog(tmp_path, {}) as log:
        for step in (1, 2, 3):
            log.write_updates(step - 1, [{"loss": 0.5}])
            log.write("reinforcement", step, {"reward": step / 4})
    return tmp_path / "metrics.jsonl"


KEPT = {"reinforcement": 3, "update": 3}
GARBAGE = "\0" * 9


@pytest.mark.parametrize(
    "damage, told, kept",
    [
        (lambda lines: [*lines[:2], GARBAGE, *lines[2:]], "line 3 is damaged", 6),
        (
            lambda lines: [*lines[:5], lines[5][:20]],
            "the last line is cut off.*1 of",
            5,
        ),
        (lambda lines: [], "of 3 of 3 steps .from 1 to 3. are gone", 0),
        (lambda lines: [GARBAGE] * 6, "line 2 is damaged, 4 more are, .* 3 of 3", 0),
        (lambda lines: [*lines[:3], *lines[4:]], "of 1 of 3 steps .2. are gone", 5),
        (lambda lines: lines, None, 6),
    ],
    ids=["a line", "cut off", "emptied", "garbled", "lines removed", "whole"],
)
def test_what_a_damaged_log_has_lost_is_said_once(measured_run, damage, told, kept):
    lines = damage(measured_run.read_text().splitlines())
    cut = bool(lines) and len(lines[-1]) == 20
    measured_run.write_text("\n".join(lines) + ("" if cut or not lines else "\n"))
    before, notes = measured_run.read_bytes(), []
    with MetricsLog(measured_run.parent, KEPT, notes.append):
        pass
    assert len(run_folder.read_metrics(measured_run.parent)) == kept
    aside = measured_run.with_name("metrics.jsonl.damaged")
    if told is None:
        assert not notes and not aside.exists()
        return
    (note,) = notes
    assert re.search(f"metrics.jsonl: .*{told}", note)
    # What is only missing leaves nothing to keep.
    assert aside.exists() == ("line" in told) == (f"kept as {aside.name}" in note)
    if aside.exists():
        assert aside.read_bytes() == before
        with MetricsLog(measured_run.parent, KEPT, notes.append):
            pass
        assert aside.read_bytes() == before


def test_what_is_done_again_is_said_and_kept_if_it_is_everything(measured_run):
    before, notes = measured_run.read_bytes(), []
    with MetricsLog(
        measured_run.parent, {"reinforcement": 1, "update": 1}, notes.append
    ):
        pass
    assert "steps from 2 on are done again" in notes.pop() and not notes
    assert len(measured_run.read_text().splitlines()) == 2
    measured_run.write_bytes(before)
    with MetricsLog(measured_run.parent, {"reinforcement": -1}, notes.append):
        pass
    assert "steps from 1 on are done again; their metrics are kept in" in notes[0]
    assert measured_run.with_name("metrics.jsonl.before").read_bytes() == before


def shown_by_tensorboard(folder):
    """Returns {step: value} of a stage as TensorBoard shows it.

    It reads the files whose names hold `tfevents`, in their order; a session that
    starts at a step makes it forget what it has read of that step and later ones.
    """
    shown = {}
    for file in sorted(path for path in folder.iterdir() if "tfevents" in path.name):
        data = file.read_bytes()
        while data:  # records: length, checksum, event, checksum
            size = int.from_bytes(data[:8], "little")
            event = Event.FromString(data[12 : 12 + size])
            if event.session_log.status == SessionLog.START:
                shown = {step: shown[step] for step in shown if step < event.step}
            for value in event.summary.value:
                shown[event.step] = value.simple_value
            data = data[16 + size :]
    return shown


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
def test_tensorboard_forgets_what_is_done_again_and_nothing_else(measured_run, kept):
    folder = measured_run.parent
    shown = lambda: shown_by_tensorboard(folder / "tensorboard" / "reinforcement")
    assert shown() == {1: 0.25, 2: 0.5, 3: 0.75}
    with MetricsLog(folder, {"reinforcement": kept}, lambda note: None) as log:
        log.write("reinforcement", kept + 1, {"reward": 8.0})
    assert shown() == {step: step / 4 for step in range(1, kept + 1)} | {kept + 1: 8}


def test_a_clock_counts_the_seconds_since_it_was_read():
    clock = Clock(types.SimpleNamespace(stage=lambda name: None))
    for stages in (["sampling", "grading", "sampling"], ["saving"], []):
        for stage in stages:
            with clock(stage):
                pass
        assert clock.read().keys() == {*stages}


def test_a_clock_counts_the_programs_of_its_own_time():
    clock = Clock(None)
    jax.jit(lambda x: x * 3 + 1)(1.0)
    assert clock.programs_compiled() == 1
    assert Clock(None).programs_compiled() == 0


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
