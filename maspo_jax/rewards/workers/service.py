"""A pool of killable workers behind one thread.

Checks are handed over with `submit` and answered in whatever order they finish.
The deadline of a check starts when a worker gets it, so one stuck check costs
its own worker's time and nobody's reward. A worker past the deadline is killed
with SIGKILL by the zygote and replaced. Nothing here installs signal handlers,
forks the calling process or imports jax.
"""

import collections
import concurrent.futures
import contextlib
import json
import os
import selectors
import socket
import struct
import subprocess
import sys
import threading
import time
import weakref

from maspo_jax.rewards.workers.zygote import CODES, TOKEN

PROOFS = "maspo_jax.rewards.workers.proofs:decide"
_STARTUP = 60.0  # seconds the zygote may take to import its libraries
_ATTEMPTS = 2  # times a check is tried if its worker dies of something else
_RESTARTS = 3  # zygotes started in a row without one answer before giving up


class Service:
    """Runs `check(gold, answer)` in workers; see the module's docstring.

    Args:
        workers: how many processes check at once.
        deadline: seconds a check may take before its worker is killed.
        memory: bytes of address space that all workers may use together.
        check: "module:function", imported in the zygote; returns an outcome.
    """

    def __init__(self, workers=2, deadline=1.0, memory=1 << 30, check=PROOFS):
        self._settings = (workers, deadline, memory, check)
        self._lock = threading.Lock()
        self._pool = None
        self._finalizer = None

    def submit(self, gold, answer):
        """Returns a `concurrent.futures.Future` of the outcome's name."""
        with self._lock:
            pool = self._pool
            if pool is None or pool.stopped or pool.owner != os.getpid():
                self._pool = _Pool(*self._settings)
                self._finalizer = weakref.finalize(self, self._pool.close)
            return self._pool.submit(gold, answer)

    def close(self):
        """Ends every process; a later `submit` starts afresh."""
        with self._lock:
            pool, self._pool = self._pool, None
            if self._finalizer is not None:
                self._finalizer.detach()
            if pool is not None:
                pool.close()


class _Check:
    def __init__(self, gold, answer):
        self.pair = json.dumps([gold, answer]).encode()
        self.future = concurrent.futures.Future()
        self.attempts = 0
        self.token = b""

    def message(self):
        """Returns the request of one attempt, under a new token."""
        self.attempts += 1
        self.token = os.urandom(TOKEN)
        size = len(self.token) + len(self.pair)
        return struct.pack("<I", size) + self.token + self.pair


class _Worker:
    def __init__(self, pid, channel):
        self.pid = pid
        self.channel = channel
        self.check = None
        self.expires = None


