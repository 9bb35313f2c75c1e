"""What a person sees of a run while it goes on.

In a terminal: a live panel with the stage, a bar, the time left and the last
metrics. Elsewhere: a line whenever there is news, and at least every five seconds
a line that says what is still under way.
"""

import threading
import time

import rich.console
import rich.live
import rich.markup
import rich.progress
import rich.table

SILENCE = 4.0  # seconds without a line after which one says what is under way
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
        self._spoke = time.monotonic()
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

    def begin(self, name, done, total):
        """Starts a series of `total` steps, `done` of them already behind."""
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._name, self._measured, self._begun = name, None, time.monotonic()
        self._task = self._progress.add_task(name, total=total, completed=done, left="")
        self._metrics = {}

    def stage(self, name):
        """Says what is under way."""
        first = name in COMPILED - self._seen
        self._seen.add(name)
        self._stage = f"compiling, then {name}" if first else name
        self._since = time.monotonic()

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
        return f"{_minutes((now - begun) / (step - before) * (total - step))} left"

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
        table.add_row(f"  [bold]{self._stage}[/] ({seconds:.0f} s)")
        table.add_row(f"  {self._line()}")
        return table

    def _beat(self):
        """Breaks a silence, until the display is closed."""
        while not self._closing.wait(1.0):
            quiet = time.monotonic() - self._spoke
            if self._live is None and quiet > SILENCE:
                seconds = time.monotonic() - self._since
                self._say(f"  ... {self._stage} ({seconds:.0f} s)")


def _minutes(seconds):
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
