"""What a run measures, for programs and for TensorBoard."""

import contextlib
import functools
import json
import math
import pathlib
import socket
import struct
import time

import jax

from maspo_jax.runs import legacy
from maspo_jax.runs.background import Background
from maspo_jax.runs.programs import compilations
from maspo_jax.runs.without import without
from maspo_jax.storage import Appender, keep_aside, write_whole, writing

with without("torch"):  # which takes seconds, for tensors that there are none of here
    from tensorboardX import summary
    from tensorboardX.proto.event_pb2 import Event, SessionLog
    from tensorboardX.record_writer import masked_crc32c

FILE = "metrics.jsonl"

# What stages were called in runs of earlier versions.
SFT_EVERY = 10  # updates of supervised training between two lines, and at its end
RENAMED_STAGES = {"warm_up": "sft", "held_out": "validation"}


def read_lines(path):
    """Returns the lines of a `metrics.jsonl`, dicts, under the names of today.

    What follows the last end of line was cut off with the process that wrote it, and
    is left out.

    Raises:
        ValueError: another line is none of a run.
    """
    lines, damage, _ = _parsed(path)
    for number, text in damage.items():
        raise ValueError(
            f"{path}: line {number} is damaged, {text[:40]!r}: repair or remove it"
        )
    return lines


def _parsed(path):
    """Returns the lines of a file, {number: text} of the damaged ones, and the tail."""
    whole, _, tail = path.read_text(errors="replace").rpartition("\n")
    lines, damage = [], {}
    for number, text in enumerate(whole.split("\n") if whole else [], start=1):
        try:
            line = json.loads(text)
            stage = line["stage"]
            if not isinstance(stage, str) or not isinstance(line["step"], int):
                raise ValueError
        except (ValueError, TypeError, KeyError, RecursionError):
            damage[number] = text
            continue
        if "ratio/mean" not in line:  # every line of updates has it since the renaming
            line = {legacy.METRICS.get(name, name): line[name] for name in line}
        line = {name: math.nan if line[name] is None else line[name] for name in line}
        lines.append(line | {"stage": RENAMED_STAGES.get(stage, stage)})
    return lines, damage, tail


def steps_logged(folder):
    """Returns {stage: the last step} of a run's log; damaged lines are left out."""
    path = pathlib.Path(folder) / FILE
    reached = {}
    for line in _parsed(path)[0] if path.is_file() else []:
        reached[line["stage"]] = max(line["step"], reached.get(line["stage"], 0))
    return reached


