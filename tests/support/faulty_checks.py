"""What a check could do to the process it runs in; `judge` runs inside workers."""

import ctypes
import itertools
import os
import pathlib
import resource
import signal
import time


def judge(gold, answer, seconds):
    """Does what `answer` says, then calls it correct where it equals `gold`."""
    faults = {
        "sleep": lambda: time.sleep(1000),
        "spin": spin,
        "ignore signals": ignore_signals,
        "loop in C": lambda: sum(itertools.repeat(1)),
        "block in C": lambda: ctypes.CDLL(None).pause(),
        "take memory": lambda: bytearray(1 << 40),
        "take memory slowly": take_memory,
        "nest": nest,
        "die": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "exit": lambda: os._exit(0),
        "raise": lambda: 1 / 0,
        "leave": lambda: (_ for _ in ()).throw(SystemExit),
        "write a file": lambda: pathlib.Path(gold).write_bytes(b"x" * 10),
        "forge": forge,
    }
    faults.get(answer, lambda: None)()
    if answer == "process":
        return "correct" if os.getpid() != int(gold) else "wrong"
    if answer.startswith("room of "):
        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        return "correct" if limit == int(answer.split()[2]) else "wrong"
    return "correct" if gold == answer else "wrong"


def spin():
    while True:
        pass


def ignore_signals():
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN) if number < 32 else None
    spin()


def take_memory():
    held = []
    while True:
        held.append(bytearray(1 << 20))


def nest():
    nest()


def forge():
    """Writes replies to every descriptor, as many as it can."""
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, b"C" * 64)
        except OSError:
            continue
