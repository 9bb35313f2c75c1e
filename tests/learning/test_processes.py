"""Real processes: signals, sudden death, and two that compute as one."""

import json
import resource
import signal
import time

import pytest
from conftest import arrays, measured
from support import processes
from support.processes import LIMIT, free_port, wait_for

from maspo_jax.distributed import launch
from maspo_jax.runs import run_folder

STEPS = 16  # enough to be interrupted among
POD_STEPS = 6
# Updates so small, and so little amplified by Adam, that rounding does not part runs.
GENTLE = (
    *("--sft.optimization.learning-rate", 3e-3, "--sft.optimization.epsilon"),
    *(1e-3, "--optimization.learning-rate", 1e-4, "--optimization.epsilon", 1e-3),
)


def start(*words, experiment="tiny", steps=STEPS, devices=1):
    """Starts the training command in a process of its own."""
    file = f"tests/experiments/{experiment}.py"
    words = (file, "--steps", steps, *words)
    return processes.launch("train", *words, devices=devices)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of one process that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    process = start("--run", str(folder))
    output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, output
    steps = run_folder.read_metrics(folder, "reinforcement")
    assert sum(line["grad_norm"] > 0 for line in steps) > STEPS / 2
    return folder


@pytest.mark.parametrize(
    "number, stage", [(signal.SIGINT, "sft"), (signal.SIGTERM, "reinforcement")]
)
def test_a_signal_saves_and_the_same_command_goes_on(whole, tmp_path, number, stage):
    folder = tmp_path / "run"
    process = start("--run", str(folder))
    log = folder / "metrics.jsonl"
    wait_for(lambda: log.exists() and f'"{stage}"' in log.read_text(), process)
    process.send_signal(number)
    output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 128 + number, output
    assert "Traceback" not in output and "The same command resumes it" in output
    assert f"{number.name}: saving after this step" in output
    assert len(measured(folder)) < len(measured(whole))
    finish(folder, whole)


def test_before_there_is_anything_to_save_a_signal_ends_the_process(tmp_path):
    process = start("--run", str(tmp_path / "run"))
    assert "loading JAX" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == -signal.SIGINT and output == "stopped by SIGINT\n"


def test_sudden_death_loses_nothing_before_the_checkpoint(whole, tmp_path):
    folder = tmp_path / "run"
    process = start("--run", str(folder))
    checkpoint = folder / "checkpoints" / "reinforcement" / "2"
    wait_for(checkpoint.exists, process)
    process.kill()
    process.communicate(timeout=LIMIT)
    finish(folder, whole)


def finish(folder, whole):
    """Starts a run again and compares it with one that nothing disturbed."""
    process = start("--run", str(folder))
    output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, output
    assert measured(folder) == measured(whole)
    assert arrays(folder) == arrays(whole)