class _Pool:
    """The thread that owns the zygote and its workers."""

    def __init__(self, workers, deadline, memory, check):
        self.owner = os.getpid()
        self.size, self.deadline, self.check = workers, deadline, check
        self.share = memory // (workers + 1)  # the zygote takes one share itself
        self.waiting = collections.deque()
        self.workers = []
        self.zygote = self.control = None
        self.failures = 0
        self.lock = threading.Lock()  # guards `waiting` against `stop`
        self.closing = self.stopped = False
        self.wake_up, self.woken = socket.socketpair()
        self.wake_up.setblocking(False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.woken, selectors.EVENT_READ)
        self.thread = threading.Thread(target=self.run, name="verifier", daemon=True)
        self.thread.start()

    # From any thread.

    def submit(self, gold, answer):
        check = _Check(gold, answer)
        with self.lock:
            if self.stopped:
                check.future.set_result("error")
            else:
                self.waiting.append(check)
        self.wake()
        return check.future

    def wake(self):
        with contextlib.suppress(OSError):  # already awake, or already stopped
            self.wake_up.send(b"w")

    def close(self):
        if self.closing or self.owner != os.getpid():
            return
        self.closing = True
        self.wake()
        if self.thread is not threading.current_thread():
            self.thread.join()

    # In the thread of the pool.

    def run(self):
        try:
            while not self.closing:
                self.assign()
                self.wait()
                self.expire()
        finally:
            self.stop()

    def assign(self):
        """Gives waiting checks to idle workers, starting what is missing."""
        while self.waiting and not self.closing:
            worker = next((w for w in self.workers if w.check is None), None)
            if worker is None and len(self.workers) == self.size:
                return
            try:
                worker = worker or self.fork()
            except OSError:
                self.restart()
                continue
            check = self.waiting.popleft()
            worker.check = check
            worker.expires = time.monotonic() + self.deadline
            try:
                worker.channel.sendall(check.message())
            except OSError:
                self.lost(worker)

    def wait(self):
        busy = [w.expires for w in self.workers if w.check is not None]
        timeout = max(min(busy) - time.monotonic(), 0) if busy else None
        for event, _ in self.selector.select(timeout):
            if event.fileobj is self.woken:
                self.woken.recv(4096)
            else:
                self.answered(event.data)

    def answered(self, worker):
        try:
            reply = worker.channel.recv(64)
        except OSError:
            reply = b""
        token, code = reply[:TOKEN], reply[TOKEN:]
        if worker.check is None or token != worker.check.token or code not in CODES:
            self.lost(worker)
            return
        check, worker.check = worker.check, None
        self.failures = 0
        check.future.set_result(CODES[code])

    def expire(self):
        now = time.monotonic()
        for worker in [w for w in self.workers if w.check and w.expires <= now]:
            check, worker.check = worker.check, None
            self.discard(worker)
            check.future.set_result("timeout")

    def lost(self, worker):
        """A worker is gone, or not to be trusted: its check is tried once more."""
        check, worker.check = worker.check, None
        self.discard(worker)
        if check is None:
            return
        if check.attempts < _ATTEMPTS:
            self.waiting.appendleft(check)
        else:
            check.future.set_result("error")

    def discard(self, worker):
        self.workers.remove(worker)
        self.selector.unregister(worker.channel)
        worker.channel.close()
        with contextlib.suppress(OSError):  # a zygote that is gone took it along
            self.control.sendall(b"K" + struct.pack("<i", worker.pid))

    def fork(self):
        if self.zygote is None:
            self.start()
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                socket.send_fds(self.control, [b"F\0\0\0\0"], [theirs.fileno()])
            reply = self.control.recv(4)
            if len(reply) < 4:
                raise ConnectionError("the zygote is gone")
        except OSError:
            ours.close()
            raise
        worker = _Worker(struct.unpack("<i", reply)[0], ours)
        self.workers.append(worker)
        self.selector.register(ours, selectors.EVENT_READ, worker)
        return worker

    def start(self):
        self.control, theirs = socket.socketpair()
        with theirs:
            code = (
                "import sys; sys.path[:] = sys.argv[5:]; "
                "from maspo_jax.rewards.workers.zygote import main; "
                "main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), "
                "int(sys.argv[4]))"
            )
            arguments = [str(theirs.fileno()), self.check, str(self.deadline)]
            self.zygote = subprocess.Popen(
                [sys.executable, "-c", code, *arguments, str(self.share), *sys.path],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # a Ctrl-C is the parent's to handle
                env=os.environ | {"SYMPY_GROUND_TYPES": "python"},
            )
        self.control.settimeout(_STARTUP)
        if self.control.recv(1) != b"R":
            raise ConnectionError("the zygote did not start")

    def restart(self):
        """Replaces a zygote that is gone; gives up after a few in a row."""
        self.failures += 1
        self.stop_processes()
        if self.failures >= _RESTARTS:
            self.failures = 0
            self.give_up()

    def give_up(self):
        while self.waiting:
            self.waiting.popleft().future.set_result("error")

    def stop_processes(self):
        for worker in list(self.workers):
            self.lost(worker)
        if self.control is not None:
            self.control.close()
        if self.zygote is not None:
            try:
                self.zygote.wait(timeout=2)
            except subprocess.TimeoutExpired:
                self.zygote.kill()
                self.zygote.wait()
        self.zygote = self.control = None

    def stop(self):
        self.stop_processes()
        with self.lock:
            self.stopped = True
        self.give_up()
        self.selector.close()
        self.woken.close()
        self.wake_up.close()
