"""The command, from its words to the folder it leaves."""

import json
import shutil

import jax
import numpy as np
import pytest
from conftest import EXPERIMENTS, TINY, arrays, command, measured, restored
from tensorboardX.proto.event_pb2 import Event

from maspo_jax.config import loading
from maspo_jax.distributed import make_mesh
from maspo_jax.evaluation import policies
from maspo_jax.learning import run as learning_run
from maspo_jax.rewards import Verdict, grade, is_correct
from maspo_jax.runs import run_folder
from maspo_jax.runs.checkpoints import steps_of
from maspo_jax.runs.keys import key_for
from maspo_jax.runs.responses import FIELDS


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    status, output = command(TINY, "--run", folder)
    assert status == 0, output
    # Or what follows would compare runs in which nothing is learned.
    for line in run_folder.read_metrics(folder, "reinforcement"):
        assert 0 < line["reward"] < 1 and line["grad_norm"] > 0
    return folder, output


def test_a_run_leaves_what_it_promises(finished):
    folder, output = finished
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "config.json",
        "provenance.jsonl",
        "metrics.jsonl",
        "programs.jsonl",
        "tensorboard",
        "rollouts",
        "checkpoints",
        "learning_curve.png",
        "learning_curve.svg",
    }
    assert (folder / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    assert "before (0 steps)" in output and "after (4 steps)" in output
    assert "maspo figures" in output
    stages = [(line["stage"], line["step"]) for line in measured(folder)]
    assert stages == [
        *[("sft", step) for step in range(10, 130, 10)],
        ("validation", 0),
        *[("update", 1), ("update", 2), ("reinforcement", 1)],
        *[("update", 3), ("update", 4), ("validation", 2), ("reinforcement", 2)],
        *[("update", 5), ("update", 6), ("reinforcement", 3)],
        *[("update", 7), ("update", 8), ("validation", 4), ("reinforcement", 4)],
    ]


def test_a_step_sums_its_updates_up(finished):
    """Means, but extremes of extremes."""
    updates = run_folder.read_metrics(finished[0], "update")
    for line in run_folder.read_metrics(finished[0], "reinforcement"):
        pair = updates[2 * line["step"] - 2 : 2 * line["step"]]
        assert pair[0]["loss"] != pair[1]["loss"]
        of = lambda name, pair=pair: [update[name] for update in pair]
        for name in pair[0].keys() - {"stage", "step"}:
            combined = {"max": max, "min": min}.get(name[-3:], np.mean)
            assert line[name] == pytest.approx(combined(of(name))), name
        assert line["out_of_band_last"] == pair[1]["out_of_band"]


def test_a_step_of_one_update_says_as_much_without_a_pass_before(tmp_path, finished):
    """Its responses too: the log-probabilities before it are its own."""
    folder = tmp_path / "run"
    words = "--updates.minibatches", 1, "--steps", 1
    status, output = command(TINY, "--run", folder, *words)
    assert status == 0, output
    (line,) = run_folder.read_metrics(folder, "reinforcement")
    usual = run_folder.read_metrics(finished[0], "reinforcement")[0]
    apart = lambda names: {name for name in names if not name.startswith("time/")}
    assert apart(line) == apart(usual)
    assert 0 < line["rollout_corr/logprob_diff_max"] < 1e-4
    made = (folder / "programs.jsonl").read_text()
    assert '"update"' in made and '"score"' not in made
    for row in (folder / "rollouts" / "step_000001.jsonl").read_text().splitlines():
        row = json.loads(row)
        assert set(row["ratio"]) == {1} and max(row["old_logprob"]) < 0


def test_a_step_says_what_its_first_update_compares(tmp_path):
    """The policy of the second has moved away from the sampler."""
    folder = tmp_path / "run"
    words = "--objective.anchor", "sampler", "--steps", 1
    status, output = command(TINY, "--run", folder, *words)
    assert status == 0, output
    (line,) = run_folder.read_metrics(folder, "reinforcement")
    first, second = run_folder.read_metrics(folder, "update")
    assert first["ratio/max"] < 1.001 < second["ratio/max"]
    assert 0 < line["rollout_corr/logprob_diff_max"] < 1e-4


def test_every_step_says_what_the_gate_saw_and_where_the_time_went(finished):
    for line in run_folder.read_metrics(finished[0], "reinforcement"):
        assert {
            "reward",
            "response_length/mean",
            "entropy",
            "out_of_band_last",
            "utilization",
            "rollout_corr/logprob_diff_max",
            "verifier/timeout",
            "learning_rate",
            "time/sampling",
            "time/overhead_share",
        } <= set(line)
        assert line["rollout_corr/logprob_diff_max"] < 1e-5
        parts = [
            line[f"time/{name}"]
            for name in ("reading_problems", "sampling", "grading", "updating")
        ]
        assert 0 < sum(parts) <= line["time/step"]


def test_tensorboard_reads_the_same_numbers(finished):
    folder = finished[0]
    (file,) = (folder / "tensorboard" / "reinforcement").iterdir()
    data, seen = file.read_bytes(), {}
    while data:  # records: length, checksum, event, checksum
        size = int.from_bytes(data[:8], "little")
        event = Event.FromString(data[12 : 12 + size])
        for value in event.summary.value:
            seen[event.step, value.tag] = value.simple_value
        data = data[16 + size :]
    for line in run_folder.read_metrics(folder, "reinforcement"):
        assert seen[line["step"], "reward"] == pytest.approx(line["reward"])
        assert seen[line["step"], "loss"] == pytest.approx(line["loss"], rel=1e-6)


def test_rollouts_can_be_read(finished):
    folder = finished[0]
    names = sorted(path.name for path in (folder / "rollouts").iterdir())
    assert names == [f"step_00000{step}.jsonl" for step in (1, 2, 4)]
    for path in (folder / "rollouts").iterdir():
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        assert len(rows) == 16  # the last of two minibatches of 8 x 4 responses
        for row in rows:
            assert len(row["tokens"]) == len(row["gate"]) == len(row["ratio"])
            assert "".join(row["tokens"]) == row["response"]
            assert row["reward"] == is_correct(row["response"], row["gold"])
            assert tuple(row)[: len(FIELDS)] == FIELDS
            verdict = grade(row["response"], row["gold"])
            found = Verdict(*(row[n] for n in ("outcome", "answer", "rule", "reward")))
            assert found == verdict and row["length"] == len(row["tokens"])
        for group in range(0, 16, 4):
            assert len({row["question"] for row in rows[group : group + 4]}) == 1


def test_a_warm_up_killed_in_the_middle_goes_on_bit_equal(
    finished, tmp_path, monkeypatch
):
    from maspo_jax.runs import metrics_log

    folder, write = tmp_path / "killed", metrics_log.MetricsLog.write

    def killed(log, stage, step, numbers):
        write(log, stage, step, numbers)
        if (stage, step) == ("sft", 80):  # in the second phase
            raise KeyboardInterrupt

    monkeypatch.setattr(metrics_log.MetricsLog, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        command(TINY, "--run", folder)
    monkeypatch.undo()
    status, output = command(TINY, "--run", folder)
    assert status == 0, output
    assert measured(folder) == measured(finished[0])
    assert arrays(folder) == arrays(finished[0])


def test_a_run_goes_on_with_another_layout(finished, tmp_path, monkeypatch):
    folder = tmp_path / "moved"
    shutil.copytree(finished[0], folder)
    shutil.rmtree(folder / "checkpoints" / "reinforcement" / "4")
    status, output = command(TINY, "--run", folder, "--fsdp", 4)
    assert status == 0, output
    for got, expected in zip(measured(folder), measured(finished[0]), strict=True):
        assert (got.pop("stage"), got.pop("step")) == (
            expected.pop("stage"),
            expected.pop("step"),
        )
        assert got == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_a_run_of_narrow_moments_goes_on_bit_equal(tmp_path):
    """With products in bfloat16, too; what only takes memory may change meanwhile."""
    folder, words = tmp_path / "whole", ["--optimization.moments-dtype", "bfloat16"]
    words += ["--sft.optimization.moments-dtype", "bfloat16"]
    words += ["--policy.compute-dtype", "bfloat16"]
    words += ["--sft.phases.0.updates", 10, "--sft.phases.1.updates", 10]
    status, output = command(TINY, "--run", folder, *words)
    assert status == 0, output
    for name, value in restored(folder).items():
        moment = {"mu", "nu"} & {*name.split("/")}
        wanted = "bfloat16" if moment else "float32"
        assert value.dtype.name == wanted or value.dtype.kind == "i", name
    resumed = tmp_path / "resumed"
    shutil.copytree(folder, resumed)
    shutil.rmtree(resumed / "checkpoints" / "reinforcement" / "4")
    status, output = command(TINY, "--run", resumed, *words)
    assert status == 0, output
    assert arrays(resumed) == arrays(folder)

    more = ["--policy.remat", "dots", "--updates.microbatch-tokens", 20]
    shutil.rmtree(resumed / "checkpoints" / "reinforcement" / "4")
    status, output = command(TINY, "--run", resumed, *words, *more)
    assert status == 0, output
    policy = policies.open_policy(str(resumed), make_mesh()).decoder
    assert {leaf.dtype.name for leaf in jax.tree.leaves(policy)} == {"float32"}
    assert policy.config.compute_dtype == "bfloat16"
    status, output = command(TINY, "--run", resumed, *words[2:])
    assert status == 2 and "optimization.moments_dtype: 'bfloat16' in the run" in output


def test_a_finished_run_is_only_shown_again(finished):
    before = measured(finished[0])
    status, output = command(TINY, "--run", finished[0])
    assert status == 0 and "after (4 steps)" in output
    assert measured(finished[0]) == before


def test_a_folder_in_use_is_refused(finished, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished[0], folder)
    before = (folder / "config.json").stat()
    with run_folder.opened(folder, run_folder.read_experiment(folder)):
        status, output = command(TINY, "--run", folder)
    assert status == 2 and "another process is working in" in output
    assert "Traceback" not in output
    status, output = command(TINY, "--run", folder)
    assert status == 0, output
    assert before.st_size == (folder / "config.json").stat().st_size


def test_a_finished_run_goes_on_for_more_steps(finished, tmp_path):
    folder, whole = tmp_path / "longer", tmp_path / "whole"
    shutil.copytree(finished[0], folder)
    for run in (folder, whole):
        status, output = command(TINY, "--run", run, "--steps", 6)
        assert status == 0 and "after (6 steps)" in output, output
    assert run_folder.read_experiment(folder).steps == 6
    assert measured(folder) == measured(whole)
    assert arrays(folder) == arrays(whole)


def test_another_experiment_does_not_touch_the_folder(finished):
    before = measured(finished[0])
    status, output = command(TINY, "--run", finished[0], "--objective.gate.alpha", 0.5)
    assert status == 2
    assert "objective.gate.alpha: 0.3 in the run, 0.5 here" in output
    assert "--run" in output
    assert measured(finished[0]) == before


def test_a_gate_of_your_own_can_be_resumed(tmp_path):
    (tmp_path / "own_gate.py").write_text(
        f"""
import dataclasses, sys
sys.path.insert(0, {str(EXPERIMENTS)!r})
from flax import struct
from tiny import experiment
from maspo_jax.config import Objective

@struct.dataclass
class Half:
    share: float = 0.5

    def __call__(self, log_ratio, advantage, old_logprob):
        return self.share + 0 * log_ratio

experiment = dataclasses.replace(experiment, objective=Objective(Half()), steps=1)
"""
    )
    words = [tmp_path / "own_gate.py", "--run", tmp_path / "run"]
    for _ in range(2):
        status, output = command(*words)
        assert status == 0, output
    status, output = command(*words, "--objective.gate.share", 0.4)
    assert status == 2 and "objective.gate.share: 0.5 in the run" in output


def test_one_update_per_step_is_warned_of(tmp_path):
    words = ["--updates.minibatches", 1, "--steps", 0]
    status, output = command(TINY, "--run", tmp_path / "run", *words)
    assert status == 0 and "all gates coincide" in output
    # What supervised training made is not lost without a step after it.
    assert steps_of(tmp_path / "run" / "checkpoints" / "reinforcement") == [0]
    assert command(TINY, "--run", tmp_path / "run", *words)[0] == 0
    assert len(run_folder.read_metrics(tmp_path / "run", "validation")) == 1


def test_without_words_the_command_explains_itself():
    status, output = command()
    assert status == 2 and "EXPERIMENT.py" in output
    status, output = command("--help")
    assert status == 0 and "EXPERIMENT.py" in output
    status, output = command(TINY, "--help")
    assert status == 0 and "--objective.gate.alpha" in output


@pytest.mark.parametrize(
    "settings, stage",
    [("sft.optimization", "sft"), ("optimization", "reinforcement")],
)
def test_an_update_that_is_not_finite_stops_the_run(tmp_path, settings, stage):
    words = [f"--{settings}.learning-rate", 1e38]
    status, output = command(TINY, "--run", tmp_path / "run", *words)
    assert status == 1
    assert f"Lower {settings}.learning_rate" in output
    saved = tmp_path / "run" / "checkpoints" / stage
    assert not [path for path in saved.iterdir() if path.name.isdecimal()]


def test_real_problems_run_from_the_file_to_the_metrics(tmp_path):
    folder = tmp_path / "run"
    status, output = command(EXPERIMENTS / "gsm8k_bytes.py", "--run", folder)
    assert status == 0, output
    steps = run_folder.read_metrics(folder, "reinforcement")
    assert [line["step"] for line in steps] == [1, 2]
    assert all(line["response_length/mean"] > 1 and line["updates"] for line in steps)
    (rollouts, _) = sorted((folder / "rollouts").iterdir())
    row = json.loads(rollouts.read_text().splitlines()[0])
    assert len(row["question"]) > 40 and row["gold"]


def test_every_validation_problem_is_asked(monkeypatch):
    experiment = loading.load(TINY)
    monkeypatch.setattr(learning_run, "accuracy", lambda *about: about[2])
    asked = learning_run.measure(experiment, None, None, make_mesh(1))
    source = experiment.validation.source
    assert asked == [source[n] for n in range(experiment.validation.problems)]


def test_validation_draws_with_settings_and_keys_of_its_own(monkeypatch):
    words = ("--validation.temperature", 0.25, "--validation.samples", 3, "--seed", 7)
    experiment = loading.load(TINY, words)
    monkeypatch.setattr(learning_run, "accuracy", lambda responder, *rest: responder)
    responder = learning_run.measure(experiment, None, None, make_mesh(1))
    decoding = responder.decoding
    assert (decoding.temperature, decoding.responses, decoding.length) == (0.25, 3, 14)
    own = lambda purpose: key_for(purpose, 7)
    assert responder.key == own("evaluation") != own("sampling")
