"""A sweep in its folder: runs as they are alone, a table, and what is gone on with."""

import csv
import json
import shutil

import jax
import numpy as np
import pyarrow.parquet
import pytest
from conftest import TINY, measured
from conftest import run as run_command
from support.sweeps import SWEEP, swept, write_sweep

from maspo_jax import api, config, distributed
from maspo_jax.cli import sweep as sweep_command
from maspo_jax.learning import learner
from maspo_jax.reports.figures.training_curves import by_setting
from maspo_jax.runs import run_folder
from maspo_jax.runs.checkpoints import read_policy
from maspo_jax.sweeps import table
from maspo_jax.sweeps.chunk import FINISHED

EXPERIMENT = config.load(TINY)


def policy_of(folder):
    """Returns the policy after the last step of a run."""
    mesh = distributed.make_mesh(devices=jax.devices()[:1])
    skeleton = learner.build(EXPERIMENT, mesh).skeleton.policy
    room = folder / "checkpoints" / "reinforcement"
    return read_policy(room, EXPERIMENT.steps, skeleton)


def test_every_run_is_what_it_is_alone(tiny_sweep, tmp_path):
    folder, _ = tiny_sweep
    assert len(table.runs_of(folder)) == 8
    for run in table.runs_of(folder)[1::2]:
        experiment = run_folder.read_experiment(run.folder)
        assert (experiment.seed, experiment.objective.gate.alpha) == (
            run.seed,
            run.settings["objective.gate.alpha"],
        )
        alone = tmp_path / f"{run.trial}_{run.seed}"
        api.train(experiment, alone, quiet=True)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-5),
            policy_of(run.folder),
            policy_of(alone),
        )
        lines, expected = measured(run.folder), measured(alone)
        key = lambda line: (line["stage"], line["step"])
        expected = {key(line): line for line in expected}
        assert {key(line) for line in lines} == {*expected}
        for line in lines:
            assert line == pytest.approx(expected[key(line)], abs=2e-4), key(line)
        names = [path.name for path in (alone / "rollouts").iterdir()]
        for name in names:
            texts = lambda place, name=name: [
                (row["response"], row["reward"], row["problem"], row["policy_version"])
                for row in map(
                    json.loads, (place / "rollouts" / name).read_text().splitlines()
                )
            ]
            assert texts(run.folder) == texts(alone)


def test_the_runs_learn_from_different_rewards(tiny_sweep):
    """Or they would be equal to any run alone that learns nothing."""
    folder, _ = tiny_sweep
    updates = [
        line["update_norm"]
        for run in table.runs_of(folder)
        for line in run_folder.read_metrics(run.folder, "update")
    ]
    assert np.median(updates) > 0
    policies = [policy_of(run.folder) for run in table.runs_of(folder)]
    heads = [np.asarray(jax.tree.leaves(policy)[0]) for policy in policies]
    same = [np.array_equal(a, b) for a in heads for b in heads]
    assert sum(same) == len(heads)


def test_a_run_of_a_sweep_opens_as_a_run(tiny_sweep):
    folder, _ = tiny_sweep
    runs = [str(run.folder) for run in table.runs_of(folder)]
    assert sorted(len(each.folders) for each in by_setting(runs)) == [2, 2, 2, 2]
    policy = api.load_policy(runs[0])
    assert len(api.sample(policy, ["2+3=?"], n=2)[0]) == 2


def test_the_table_has_a_row_for_each_run_and_step(tiny_sweep):
    folder, _ = tiny_sweep
    found = pyarrow.parquet.read_table(folder / "table.parquet").to_pylist()
    assert len(found) == 8 * (1 + EXPERIMENT.steps)
    places = {(row["trial"], row["seed"], row["step"]) for row in found}
    assert places == {(t, s, n) for t in range(4) for s in (0, 3) for n in range(5)}
    for run in table.runs_of(folder):
        own = [r for r in found if (r["trial"], r["seed"]) == (run.trial, run.seed)]
        steps, rewards = run.curve("reward")
        assert [(r["step"], r["reward"]) for r in own if r["step"]] == [
            *zip(steps, rewards, strict=True)
        ]
        at, accuracy = run.curve("validation/accuracy")
        assert at == [0, 2, 4]
        assert accuracy == [r["validation/accuracy"] for r in own if r["step"] in at]
        assert {r["objective.gate.alpha"] for r in own} == {
            run.settings["objective.gate.alpha"]
        }
    with (folder / "table.csv").open() as file:
        lines = [*csv.DictReader(file)]
    assert len(lines) == len(found)
    assert [int(line["step"]) for line in lines] == [row["step"] for row in found]


