"""A grader is tried where a run will call it, and in bounded time."""

import re
import signal
import sys
import threading
import time

import pytest

from maspo_jax.config import validation
from maspo_jax.config.validation import check_grader
from maspo_jax.data.prompts import templates
from maspo_jax.data.sources import Problem

PATIENCE = 0.2
PROBLEMS = [Problem("1", "1+1=?", "2")]


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(validation, "PATIENCE", PATIENCE)
    before = [*map(signal.getsignal, (signal.SIGURG, signal.SIGVTALRM))]
    yield
    assert [*map(signal.getsignal, (signal.SIGURG, signal.SIGVTALRM))] == before
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0, 0)


def check(grader):
    check_grader(templates.PLAIN, grader, PROBLEMS, "train_set")


def alarmed(response, gold):
    """As libraries do that check answers with a limit on the time."""
    before = signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 1000)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    return 1.0


def test_a_grader_may_set_an_alarm():
    check(alarmed)


def sleeps(response, gold):
    time.sleep(60)


def loops(response, gold):
    while True:
        pass


def catches(response, gold):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            time.sleep(60)
        except Exception:
            return 0.0


def goes_on(response, gold):
    for _ in range(2):
        try:
            time.sleep(60)
        except BaseException:
            continue
    return 0.0


def waits(response, gold):
    threading.Event().wait(60)


def searches(response, gold):
    re.match(r"(a+)+$", 60 * "a" + "b")


SLOW = [sleeps, loops, catches, goes_on, waits, searches]


@pytest.mark.parametrize("slow", SLOW)
def test_a_slow_grader_is_refused_in_bounded_time(slow):
    begun = time.monotonic()
    with pytest.raises(ValueError) as caught:
        check(slow)
    assert time.monotonic() - begun < 30
    assert f"grading.grader={slow.__name__} fails on response" in str(caught.value)
    assert "TimeoutError: it takes more than 0.2 s for one resp" in str(caught.value)


def in_another_thread(function):
    """Calls a function in another thread. Returns what it raised, or None."""
    raised = []

    def call():
        try:
            function()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    return raised[0] if raised else None


def test_in_another_thread_it_is_tried_as_it_will_be_called():
    assert in_another_thread(lambda: check(lambda response, gold: 1.0)) is None
    assert "it takes more" in str(in_another_thread(lambda: check(waits)))
    assert "main thread" in str(in_another_thread(lambda: check(alarmed)))


def leaves(response, gold):
    sys.exit(3)


def fails(response, gold):
    raise GeneratorExit("of a kind of its own")


@pytest.mark.parametrize(
    "grader, reason", [(leaves, "SystemExit: 3"), (fails, "GeneratorExit: of a kind")]
)
def test_one_that_would_end_the_run_is_refused(grader, reason):
    for error in (in_another_thread(lambda: check(grader)), None):
        if error is None:
            with pytest.raises(ValueError) as caught:
                check(grader)
            error = caught.value
        assert isinstance(error, ValueError) and f": {reason}" in str(error)


def test_whoever_interrupts_it_is_heard():
    def interrupted(response, gold):
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            check(interrupted)
    finally:
        signal.signal(signal.SIGINT, before)
