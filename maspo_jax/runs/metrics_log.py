"""What a run writes down: numbers for programs and TensorBoard, rollouts as text."""

import contextlib
import json
import math
import pathlib
import time

import jax
import numpy as np
import tensorboardX

from maspo_jax import distributed
from maspo_jax.objectives.ratios import MAX_LOG_RATIO


class MetricsLog:
    """One JSON line and one set of TensorBoard scalars per step of a stage.

    Single updates are lines only: their mean over a step is drawn.

    Only the first process of a pod writes. Opened again behind a checkpoint, the log
    first forgets what was written after it, so that it reads as if the run had never
    been interrupted.
    """

    def __init__(self, folder, kept):
        """Opens the log.

        Args:
            folder: of the run.
            kept: {stage: steps}: lines of other stages, or after so many steps, go.
        """
        self._writers = {}
        self._folder = pathlib.Path(folder)
        self._kept = kept
        self._file = None
        if jax.process_index() == 0:
            self._file = self._reopen(self._folder / "metrics.jsonl")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self._file:
            self._file.close()
        for writer in self._writers.values():
            writer.close()

    def write(self, stage, step, metrics):
        """Writes the metrics of a stage after so many steps, all plain numbers."""
        if self._file is None:
            return
        self._add(stage, step, metrics)
        writer = self._writer(stage)
        for name, value in metrics.items():
            writer.add_scalar(name, value, step)

    def write_updates(self, done, updates):
        """Writes the metrics of each update of a step, after so many were done."""
        if self._file is None:
            return
        for number, metrics in enumerate(updates, start=done + 1):
            self._add("update", number, metrics)

    def _add(self, stage, step, metrics):
        line = {"stage": stage, "step": step, **metrics}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def _reopen(self, path):
        lines = path.read_text().splitlines() if path.exists() else []
        partial = path.with_suffix(".partial")
        partial.write_text("".join(f"{line}\n" for line in lines if self._keeps(line)))
        partial.replace(path)
        return path.open("a")

    def _keeps(self, line):
        try:
            line = json.loads(line)
        except ValueError:  # cut off by the end of the process that wrote it
            return False
        return line["step"] <= self._kept.get(line["stage"], -1)

    def _writer(self, stage):
        if stage not in self._writers:
            self._writers[stage] = tensorboardX.SummaryWriter(
                str(self._folder / "tensorboard" / stage),
                purge_step=self._kept.get(stage, -1) + 1,
            )
        return self._writers[stage]


def refuse_non_finite(when, numbers, settings):
    """Raises if a loss or a gradient is not finite.

    Args:
        when: says which update, for the message.
        numbers: its metrics.
        settings: the part of the experiment that says how large updates are.
    """
    for name in ("loss", "grad_norm"):
        if not math.isfinite(numbers[name]):
            raise FloatingPointError(
                f"{name} is {numbers[name]} at {when}; nothing was saved after it. "
                f"Lower {settings}.learning_rate or {settings}.max_grad_norm, and "
                "start again with another --run"
            )


class Clock:
    """Adds up the seconds of each stage of a step."""

    def __init__(self, display):
        self._display = display
        self._seconds = {}

    @contextlib.contextmanager
    def __call__(self, stage):
        """Times a stage, and shows that it is under way."""
        self._display.stage(stage)
        begin = time.perf_counter()
        yield
        spent = time.perf_counter() - begin
        self._seconds[stage] = self._seconds.get(stage, 0.0) + spent

    def read(self):
        """Returns {stage: seconds} since the last reading, and starts anew."""
        seconds, self._seconds = self._seconds, {}
        return seconds


def write_rollouts(folder, step, experiment, problems, rewards, seen):
    """Writes the responses of a step's last update, one JSON line each.

    Args:
        folder: of the run; every process of a pod writes a file of its own.
        step: which.
        experiment: the `Experiment`.
        problems: all P of the step.
        rewards: of all N responses of the step.
        seen: the `algorithm.StepRecord` of the last update.
    """
    folder = pathlib.Path(folder) / "rollouts"
    folder.mkdir(exist_ok=True)
    part = f".{jax.process_index()}" if jax.process_count() > 1 else ""
    group = experiment.sampling.responses
    rows = (seen.prompts[:, None] * group + np.arange(group)).reshape(-1)
    rows = rows[distributed.host_slice(len(rows))]
    batch, trace = distributed.local_rows((seen.batch, seen.trace))
    with (folder / f"step_{step:06d}{part}.jsonl").open("w") as file:
        for index, row in enumerate(rows):
            record = {"problem": problems[row // group].id}
            record |= {"question": problems[row // group].question}
            record |= {"answer": problems[row // group].answer}
            record |= {"reward": float(rewards[row])}
            record |= response_record(index, batch, trace, experiment.tokenizer)
            file.write(json.dumps(record) + "\n")


def response_record(row, batch, trace, tokenizer):
    """Returns a response and what an update saw of its tokens, as plain data."""
    mask = batch.sequences.response_mask[row]
    tokens = batch.sequences.response[row][mask]
    old_logprob = batch.old_logprob[row][mask]
    difference = trace.logprob[row][mask] - old_logprob
    ratio = np.exp(np.clip(difference, -MAX_LOG_RATIO, MAX_LOG_RATIO))
    rounded = lambda values: [round(float(value), 4) for value in values]
    return {
        "response": tokenizer.decode(tokens),
        "advantage": round(float(batch.advantage[row][mask][0]), 4),
        "tokens": [tokenizer.decode([token]) for token in tokens],
        "old_logprob": rounded(old_logprob),
        "ratio": rounded(ratio),
        "gate": rounded(trace.gate[row][mask]),
    }
