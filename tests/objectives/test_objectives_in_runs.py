"""Every part of an objective in a run, and in a run that was killed."""

import json

import pytest
from conftest import EXPERIMENTS, arrays, command, measured

from maspo_jax.learning import loop
from maspo_jax.runs import run_folder

ALL = str(EXPERIMENTS / "tiny_all.py")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    status, output = command(ALL, "--run", folder)
    assert status == 0, output
    return folder, output


def test_every_part_is_measured(finished):
    folder, output = finished
    steps = run_folder.read_metrics(folder, "reinforcement")
    for line in steps:
        assert 0.59 < line["bound_lower/mean"] < 0.81
        assert 1.19 < line["bound_upper/mean"] < 2.1
        assert 0 < line["loss_mask/mean"] <= 1
        assert 1 <= line["rounds"] <= 3 and 0 <= line["frac_groups_informative"] <= 1
        assert line["rounds"] == 3 or line["frac_groups_informative"] == 1
    distances = [line["kl"] for line in steps]
    assert distances[0] == 0 and min(distances[1:]) > 0
    short = any(line["frac_groups_informative"] < 1 for line in steps)
    assert output.count("after sampling.dynamic.rounds=3") == short


def position(folder):
    """What the last checkpoint holds beside the arrays."""
    stage = folder / "checkpoints" / "reinforcement" / "4" / "position"
    return json.loads((stage / "metadata").read_text())


def test_what_prompts_were_rewarded_is_remembered(finished):
    steps = run_folder.read_metrics(finished[0], "reinforcement")
    assert max(line["rounds"] for line in steps) > 1
    visits = position(finished[0])["visits"].values()
    counts = [count for count, _, _ in visits]
    assert max(counts) > 1 and sum(counts) <= 8 * len(steps)
    assert any(0 < mean < 1 for _, mean, _ in visits)


@pytest.mark.parametrize("where, step", [("report", 1), ("stop", 2), ("report", 3)])
def test_killed_in_the_middle_it_goes_on_bit_equal(
    finished, tmp_path, monkeypatch, where, step
):
    """Killed before any checkpoint, right after one, and between two.

    The reference, the history of prompts and the position of the data included.
    """
    folder = tmp_path / "killed"
    report, stop = loop.report, run_folder.Run.stop_if_asked

    def killed_reporting(run, at, numbers):
        report(run, at, numbers)
        if (where, step) == ("report", at):
            raise KeyboardInterrupt

    def killed_after_saving(run, checkpoints, at, *rest):
        stop(run, checkpoints, at, *rest)
        if (where, step, rest[-1]) == ("stop", at, "steps"):
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "report", killed_reporting)
    monkeypatch.setattr(run_folder.Run, "stop_if_asked", killed_after_saving)
    with pytest.raises(KeyboardInterrupt):
        command(ALL, "--run", folder)
    monkeypatch.undo()
    status, output = command(ALL, "--run", folder)
    assert status == 0 and "going on from" in output, output
    assert measured(folder) == measured(finished[0])
    assert arrays(folder) == arrays(finished[0])
    assert position(folder) == position(finished[0])


def test_the_distance_from_the_reference_holds_the_policy_back(tmp_path):
    """A price so high that nothing else matters."""
    moved = []
    for name, price in (("free", 0), ("dear", 1e4)):
        words = ["--objective.terms.0.coefficient", price, "--steps", 3]
        words += [
            "--objective.kl-in-reward.coefficient",
            0,
            "--sampling.dynamic.rounds",
            1,
        ]
        status, output = command(ALL, "--run", tmp_path / name, *words)
        assert status == 0, output
        steps = run_folder.read_metrics(tmp_path / name, "reinforcement")
        moved.append(steps[-1]["kl"])
    assert moved[1] < moved[0] / 2


def test_rewards_of_steps_reach_the_tokens_that_earned_them(tmp_path):
    status, output = command(EXPERIMENTS / "tiny_steps.py", "--run", tmp_path / "run")
    assert status == 0, output
    seen = 0
    for file in sorted((tmp_path / "run" / "rollouts").iterdir()):
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        of_tokens = [
            [0.1 * piece.endswith("=") for piece in row["tokens"]] for row in rows
        ]
        for row, earned in zip(rows, of_tokens, strict=True):
            assert row["reward"] == pytest.approx(
                sum(earned) + (row["outcome"] == "correct")
            )
            if row["outcome"] == "wrong" and sum(earned) > 0:
                seen += 1
                to_go = [sum(earned[place:]) for place in range(len(earned))]
                advantage = row["advantage"]
                # Whitened over the batch: a rising line of what is still to be earned.
                pairs = sorted(zip(to_go, advantage, strict=True))
                low, high = pairs[0], pairs[-1]
                slope = (high[1] - low[1]) / (high[0] - low[0])
                assert slope > 0
                for earned_then, value in pairs:
                    expected = low[1] + slope * (earned_then - low[0])
                    assert value == pytest.approx(expected, abs=2e-3)
    assert seen > 0