class MetricsLog:
    """One JSON line and one set of TensorBoard scalars per step of a stage.

    Single updates are lines only: their mean over a step is drawn.

    A thread of its own writes, in the order of the calls. What it could not write is
    raised by the next call, at the latest by `flush`, and nothing is written behind it.

    Only the first process of a pod writes. Opened again behind a checkpoint, the log
    first forgets what was written after it, so that it reads as if the run had never
    been interrupted.
    """

    def __init__(self, folder, kept, note=print):
        """Opens the log.

        Args:
            folder: of the run.
            kept: {stage: steps}: lines of other stages, or after so many steps, go.
            note: called with a line for people where the log is damaged.

        Raises:
            WriteError: it cannot be written.
        """
        self._scalars = {}
        self._folder = pathlib.Path(folder)
        self._kept, self._note = kept, note
        self._file = None
        if jax.process_index() == 0:
            self._file = self._reopen(self._folder / FILE)
        self._background = Background()

    def __enter__(self):
        return self

    def __exit__(self, kind, *error):
        try:
            if kind is None:
                self.flush()
        finally:
            self._background.close()
            self._close()

    def _close(self):
        for file in (self._file, *self._scalars.values()):
            if file:
                file.close()

    def write(self, stage, step, metrics):
        """Writes the metrics of a stage after so many steps, all plain numbers.

        Raises:
            WriteError: something before them could not be written.
        """
        if self._file is not None:
            self.add(functools.partial(self._write, stage, step, dict(metrics)))

    def _write(self, stage, step, metrics):
        self._add(stage, step, metrics)
        values = [
            summary.scalar(name, value).value[0] for name, value in metrics.items()
        ]
        event = Event(wall_time=time.time(), step=step)
        event.summary.value.extend(values)
        self._scalars_of(stage).append(_record(event))

    def write_updates(self, done, updates):
        """Writes the metrics of each update of a step, after so many were done."""
        if self._file is not None:
            self.add(functools.partial(self._write_updates, done, updates))

    def add(self, work):
        """Has a function without arguments called that writes something else, in order.

        Raises:
            WriteError: something before it could not be written.
        """
        self._background.add(work)

    def flush(self):
        """Waits until all is written.

        Raises:
            WriteError: something could not be written.
        """
        self._background.flush()

    def _write_updates(self, done, updates):
        for number, metrics in enumerate(updates, start=done + 1):
            self._add("update", number, metrics)

    def _add(self, stage, step, metrics):
        line = _line({"stage": stage, "step": step, **metrics})
        self._file.append(line.encode())

    def _reopen(self, path):
        lines, damage, tail = _parsed(path) if path.exists() else ([], {}, "")
        kept = [
            line for line in lines if line["step"] <= self._kept.get(line["stage"], -1)
        ]
        faults = [f"line {number} is damaged" for number in damage]
        faults = [*faults[:2], f"{len(faults) - 2} more are"][: len(faults)]
        faults += ["the last line is cut off"] if tail else []
        aside = keep_aside(path, "damaged").name if faults else None
        if lost := self._lost(kept):
            faults += [f"the metrics of {lost} are gone"]
        if faults:
            as_it_was = f"; the file as it was is kept as {aside}" if aside else ""
            self._note(f"{path}: {', '.join(faults)}{as_it_was}")
        done = self._kept.get("reinforcement", -1)
        again = [line["step"] for line in lines if line["stage"] == "reinforcement"]
        again = sorted(step for step in again if step > max(done, 0))
        if again:
            aside = keep_aside(path, "before").name if done < 0 else None
            as_it_was = f"; their metrics are kept in {aside}" if aside else ""
            self._note(f"steps from {again[0]} on are done again{as_it_was}")
        write_whole(path, "".join(map(_line, kept)))
        return Appender(path)

    def _lost(self, lines):
        """Returns of which steps there should be lines, in words, or None."""
        steps_in = lambda stage: {
            line["step"] for line in lines if line["stage"] == stage
        }
        done = self._kept.get("reinforcement", 0)
        missing = sorted(set(range(1, done + 1)) - steps_in("reinforcement"))
        if missing:
            span = f"from {missing[0]} to {missing[-1]}" if missing[1:] else missing[0]
            return f"{len(missing)} of {done} steps ({span})"
        sft = self._kept.get("sft", 0)
        if SFT_EVERY <= sft < math.inf and not steps_in("sft"):
            return f"{sft} sft updates"
        return None

    def _scalars_of(self, stage):
        """Returns the file of TensorBoard's events of a stage.

        Written here, not by the thread of a library: that one dies of a full disk, and
        whoever waits for it waits forever.
        """
        if stage not in self._scalars:
            folder = self._folder / "tensorboard" / stage
            with writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
            name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}"
            self._scalars[stage] = Appender(folder / name)
            version = Event(wall_time=time.time(), file_version="brain.Event:2")
            forget = Event(  # what earlier files hold from this step on
                wall_time=time.time(),
                step=self._kept.get(stage, -1) + 1,
                session_log=SessionLog(status=SessionLog.START),
            )
            self._scalars[stage].append(_record(version) + _record(forget))
        return self._scalars[stage]


def _record(event):
    """Returns an event as TensorBoard reads it: length, checksum, event, checksum."""
    data = event.SerializeToString()
    size = struct.pack("<Q", len(data))
    checksum = lambda part: struct.pack("<I", masked_crc32c(part))
    return size + checksum(size) + data + checksum(data)


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
        self._compiled = compilations().finished

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
        return compilations().finished - self._compiled