def test_marl_eval_reads_the_scores(tiny_sweep):
    folder, _ = tiny_sweep
    record = json.loads((folder / "marl_eval.json").read_text())
    ((environment, tasks),) = record.items()
    ((task, algorithms),) = tasks.items()
    assert (environment, task) == ("maspo_jax", folder.name)
    assert len(algorithms) == 4
    for run in table.runs_of(folder):
        own = algorithms[run.label][f"seed_{run.seed}"]
        steps, values = run.curve("validation/accuracy")
        assert [own[f"step_{n}"]["step_count"] for n in range(3)] == steps
        assert own["absolute_metrics"] == {"validation/accuracy": values[-1:]}


def test_a_group_is_compiled_once(tiny_sweep):
    folder, _ = tiny_sweep
    lines = (folder / "programs.jsonl").read_text().splitlines()
    names = [json.loads(line)["name"] for line in lines]
    # Once for the supervised stage of each seed, and once for all runs.
    assert names.count("update") == 3
    for name in ("sample", "score", "assemble", "take", "answer"):
        assert names.count(name) == 1, name


def test_the_same_command_repeats_nothing_and_trains_what_was_added(
    tiny_sweep, tmp_path
):
    folder = tmp_path / "copy"
    shutil.copytree(tiny_sweep[0], folder)
    times = lambda: {
        path: path.stat().st_mtime_ns for path in folder.glob("trials/*/*/*.jsonl")
    }
    before = times()
    more = SWEEP.replace("[0.1, 0.5]", "[0.1, 0.5, 0.9]").replace("[0, 3]", "[3]")
    more = more.replace("[1e-3, 3e-3]", "[1e-3]")
    status, output = swept(write_sweep(tmp_path, more), folder)
    assert status == 0, output
    assert "2 trials of" in output and "are not in the file any more" in output
    after = times()
    assert {path: after[path] for path in before} == before
    new = [run for run in table.runs_of(folder) if run.trial > 3]
    assert [(run.trial, run.seed, run.status) for run in new] == [(4, 3, FINISHED)]
    assert new[0].settings["objective.gate.alpha"] == 0.9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("sweeps.Sweep(", "sweeps.Sweep("), ""),
        (
            ("seeds=[0, 3]", 'seeds=[0, 3], metric="reward"'),
            "metric: validation/accuracy in the run, reward here",
        ),
    ],
)
def test_another_sweep_in_the_folder_is_refused(tiny_sweep, tmp_path, change, message):
    text = SWEEP.replace(*change)
    words = () if message else ("--steps", "6")
    message = message or "steps: 4 in the run, 6 here"
    status, output = swept(write_sweep(tmp_path, text), tiny_sweep[0], *words)
    assert status == 2
    assert f"holds a different sweep:\n  {message}" in output


def test_a_folder_of_a_run_is_refused(tiny_sweep, tmp_path):
    run = table.runs_of(tiny_sweep[0])[0].folder
    status, output = swept(write_sweep(tmp_path, SWEEP), run)
    assert status == 2
    assert "exists and holds no sweep (it has no sweep.json)" in output


def test_a_dry_run_says_what_it_would_take_and_writes_nothing(tmp_path):
    status, output = swept(write_sweep(tmp_path, SWEEP), tmp_path / "x", "--dry-run")
    assert status == 0, output
    assert not (tmp_path / "x").exists()
    text = " ".join(output.split())
    assert "4 trials, 2 seeds each" in text
    assert "8 runs train together, 4 at a time (2 chunks): they differ in " in text
    assert "objective.gate.alpha, seed" in text or "seed" in text
    for word in ("memory, by arithmetic", "time, by arithmetic", "programs to compile"):
        assert word in text