def test_waves_of_another_size_go_on_bit_equal(whole, tmp_path):
    """And a signal that comes while they are drawn is obeyed.

    Of all metrics, those that compare with the sampler know how many rows it read.
    """
    folder, log = tmp_path / "run", tmp_path / "run" / "metrics.jsonl"
    process = start("--run", str(folder), "--sampling.wave", 2)
    wait_for(lambda: log.exists() and '"reinforcement"' in log.read_text(), process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 128 + signal.SIGTERM, output
    assert "drawing 2 of 8 prompts at a time, 8 responses" in output
    process = start("--run", str(folder), "--sampling.wave", 4)
    output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, output
    assert arrays(folder) == arrays(whole)
    for got, expected in zip(measured(folder), measured(whole), strict=True):
        near = {name for name in expected if name.startswith("rollout_corr/")}
        for name in near:
            assert got.pop(name) == pytest.approx(expected.pop(name), 1e-5, 1e-6)
        assert got == expected


@pytest.mark.parametrize("experiment, fsdp", [("tiny", 1), ("tiny_all", 4)])
def test_two_processes_equal_one_and_go_on_after_a_signal(tmp_path, experiment, fsdp):
    """With fsdp of 4, each process holds half of one copy of the policy.

    They draw 4 of 8 prompts at a time, one a device; the other run all of them.
    """
    alone, folder = tmp_path / "alone", tmp_path / "run"
    words = ("--fsdp", str(fsdp), "--sampling.wave", 4, *GENTLE)

    def start_pod():
        address = f"localhost:{free_port()}"
        return [
            start(
                *("--run", str(folder), "--pod", f"{address}/{index}/2", *words),
                experiment=experiment,
                steps=POD_STEPS,
                devices=2,
            )
            for index in range(2)
        ]

    def finish_pod():
        pod = start_pod()
        outputs = [process.communicate(timeout=LIMIT)[0] for process in pod]
        assert [process.returncode for process in pod] == [0, 0], "\n".join(outputs)
        assert f"after ({POD_STEPS} steps)" in outputs[0]
        return outputs[0]

    pod, log = start_pod(), folder / "metrics.jsonl"
    wait_for(lambda: log.exists() and '"reinforcement"' in log.read_text(), pod[0])
    pod[1].send_signal(signal.SIGTERM)
    outputs = [process.communicate(timeout=LIMIT)[0] for process in pod]
    status = 128 + signal.SIGTERM
    assert [process.returncode for process in pod] == [status] * 2, "\n".join(outputs)
    finish_pod()
    if fsdp == 1:  # each reads a part of the newest checkpoint, and both take another
        newest = folder / "checkpoints" / "reinforcement" / str(POD_STEPS)
        (newest / "position" / "metadata").write_text("{}")
        output = finish_pod()
        assert f"{newest} is damaged: position/metadata has 2 bytes" in output
        assert f"going on from step {POD_STEPS - 2}" in output
    words = ("--run", str(alone), *GENTLE)
    process = start(*words, experiment=experiment, steps=POD_STEPS)
    output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, output
    same_but_for_rounding(folder, alone)


def same_but_for_rounding(folder, alone):
    """Compares two whole runs, one of two processes."""
    got, expected = measured(folder), measured(alone)
    assert len(got) == len(expected)
    for mine, theirs in zip(got, expected, strict=True):
        assert mine == {
            name: value if isinstance(value, str) else pytest.approx(value, 1e-4, 1e-5)
            for name, value in theirs.items()
        }
    learned = [line["grad_norm"] for line in expected if line["stage"] != "validation"]
    assert sum(norm > 0.1 for norm in learned) > len(learned) / 2
    last = f"step_{POD_STEPS:06d}"
    assert answers(folder, f"{last}.*.jsonl") == answers(alone, f"{last}.jsonl")


def answers(folder, files):
    """Returns the problem, text, verdict and tokens of each row of rollout files."""
    return sorted(
        (row["problem"], row["response"], row["rule"], "".join(row["tokens"]))
        for file in (folder / "rollouts").glob(files)
        for row in map(json.loads, file.read_text().splitlines())
    )


@pytest.mark.slow
@pytest.mark.parametrize("which", [0, 1])
def test_a_process_that_cannot_save_ends_the_pod(tmp_path, which):
    """No other waits for it much longer than it takes to miss its heartbeat."""
    folder, address = tmp_path / "run", f"localhost:{free_port()}"
    pod = [
        start(
            *("--run", str(folder), "--pod", f"{address}/{index}/2", "--fsdp", 4),
            devices=2,
        )
        for index in range(2)
    ]
    log = folder / "metrics.jsonl"
    wait_for(lambda: log.exists() and '"reinforcement"' in log.read_text(), pod[0])
    _, most = resource.prlimit(pod[which].pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pod[which].pid, resource.RLIMIT_FSIZE, (4000, most))
    begun = time.monotonic()
    outputs = [process.communicate(timeout=LIMIT)[0] for process in pod]
    assert time.monotonic() - begun < 4 * (launch.FAREWELL + launch.HEARTBEAT)
    assert pod[which].returncode == 2, outputs[which]
    assert pod[1 - which].returncode != 0, outputs[1 - which]
    (line,) = [line for line in outputs[which].splitlines() if "could not be" in line]
    assert line.startswith("error: ") and "the same command goes on from" in line
    assert "Traceback" not in outputs[which]


def test_processes_that_disagree_stop_before_they_begin(tmp_path):
    folder, address = tmp_path / "run", f"localhost:{free_port()}"
    pod = [
        start(
            *("--run", str(folder), "--pod", f"{address}/{index}/2"),
            *("--seed", str(index)),
        )
        for index in range(2)
    ]
    outputs = [process.communicate(timeout=LIMIT)[0] for process in pod]
    for process, output in zip(pod, outputs, strict=True):
        assert process.returncode == 2, output
        assert "disagree about the experiment" in output
    assert not folder.exists()


def test_a_word_that_is_wrong_in_one_process_is_named_and_ends_both(tmp_path):
    """What else is wrong there is said with it, and the other says who refused."""
    folder, address = tmp_path / "run", f"localhost:{free_port()}"
    wrong = ("--stepz", 3, "--sampling.temperature", 0)
    pod = [
        start("--run", str(folder), "--pod", f"{address}/{index}/2", *words)
        for index, words in enumerate([(), wrong])
    ]
    outputs = [process.communicate(timeout=LIMIT)[0] for process in pod]
    assert [process.returncode for process in pod] == [2, 2], "\n".join(outputs)
    for output in outputs:
        assert "Traceback" not in output and output.count("error: ") == 1, output
    assert "another process of this pod refused; see what it says" in outputs[0]
    assert "--stepz" in outputs[1] and "sampling.temperature=0" in outputs[1]
    assert not folder.exists()
