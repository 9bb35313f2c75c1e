"""The service under real faults: every one in a real process, every kill SIGKILL."""

import concurrent.futures
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from maspo_jax.rewards.workers.service import Service

CHECK = "support.faulty_checks:judge"
# Fault -> the outcomes it may have; a worker that dies of itself is an error.
FAULTS = {
    "sleep": {"timeout"},
    "spin": {"timeout"},
    "ignore signals": {"timeout"},
    "loop in C": {"timeout"},
    "block in C": {"timeout"},
    "take memory": {"error"},
    "take memory slowly": {"error", "timeout"},
    "nest": {"error"},
    "die": {"error"},
    "exit": {"error"},
    "raise": {"error"},
    "leave": {"error"},
    "write a file": {"error"},
    "forge": {"error"},
}
PATIENCE = 30  # seconds after which a test is wrong, not slow


@pytest.fixture(scope="module")
def service():
    service = Service(workers=2, deadline=0.5, check=CHECK)
    yield service
    service.close()


def outcome(service, gold, answer):
    return service.submit(gold, answer).result(PATIENCE)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_ends_in_its_outcome_and_harms_no_other_check(service, fault, tmp_path):
    target = str(tmp_path / "made") if fault == "write a file" else "gold"
    futures = [service.submit(target, fault)]
    futures += [service.submit(str(n), str(n)) for n in range(20)]
    futures += [service.submit("7", "8")]
    results = [future.result(PATIENCE) for future in futures]
    assert results[0] in FAULTS[fault]
    assert results[1:] == ["correct"] * 20 + ["wrong"]
    assert not os.path.exists(target) or os.path.getsize(target) == 0


def test_checks_run_in_other_processes(service):
    assert outcome(service, str(os.getpid()), "process") == "correct"


def test_stuck_checks_cost_no_other_its_reward(service):
    stuck = [service.submit("gold", "loop in C") for _ in range(4)]
    right = [service.submit("1", "1") for _ in range(4)]
    assert [future.result(PATIENCE) for future in stuck] == ["timeout"] * 4
    assert [future.result(PATIENCE) for future in right] == ["correct"] * 4


def test_the_deadline_starts_when_a_worker_gets_the_check(service):
    futures = [service.submit("gold", "sleep") for _ in range(4)]
    finished = []
    for future in futures:
        future.result(PATIENCE)
        finished.append(time.monotonic())
    assert finished[-1] - finished[0] > 0.25  # two waves on two workers


def test_a_forged_reply_cannot_answer_the_next_check(service):
    for _ in range(5):
        assert outcome(service, "gold", "forge") == "error"
        assert outcome(service, "7", "8") == "wrong"


def test_a_worker_killed_from_outside_loses_no_check():
    service = Service(workers=1, deadline=PATIENCE, check=CHECK)
    try:
        assert outcome(service, "1", "1") == "correct"
        (worker,) = service._pool.workers
        os.kill(worker.pid, signal.SIGKILL)
        assert outcome(service, "2", "2") == "correct"
    finally:
        service.close()


def test_a_zygote_killed_from_outside_is_replaced():
    service = Service(workers=1, deadline=2.0, check=CHECK)
    try:
        assert outcome(service, "1", "1") == "correct"
        service._pool.zygote.kill()
        results = [outcome(service, str(n), str(n)) for n in range(3)]
        assert results == ["correct"] * 3
    finally:
        service.close()


def test_workers_do_not_outlive_their_zygote():
    service = Service(workers=2, deadline=PATIENCE, check=CHECK)
    try:
        stuck = [service.submit("gold", "loop in C") for _ in range(2)]
        wait_until(lambda: len(members(service)) == 3)
        processes = members(service)
        service._pool.zygote.kill()
        wait_until(lambda: not any(map(alive, processes)))
    finally:
        service.close()
    assert {future.result(PATIENCE) for future in stuck} == {"error"}


def test_a_zygote_that_cannot_start_is_an_error_and_not_a_hang():
    service = Service(check="no_such_module:judge")
    try:
        assert outcome(service, "1", "1") == "error"
    finally:
        service.close()


def test_closing_answers_what_is_open_and_leaves_no_process():
    service = Service(workers=2, deadline=PATIENCE, check=CHECK)
    future = service.submit("gold", "sleep")
    assert outcome(service, "1", "1") == "correct"
    processes = members(service)
    service.close()
    assert future.result(PATIENCE) == "error"
    assert not any(map(alive, processes))
    assert outcome(service, "1", "1") == "correct"  # it starts afresh
    service.close()


def test_threads_share_a_service(service):
    def work(seed):
        numbers = range(seed, seed + 50)
        futures = [service.submit(str(n), str(n - n % 2)) for n in numbers]
        return [future.result(PATIENCE) for future in futures]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for seed, results in zip(range(8), pool.map(work, range(8)), strict=True):
            expected = ["wrong" if (seed + n) % 2 else "correct" for n in range(50)]
            assert results == expected


def test_the_parents_signal_handlers_are_left_alone(service):
    before = [signal.getsignal(number) for number in (signal.SIGALRM, signal.SIGINT)]
    assert outcome(service, "gold", "spin") == "timeout"
    after = [signal.getsignal(number) for number in (signal.SIGALRM, signal.SIGINT)]
    assert before == after


def test_workers_are_replaced_and_nothing_accumulates(service):
    assert outcome(service, "1", "1") == "correct"
    descriptors = len(os.listdir("/proc/self/fd"))
    threads = threading.active_count()
    futures = [service.submit(str(n), str(n)) for n in range(3_000)]
    assert {future.result(PATIENCE) for future in futures} == {"correct"}
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 2
    assert threading.active_count() == threads
    assert len(members(service)) <= 3


PARENT = """
import sys, time
from maspo_jax.rewards.workers.service import Service
service = Service(workers=2, deadline=1000.0, check="support.faulty_checks:judge")
service.submit("1", "1").result()
stuck = [service.submit("gold", fault) for fault in ("ignore signals", "loop in C")]
while sum(worker.check is not None for worker in service._pool.workers) < 2:
    time.sleep(0.01)
pids = [worker.pid for worker in service._pool.workers]
print(service._pool.zygote.pid, *pids, flush=True)
{ending}
"""


@pytest.mark.parametrize(
    "ending", ["time.sleep(1000)", "raise RuntimeError", "raise KeyboardInterrupt"]
)
def test_no_orphan_outlives_its_parent(ending):
    tests = pathlib.Path(__file__).parents[1]
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(ending=ending)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": f"{tests}:{tests.parent}"},
    )
    with parent:
        processes = [int(pid) for pid in parent.stdout.readline().split()]
        if "sleep" in ending:
            parent.kill()
    assert len(processes) == 3
    wait_until(lambda: not any(map(alive, processes)))


def wait_until(condition):
    """Waits for something that takes a moment, and fails if it never comes."""
    limit = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < limit:
        time.sleep(0.02)
    assert condition()


def members(service):
    """Returns the process ids of a service's zygote, once it has one, and workers."""
    pool = service._pool
    if pool.zygote is None:
        return []
    return [pool.zygote.pid, *(worker.pid for worker in pool.workers)]


def alive(pid):
    """Whether a process exists and is no zombie."""
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1]
    except OSError:
        return False
    return state.split()[0] not in "ZX"