def test_a_run_that_fails_is_marked_and_the_others_go_on(tmp_path):
    text = """
        import jax.numpy as jnp
        from flax import struct
        from tiny import experiment
        from maspo_jax import sweeps
        from maspo_jax.objectives.gates.settings import setting

        @struct.dataclass
        class Breaks:
            level: float = setting(0.0)

            def __call__(self, log_ratio, advantage, old_logprob):
                return jnp.where(self.level > 0, jnp.nan, jnp.ones_like(log_ratio))

        sweep = sweeps.Sweep(
            experiment,
            [{"objective.gate": Breaks(0.0)}, {"objective.gate": Breaks(1.0)}],
        )
    """
    status, output = swept(write_sweep(tmp_path, text), tmp_path / "run")
    assert status == 0, output
    fine, broken = table.runs_of(tmp_path / "run")
    assert (fine.status, broken.status) == (FINISHED, "failed")
    assert "is nan at" in broken.why
    assert "1 failed" in output
    assert fine.curve("reward")[0] == [1, 2, 3, 4]


def test_halving_stops_the_worse_half(tmp_path):
    text = """
        from tiny import experiment
        from maspo_jax import sweeps

        sweep = sweeps.Sweep(
            experiment,
            sweeps.grid({"optimization.learning_rate": [1e-3, 1e-6, 1e-5, 3e-3]}),
            metric="response_length/mean",
            goal="min",
            stopping=sweeps.Halving(2, 2),
        )
    """
    status, output = swept(write_sweep(tmp_path, text), tmp_path / "run")
    assert status == 0, output
    runs = table.runs_of(tmp_path / "run")
    stopped = [run for run in runs if run.status == "stopped"]
    finished = [run for run in runs if run.status == FINISHED]
    assert len(stopped) == len(finished) == 2
    at_rung = lambda run: run.curve("response_length/mean")[1][1]
    assert max(map(at_rung, finished)) <= min(map(at_rung, stopped))
    assert all(run.curve("reward")[0] == [1, 2] for run in stopped)
    assert all(run.curve("reward")[0] == [1, 2, 3, 4] for run in finished)
    for run in stopped:  # it is saved where it stopped
        assert (run.folder / "checkpoints" / "reinforcement" / "2").is_dir()


def test_several_devices_share_the_chunks(tiny_sweep, tmp_path):
    text = SWEEP.replace("together=4", "together=1").replace("[0, 3]", "[3]")
    text = text.replace("[0.1, 0.5]", "[0.5]")
    status, output = swept(write_sweep(tmp_path, text), tmp_path / "two", devices=2)
    assert status == 0, output
    one = {(r.label, r.seed): r for r in table.runs_of(tiny_sweep[0])}
    for run in table.runs_of(tmp_path / "two"):
        rate = run.settings["optimization.learning_rate"]
        (same,) = [
            other
            for (_, seed), other in one.items()
            if seed == 3
            and other.settings["optimization.learning_rate"] == rate
            and other.settings["objective.gate.alpha"] == 0.5
        ]
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-5),
            policy_of(run.folder),
            policy_of(same.folder),
        )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing.py"], "no experiment file nothing.py"),
        ([TINY], "has no `sweep`: name an instance of maspo_jax.sweeps.Sweep or"),
        (["SWEEP", "--run", "gs://bucket/x"], "gs://bucket/x"),
        (["SWEEP", "--stesp", "3"], "no option --stesp; the closest is --steps"),
    ],
)
def test_what_is_no_sweep_is_one_clear_line(tmp_path, words, message):
    path = write_sweep(tmp_path)
    words = [str(path) if word == "SWEEP" else word for word in words]
    status, output = run_command(sweep_command, *words)
    (line,) = [line for line in output.splitlines() if line.startswith("error")]
    assert status == 2 and message in line


def test_experiments_that_cannot_run_are_refused_before_anything_is_written(tmp_path):
    text = """
        from tiny import experiment
        from maspo_jax import sweeps

        sweep = sweeps.Sweep(
            experiment, sweeps.grid({"updates.minibatches": [2, 3]})
        )
    """
    path = write_sweep(tmp_path, text)
    status, output = run_command(sweep_command, path, "--run", tmp_path / "run")
    assert status == 2 and "minibatches=3: sampling.prompts=8" in output
    assert not (tmp_path / "run").exists()
