"""The process that workers are forked from, and the loop they run.

    parent --spawns--> zygote (imports and warms SymPy once) --forks--> workers

The zygote is a fresh interpreter: it never held a device, has one thread, and
does nothing but fork and kill, so it cannot be stuck. It runs until its control
socket closes or its parent is gone, and takes its workers with it. Requests are
texts; a reply is the token of its request and one byte, an outcome, whatever
happened inside the worker: one that has gone wrong cannot answer for the next.
"""

import ctypes
import importlib
import json
import os
import resource
import select
import signal
import socket
import struct
import sys

CODES = {
    b"C": "correct",
    b"A": "agreed",  # correct by many digits, without a proof
    b"W": "wrong",
    b"U": "unparsed",
    b"?": "undecided",
    b"E": "error",
}
_BYTES = {name: code for code, name in CODES.items()}
TOKEN = 8  # random bytes that tie a reply to its request
CHECKS = 500  # a worker answers so many requests and is then replaced
WARM_UP_SECONDS = 10.0  # for each pair that is checked before any worker is forked
PDEATHSIG = 1  # prctl: the signal this process gets when its parent dies


def main(control_fd, check, deadline, memory):
    """Serves fork and kill requests from the parent, until it goes away."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=control_fd)
    module, _, name = check.partition(":")
    library = importlib.import_module(module)
    decide = getattr(library, name)
    for pair in getattr(library, "WARM_UP", ()):
        decide(*pair, WARM_UP_SECONDS)
    parent, own = os.getppid(), os.getpid()
    control.sendall(b"R")
    children = set()
    while os.getppid() == parent:
        readable, _, _ = select.select([control], [], [], 1.0)
        if not readable:
            continue
        message, descriptors, _, _ = socket.recv_fds(control, 5, 1)
        if len(message) < 5:
            break
        operation, pid = message[:1], struct.unpack("<i", message[1:])[0]
        if operation == b"F":
            channel = socket.socket(fileno=descriptors[0])
            child = os.fork()
            if child == 0:
                control.close()
                _work(channel, decide, deadline, memory, own)
            channel.close()
            children.add(child)
            control.sendall(struct.pack("<i", child))
        elif pid in children:
            _end(pid)
            children.discard(pid)
    for pid in children:
        _end(pid)


def _end(pid):
    """Kills and reaps a child of this process; only then can its id be reused."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _work(channel, decide, deadline, memory, zygote):
    """Answers requests in a forked child; never returns."""
    status = 1
    try:
        _die_with(zygote)
        _confine(memory)
        for _ in range(CHECKS):
            request = _receive(channel)
            if request is None:
                break
            _limit_processor_time(deadline)
            token, pair = request[:TOKEN], request[TOKEN:]
            channel.sendall(token + _outcome(decide, pair, deadline))
        status = 0
    finally:
        os._exit(status)


def _outcome(decide, request, deadline):
    try:
        gold, answer = json.loads(request)
        return _BYTES[decide(gold, answer, deadline)]
    except (Exception, MemoryError):
        return _BYTES["error"]


def _die_with(zygote):
    """Has this worker killed when the zygote dies, or ends it if that is over."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PDEATHSIG, signal.SIGKILL)
    if os.getppid() != zygote:
        os._exit(1)


def _confine(memory):
    """Leaves a worker nothing but its channel, some memory and processor time."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.close(null)
    limits = {"RLIMIT_AS": memory, "RLIMIT_FSIZE": 0, "RLIMIT_NPROC": 0}
    for name, limit in (limits | {"RLIMIT_CORE": 0}).items():
        resource.setrlimit(getattr(resource, name), (limit, limit))


def _limit_processor_time(deadline):
    """A second defense, should nobody be left to enforce the deadline."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = usage.ru_utime + usage.ru_stime
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(used + deadline) + 2, hard))


def _receive(channel):
    """Returns one request, or None where the parent has gone."""
    size = _exactly(channel, 4)
    return _exactly(channel, struct.unpack("<I", size)[0]) if size else None


def _exactly(channel, count):
    chunks = b""
    while len(chunks) < count:
        chunk = channel.recv(count - len(chunks))
        if not chunk:
            return None
        chunks += chunk
    return chunks
