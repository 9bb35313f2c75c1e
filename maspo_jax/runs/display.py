"""What a person sees of a run while it goes on.

In a terminal: a live panel with the stage, a bar, the time left and the last
metrics. Elsewhere: a line whenever there is news, and in between, after longer and
longer silences, a line that says what is still under way.
"""

import threading
import time

import rich.console
import rich.live
import rich.markup
import rich.progress
import rich.table

from maspo_jax.runs.programs import compilations

SILENCE = 4.0  # seconds without a line after which one says what is under way
LONGEST_SILENCE = 64.0  # to which they double, or such lines would fill a log
COMPILED = {"fine-tuning", "sampling", "updating", "evaluating"}  # the first time
SHOWN = {  # metric -> (label, format)
    "reward": ("reward", "{:.2f}"),
    "accuracy": ("held-out accuracy", "{:.1%}"),
    "accuracy_so_far": ("right so far", "{:.1%}"),
    "response_length/mean": ("length", "{:.1f}"),
    "entropy": ("entropy", "{:.2f}"),
    "loss": ("loss", "{:.3f}"),
    "out_of_band_last": ("out of band", "{:.1%}"),
    "tokens_per_second": ("tokens/s", "{:,.0f}"),
}


class Display:
    """A context manager that shows where a run is.

    One thread says what is under way; a note may come from any.
    """

    def __init__(self, console=None, quiet=False):
        """Prepares the display.

        Args:
            console: a `rich.console.Console`; by default the standard output.
            quiet: show nothing, as all but one process of a pod should.
        """
        self.console = console or rich.console.Console(quiet=quiet)
        self._progress = rich.progress.Progress(
            rich.progress.SpinnerColumn(),
            rich.progress.TextColumn("{task.description}"),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn("{task.fields[left]}"),
            console=self.console,
        )
        self._task = None
        self._seen = set()
        self._stage, self._since = "starting", time.monotonic()
        self._thread, self._first = threading.get_ident(), None
        self._spoke, self._silence = time.monotonic(), SILENCE
        self._compilations = compilations()
        self._closing = threading.Event()
        self._live = None
        self._heart = threading.Thread(target=self._beat, daemon=True)
        self._metrics = {}

    def __enter__(self):
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            self._live = rich.live.Live(
                get_renderable=self._render, console=self.console, transient=True
            )
            self._live.start()
            self.console.show_cursor(True)  # or a sudden end would leave none
        self._heart.start()
        return self

    def __exit__(self, *error):
        self._closing.set()
        self._heart.join()
        if self._live:
            self._live.stop()

    def begin(self, name, done, total, then=""):
        """Starts a series of `total` steps, `done` of them already behind.

        Args:
            name: of a step.
            done: how many are behind.
            total: how many there are.
            then: what comes after them, whose time is not known yet.
        """
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._name, self._measured, self._begun = name, None, time.monotonic()
        self._then, self._silence = then and f", then {then}", SILENCE
        self._task = self._progress.add_task(name, total=total, completed=done, left="")
        self._metrics = {}

    def stage(self, name):
        """Says what is under way."""
        self._first = None
        if name in COMPILED - self._seen:
            self._first = self._compilations.finished
        self._seen.add(name)
        self._stage, self._thread = name, threading.get_ident()
        self._since = time.monotonic()

    @property
    def _under_way(self):
        """What is under way; the first time a stage waits for its programs."""
        going_on = self._compilations.threads
        compiling = self._thread in going_on
        if self._first is not None:
            compiling = bool(going_on) or self._first == self._compilations.finished
        return f"compiling, then {self._stage}" if compiling else self._stage

    def step(self, step, metrics):
        """Says that a step is done, and what came of it."""
        self._metrics |= metrics
        total, left = self._progress.tasks[0].total, self._left(step)
        self._progress.update(self._task, completed=step, left=left)
        news = self._live is None and time.monotonic() - self._spoke > SILENCE / 2
        if news or step == total:
            self._say(
                f"{self._name} {step}/{total}{left and ', '}{left}: {self._line()}"
            )

    def show(self, metrics):
        """Shows metrics that do not belong to a step."""
        self._metrics |= metrics

    def note(self, text):
        """Says something that should stay on the screen."""
        self._say(text)

    def _left(self, step):
        """Returns the time left, judged by the steps behind the first; at last, taken.

        The first one is no measure: it compiles.
        """
        total, now = self._progress.tasks[0].total, time.monotonic()
        if step == total:
            return f"in {_minutes(now - self._begun)}"
        if self._measured is None:
            self._measured = now, step
            return ""
        begun, before = self._measured
        left = _minutes((now - begun) / (step - before) * (total - step))
        return f"{left} left{self._then}"

    def _line(self):
        return ", ".join(
            f"{label} {form.format(self._metrics[name])}"
            for name, (label, form) in SHOWN.items()
            if name in self._metrics
        )

    def _say(self, text):
        self._spoke = time.monotonic()
        self.console.print(rich.markup.escape(text), highlight=False, soft_wrap=True)

    def _render(self):
        table = rich.table.Table.grid()
        table.add_row(self._progress)
        seconds = time.monotonic() - self._since
        table.add_row(f"  [bold]{self._under_way}[/] ({seconds:.0f} s)")
        table.add_row(f"  {self._line()}")
        return table

    def _beat(self):
        """Breaks a silence, until the display is closed."""
        while not self._closing.wait(1.0):
            quiet = time.monotonic() - self._spoke
            if self._live is None and quiet > self._silence:
                seconds = time.monotonic() - self._since
                self._say(f"  ... {self._under_way} ({seconds:.0f} s)")
                self._silence = min(2 * self._silence, LONGEST_SILENCE)


def _minutes(seconds):
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
