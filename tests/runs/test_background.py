"""What is written beside the training: in order, all of it, and no error is lost."""

import threading

import pytest

from maspo_jax.runs import background
from maspo_jax.runs.background import Background
from maspo_jax.runs.metrics_log import FILE, MetricsLog
from maspo_jax.storage import WriteError


def fails(reason="no room"):
    raise WriteError(reason)


@pytest.fixture
def writer():
    writer = Background()
    yield writer
    writer.close()


def test_work_is_done_in_order_by_another_thread(writer):
    done = []
    for number in range(200):
        writer.add(lambda n=number: done.append((n, threading.current_thread().name)))
    writer.flush()
    assert done == [(number, "writer") for number in range(200)]


def test_whoever_adds_goes_on_while_it_is_done(writer):
    may_go_on, done = threading.Event(), []
    writer.add(lambda: done.append(may_go_on.wait(60)))
    writer.add(lambda: done.append("second"))
    assert done == []
    may_go_on.set()
    writer.flush()
    assert done == [True, "second"]


def test_so_much_may_wait_and_no_more(writer):
    may_go_on = threading.Event()
    for _ in range(background.WAITING + 1):  # one of them is under way
        writer.add(lambda: may_go_on.wait(60))
    one_more = threading.Thread(target=writer.add, args=(lambda: None,))
    one_more.start()
    one_more.join(0.2)
    assert one_more.is_alive()
    may_go_on.set()
    one_more.join(60)
    assert not one_more.is_alive()


def test_an_error_is_raised_by_who_waits_and_nothing_is_done_behind_it(writer):
    done = []
    writer.add(lambda: done.append("before"))
    writer.add(fails)
    with pytest.raises(WriteError, match="no room"):
        writer.flush()
    for ask in (writer.flush, lambda: writer.add(lambda: done.append("behind"))):
        with pytest.raises(WriteError, match="no room"):
            ask()
    assert done == ["before"]


def test_what_waits_behind_an_error_is_not_done(writer):
    may_go_on, done = threading.Event(), []
    writer.add(lambda: fails(str(may_go_on.wait(60))))
    writer.add(lambda: done.append("behind"))
    may_go_on.set()
    with pytest.raises(WriteError, match="True"):
        writer.flush()
    assert done == []


def test_what_is_under_way_is_waited_for(writer):
    begun, may_go_on, done = threading.Event(), threading.Event(), []

    def work():
        begun.set()
        done.append(may_go_on.wait(60))

    writer.add(work)
    assert begun.wait(60)
    waiting = threading.Thread(target=writer.flush)
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    may_go_on.set()
    waiting.join(60)
    assert done == [True] and not waiting.is_alive()


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, MemoryError])
def test_no_error_ends_the_thread(writer, error):
    def work():
        raise error("of a tokenizer of one's own")

    writer.add(work)
    for _ in range(2):
        with pytest.raises(error, match="of a tokenizer"):
            writer.flush()


def test_a_closed_writer_takes_nothing_and_keeps_nobody():
    writer = Background()
    writer.close()
    writer.close()
    writer.flush()
    with pytest.raises(RuntimeError, match="the writer is closed"):
        writer.add(fails)


def test_closing_waits_for_all():
    writer, done = Background(), []
    for number in range(9):
        writer.add(lambda n=number: done.append(n))
    writer.close()
    assert done == [*range(9)]


@pytest.mark.parametrize("leave", [None, KeyboardInterrupt])
def test_a_log_is_whole_when_it_is_left(tmp_path, leave):
    """Also by an error: nothing of what was handed in is lost."""
    try:
        with MetricsLog(tmp_path, {}) as log:
            for step in range(1, 50):
                log.write_updates(step - 1, [{"loss": 1.0}])
                log.write("reinforcement", step, {"reward": 0.5})
            if leave:
                raise leave
    except KeyboardInterrupt:
        assert leave
    lines = (tmp_path / FILE).read_text().splitlines()
    assert len(lines) == 98 and '"step": 49' in lines[-1]


def test_an_error_that_nobody_has_seen_is_raised_when_the_log_is_left(tmp_path):
    with pytest.raises(WriteError, match="no room"):
        with MetricsLog(tmp_path, {}) as log:
            log.add(fails)


def test_an_error_on_the_way_out_stays_what_it_is(tmp_path):
    with pytest.raises(ValueError, match="the cause"):
        with MetricsLog(tmp_path, {}) as log:
            log.add(fails)
            raise ValueError("the cause")
