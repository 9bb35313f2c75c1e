r"""What the answer checker survives: real faults in real processes.

    python experiments/benchmarks/checker_faults.py --cases checker_cases.jsonl

Every row is an assault, made while this runs, and what came of it. The assaults on
workers are the functions of `tests/faulty_checks.py`. Writes `faults.md`; ends with
status 1 if a row did not end as it should.

Result: experiments/results/answer_checker/faults.md.
"""

import argparse
import concurrent.futures
import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time

from maspo_jax.rewards import Verifier
from maspo_jax.rewards.audit import audit, read_cases
from maspo_jax.rewards.extraction import extract
from maspo_jax.rewards.workers.service import Service

ROOT = pathlib.Path(__file__).parents[2]
RESULTS = ROOT / "experiments" / "results" / "answer_checker"
CHECK = "support.faulty_checks:judge"
FAULTS = {
    "sleeps": "sleep",
    "loops in Python": "spin",
    "loops and ignores every signal": "ignore signals",
    "loops in C (as GMP does)": "loop in C",
    "blocks in a system call": "block in C",
    "asks for 1 TiB at once": "take memory",
    "takes memory until there is none": "take memory slowly",
    "nests without end": "nest",
    "kills itself": "die",
    "exits": "exit",
    "writes a file": "write a file",
    "forges replies on every descriptor": "forge",
}
NUMBERS = [str(number) for number in range(20)]
PIECES = ["a ", "{", "\\", r"\boxed{", r"\boxed{1} ", "answer is ", "</think>", "$"]
MEMORY = 1 << 20  # kilobytes that all processes may take together


def main():
    """Commits every assault and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", help="JSON lines that hold cases of kind hostile")
    parser.add_argument("--batches", type=int, default=10_000)
    parser.add_argument("--out", type=pathlib.Path, default=RESULTS)
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT / "tests"))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "tests"), str(ROOT)])
    rows = [
        *worker_faults(),
        stuck_answers(),
        killed("a worker is killed from outside", lambda p: p.workers[0].pid),
        killed("the zygote is killed from outside", lambda p: p.zygote.pid),
        *parent_deaths(),
        threads(),
        many_batches(options.batches),
        megabyte(),
        *(hostile_cases(options.cases) if options.cases else ()),
    ]
    table = ["| assault | outcome | held |", "|---|---|---|"]
    table += [
        f"| {name} | {seen} | {'yes' if ok else '**no**'} |" for name, seen, ok in rows
    ]
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "faults.md").write_text("\n".join(table) + "\n")
    print("\n".join(table))
    return 0 if all(ok for _, _, ok in rows) else 1


@contextlib.contextmanager
def service(**settings):
    """A service whose checks do what they are told; answered once, so it is warm."""
    opened = Service(**{"workers": 2, "deadline": 1.0, "check": CHECK} | settings)
    opened.submit("1", "1").result()
    yield opened
    opened.close()


def worker_faults():
    """Yields a row per fault of a check, with twenty right answers beside it."""
    with service() as pool:
        for name, fault in FAULTS.items():
            target = RESULTS / "must_not_exist"
            started = time.monotonic()
            faulty = pool.submit(str(target), fault)
            others = [pool.submit(number, number) for number in NUMBERS]
            outcome = faulty.result()
            seconds = time.monotonic() - started
            right = sum(other.result() == "correct" for other in others)
            written = target.exists() and target.stat().st_size
            target.unlink(missing_ok=True)
            ok = outcome in ("timeout", "error") and right == 20 and seconds < 2
            yield (
                f"a check {name}",
                f"{outcome} after {seconds:.1f} s; {right} of 20 others right",
                ok and not written,
            )


def stuck_answers():
    """Four checks that never end, then eight right ones, on two workers."""
    with service() as pool:
        stuck = [pool.submit("gold", "loop in C") for _ in range(4)]
        others = [pool.submit(number, number) for number in NUMBERS[:8]]
        right = sum(other.result() == "correct" for other in others)
        late = sum(check.result() == "timeout" for check in stuck)
    seen = f"{late} timeouts; {right} of 8 right answers rewarded"
    return "4 stuck answers, then 8 right ones, 2 workers", seen, right == 8


def killed(name, victim):
    """A process of the service is killed while a check is under way."""
    with service(deadline=30.0) as pool:
        os.kill(victim(pool._pool), signal.SIGKILL)
        others = [pool.submit(number, number) for number in NUMBERS]
        right = sum(other.result() == "correct" for other in others)
    return name, f"{right} of 20 right answers rewarded", right == 20


PARENT = """
import time
from maspo_jax.rewards.workers.service import Service
service = Service(workers=2, deadline=1000.0, check="support.faulty_checks:judge")
stuck = [service.submit("gold", fault) for fault in ("ignore signals", "loop in C")]
while service._pool.zygote is None or len(service._pool.workers) < 2:
    time.sleep(0.01)
