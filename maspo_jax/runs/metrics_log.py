"""What a run measures, for programs and for TensorBoard."""

import contextlib
import functools
import json
import math
import pathlib
import time

import jax
import tensorboardX

from maspo_jax.runs import legacy

# What stages were called in runs of earlier versions.
RENAMED_STAGES = {"warm_up": "sft", "held_out": "validation"}


def read_lines(path):
    """Returns the lines of a `metrics.jsonl`, dicts, under the names of today.

    What follows the last end of line was cut off with the process that wrote it, and
    is left out.

    Raises:
        ValueError: another line is none of a run.
    """
    whole, _, _ = path.read_text(errors="replace").rpartition("\n")
    lines = []
    for number, text in enumerate(whole.splitlines(), start=1):
        try:
            line = json.loads(text)
            stage, _ = line["stage"], line["step"]
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"{path}: line {number} is damaged, {text[:40]!r}: repair or remove it"
            ) from error
        if "ratio/mean" not in line:  # every line of updates has it since the renaming
            line = {legacy.METRICS.get(name, name): line[name] for name in line}
        line = {name: math.nan if line[name] is None else line[name] for name in line}
        lines.append(line | {"stage": RENAMED_STAGES.get(stage, stage)})
    return lines


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
        self._file.write(_line({"stage": stage, "step": step, **metrics}))
        self._file.flush()

    def _reopen(self, path):
        lines = read_lines(path) if path.exists() else []
        kept = [
            line for line in lines if line["step"] <= self._kept.get(line["stage"], -1)
        ]
        partial = path.with_suffix(".partial")
        partial.write_text("".join(map(_line, kept)))
        partial.replace(path)
        return path.open("a")

    def _writer(self, stage):
        if stage not in self._writers:
            self._writers[stage] = tensorboardX.SummaryWriter(
                str(self._folder / "tensorboard" / stage),
                purge_step=self._kept.get(stage, -1) + 1,
            )
        return self._writers[stage]


def _line(numbers):
    """Returns a line of JSON, which has no word for a number that is not finite."""
    infinite = lambda value: isinstance(value, float) and not math.isfinite(value)
    line = {
        name: None if infinite(numbers[name]) else numbers[name] for name in numbers
    }
    return json.dumps(line, allow_nan=False) + "\n"


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
        self._compiled = len(_compilations())

    @contextlib.contextmanager
    def __call__(self, stage, shown=None):
        """Times a stage, and shows that it, or what `shown` calls it, is under way."""
        self._display.stage(shown or stage)
        begin = time.perf_counter()
        yield
        spent = time.perf_counter() - begin
        self._seconds[stage] = self._seconds.get(stage, 0.0) + spent

    def read(self):
        """Returns {stage: seconds} since the last reading, and starts anew."""
        seconds, self._seconds = self._seconds, {}
        return seconds

    def programs_compiled(self):
        """Returns how many programs were compiled, or found compiled, in its time."""
        return len(_compilations()) - self._compiled


@functools.cache
def _compilations():
    """Returns a list that grows by one with every program compiled from now on."""
    seen = []

    def note(event, seconds, **about):
        if event == "/jax/core/compile/backend_compile_duration":
            seen.append(seconds)

    jax.monitoring.register_event_duration_secs_listener(note)
    return seen
