"""What a person sees: never nothing for long, and never markup from a response."""

import io
import time

import jax
import pytest
import rich.console

from maspo_jax.runs import display as displays
from maspo_jax.runs.display import Display
from maspo_jax.runs.metrics_log import Clock
from maspo_jax.runs.programs import Program


def shown(terminal, use):
    """Returns what a display wrote while it was used."""
    output = io.StringIO()
    console = rich.console.Console(
        file=output, force_terminal=terminal, width=200, color_system=None
    )
    with Display(console) as display:
        use(display)
    return output.getvalue()


def test_a_silence_is_broken(monkeypatch):
    monkeypatch.setattr(displays, "SILENCE", 0.5)

    def use(display):
        display.stage("sampling")
        deadline = time.monotonic() + 30
        while "sampling" not in display.console.file.getvalue():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    assert "... compiling, then sampling" in shown(False, use)


def test_only_the_first_time_says_that_it_compiles():
    def row(display):
        return [*display._render().columns[0].cells][1]

    def use(display):
        display.begin("step", 0, 2)
        display.stage("sampling")
        assert "compiling, then sampling" in row(display)
        display.stage("sampling")
        assert "sampling" in row(display) and "compiling" not in row(display)
        display.stage("writing")
        assert "compiling" not in row(display)

    assert "step" in shown(True, use)


def test_a_wait_before_the_first_update_is_not_taken_for_it():
    """What compiles is said to compile, though its time was counted before."""
    display = Display(rich.console.Console(file=io.StringIO()))
    clock = Clock(display)
    with clock("updating", shown="waiting for the updates"):
        assert display._under_way == "waiting for the updates"
    with clock("updating"):
        assert display._under_way == "compiling, then updating"
    assert clock.read().keys() == {"updating"}


@pytest.mark.parametrize("terminal", [True, False])
def test_the_last_step_is_shown_with_its_metrics(terminal):
    def use(display):
        display.begin("step", 0, 2)
        display.step(1, {"reward": 0.25, "unknown": 1.0})
        display.show({"accuracy": 0.5})
        display.step(2, {"reward": 0.75, "response_length/mean": 12.0})
        time.sleep(0.3 if terminal else 0)

    text = shown(terminal, use)
    assert "0.75" in text and "50.0%" in text and "12.0" in text
    assert "unknown" not in text


def test_the_time_left_is_judged_by_the_steps_behind_the_first(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(displays.time, "monotonic", lambda: now[0])
    display = Display(rich.console.Console(file=io.StringIO()))
    display.begin("step", 0, 4)
    for second, left in (
        (50, ""),
        (52, "0:04 left"),
        (60, "0:05 left"),
        (70, "in 1:10"),
    ):
        now[0] = second
        display.step(display._progress.tasks[0].completed + 1, {})
        assert display._progress.tasks[0].fields["left"] == left


def test_it_compiles_until_the_program_is_compiled():
    """However long the stage then takes; and again, should it be compiled anew."""
    display = Display(rich.console.Console(file=io.StringIO()))
    display.stage("fine-tuning")
    assert display._under_way == "compiling, then fine-tuning"
    seen = []
    during = lambda event, seconds, **about: seen.append(display._under_way)
    jax.monitoring.register_event_duration_secs_listener(during)
    try:
        program = jax.jit(lambda x: x + during.__code__.co_firstlineno + len(seen))
        program(1.0)
        assert "compiling, then fine-tuning" in seen
        assert display._under_way == "fine-tuning"
        display.stage("fine-tuning")
        seen.clear()
        program(jax.numpy.ones(7))
        assert "compiling, then fine-tuning" in seen
        assert display._under_way == "fine-tuning"
    finally:
        jax.monitoring.unregister_event_duration_listener(during)


def test_a_program_that_another_thread_compiles_is_not_waited_for():
    display = Display(rich.console.Console(file=io.StringIO()))
    display.stage("sampling")
    display.stage("sampling")
    display._compilations.threads.add(-1)
    try:
        assert display._under_way == "sampling"
        display.stage("updating")  # the first one needs it
        display._compilations.programs.append(Program("another", 1.0, False))
        assert display._under_way == "compiling, then updating"
    finally:
        display._compilations.threads.discard(-1)
    assert display._under_way == "updating"


def test_a_log_is_not_filled(monkeypatch):
    """Silences double; a new series begins with a short one."""
    monkeypatch.setattr(displays, "SILENCE", 0.5)
    monkeypatch.setattr(displays, "LONGEST_SILENCE", 2.0)
    display = Display(rich.console.Console(file=io.StringIO()))
    now, rounds, spoken = [0.0], iter([False] * 90 + [True]), []

    def clock():
        return now[0]

    def passes(seconds):
        now[0] += 0.1
        return next(rounds)

    monkeypatch.setattr(displays.time, "monotonic", clock)
    monkeypatch.setattr(display._closing, "wait", passes)
    monkeypatch.setattr(display.console, "print", lambda *a, **b: spoken.append(now[0]))
    display._spoke = 0.0
    display.begin("step", 0, 2)
    display._beat()
    gaps = [b - a for a, b in zip([0.0, *spoken], spoken, strict=False)]
    assert gaps == pytest.approx([0.6, 1.1, 2.1, 2.1, 2.1], abs=0.11)
    display.begin("step", 0, 2)
    assert display._silence == 0.5


def test_what_comes_after_a_stage_is_said(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(displays.time, "monotonic", lambda: now[0])
    display = Display(rich.console.Console(file=io.StringIO()))
    display.begin("sft", 0, 4, then="40 steps")
    for second, left in ((50, ""), (52, "0:04 left, then 40 steps")):
        now[0] = second
        display.step(display._progress.tasks[0].completed + 1, {})
        assert display._progress.tasks[0].fields["left"] == left
    now[0] = 60
    display.step(4, {})
    assert display._progress.tasks[0].fields["left"] == "in 1:00"


def test_brackets_are_text():
    assert "[bold] 1 [/]" in shown(False, lambda display: display.note("[bold] 1 [/]"))


def test_a_terminal_that_cannot_redraw_gets_lines(monkeypatch):
    monkeypatch.setattr(displays, "SILENCE", 0.5)
    monkeypatch.setenv("TERM", "dumb")

    def use(display):
        display.stage("sampling")
        deadline = time.monotonic() + 30
        while "sampling" not in display.console.file.getvalue():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    assert "... compiling, then sampling" in shown(True, use)