print(service._pool.zygote.pid, *[w.pid for w in service._pool.workers], flush=True)
{ending}
"""
ENDINGS = {
    "SIGKILL": "time.sleep(1000)",
    "an exception": "raise RuntimeError",
    "Ctrl-C": "time.sleep(1000) ",
}


def parent_deaths():
    """Yields a row per way in which the parent of two stuck workers ends."""
    for name, ending in ENDINGS.items():
        code = PARENT.format(ending=ending)
        parent = subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        with parent:
            pids = [int(pid) for pid in parent.stdout.readline().split()]
            started = time.monotonic()
            if name != "an exception":
                parent.send_signal(
                    signal.SIGKILL if name == "SIGKILL" else signal.SIGINT
                )
        while any(map(alive, pids)) and time.monotonic() - started < 10:
            time.sleep(0.01)
        left = sum(map(alive, pids))
        seconds = time.monotonic() - started
        seen = f"{left} of {len(pids)} processes left after {seconds:.1f} s"
        yield f"the parent ends by {name}, its workers stuck", seen, left == 0


def threads():
    """Eight threads share a verifier."""
    golds = [r"\sin 2x", r"\sqrt2+\sqrt5", "5"] * 10
    answers = [r"2\sin x\cos x", r"\sqrt{7+2\sqrt{10}}", "6"] * 10
    responses = [rf"\boxed{{{answer}}}" for answer in answers]
    with Verifier() as verifier, concurrent.futures.ThreadPoolExecutor(8) as pool:
        sums = {
            score.sum()
            for score in pool.map(lambda _: verifier.score(responses, golds), range(32))
        }
    return "8 threads, 32 batches", f"{len(sums)} distinct total reward", sums == {20.0}


def many_batches(count):
    """Small batches, one in ten of which needs a worker, and what accumulates."""

    def batches(first, last):
        for n in range(first, last):
            golds = [str(n), rf"\frac{{{n}}}{{7}}", rf"{n}+\sin 2x"]
            answers = [f"{n}.0", f"{2 * n}/14", rf"{n}+2\sin x\cos x"]
            pairs = 3 if n % 10 == 0 else 2
            responses = [rf"\boxed{{{answer}}}" for answer in answers[:pairs]]
            assert verifier.score(responses, golds[:pairs]).all()

    with Verifier() as verifier:
        batches(0, count // 2)
        before = resident(), len(os.listdir("/proc/self/fd")), len(tree(verifier))
        batches(count // 2, count)
        after = resident(), len(os.listdir("/proc/self/fd")), len(tree(verifier))
    grown = after[0] - before[0]
    seen = (
        f"second half: {grown / 1024:+.0f} MiB, {after[1] - before[1]:+d} files, "
        f"{after[2] - before[2]:+d} processes"
    )
    steady = after[1] <= before[1] + 1 and after[2] <= before[2] + 1
    return f"{count:,} batches", seen, grown < 30 << 10 and steady


def megabyte():
    """The slowest extraction from a megabyte of one piece of text."""
    slowest = 0.0
    for piece in PIECES:
        text = piece * (1_000_000 // len(piece))
        started = time.process_time()
        extract(text, many=True)
        slowest = max(slowest, time.process_time() - started)
    name = f"1 MB of one piece of text, {len(PIECES)} pieces"
    return name, f"at most {1e3 * slowest:.0f} ms", slowest < 0.05


def hostile_cases(path):
    """Yields what the hostile cases of a file do to the service."""
    cases = [case for case in read_cases(path) if case["kind"] == "hostile"]
    with Verifier() as verifier:
        results = audit(cases, verifier.check)
        peak = sum(map(resident, [os.getpid(), *tree(verifier)]))
    accepted = sum(result.verdict.outcome == "correct" for result in results)
    slowest = max(result.seconds for result in results)
    canaries = len(list(pathlib.Path("/tmp").glob("maspocanary*")))
    yield (
        f"{len(cases)} hostile answers",
        f"{accepted} accepted, slowest {slowest:.1f} s, {canaries} side effects",
        accepted == 0 and slowest < 2 and canaries == 0,
    )
    seen = f"{peak >> 10} MiB at their peaks together"
    yield "memory of the process and its workers", seen, peak < MEMORY


def tree(verifier):
    """Returns the ids of the processes of a verifier."""
    pool = verifier._service._pool
    return [pool.zygote.pid, *(worker.pid for worker in pool.workers)] if pool else []


def resident(pid="self"):
    """Returns the largest size of a process so far, in kilobytes."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def alive(pid):
    """Whether a process exists and is no zombie."""
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1]
    except OSError:
        return False
    return state.split()[0] not in "ZX"


if __name__ == "__main__":
    sys.exit(main())
