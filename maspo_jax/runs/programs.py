"""The programs that XLA compiles: counted, named, and timed.

JAX says of each when it is done, in the thread that compiled it.
"""

import contextlib
import dataclasses
import functools
import json
import pathlib
import threading

import jax

from maspo_jax.storage import Appender, WriteError

FILE = "programs.jsonl"  # of a run: a line for each program of each start
SLOWEST = 3  # named at the end of a run


@dataclasses.dataclass(frozen=True)
class Program:
    """One program."""

    name: str  # of the function that was compiled
    seconds: float  # that compiling it, or reading it, took
    read: bool  # from the compilation cache


class Compilations:
    """Which threads compile a program right now, and all programs that are done."""

    def __init__(self):
        self.threads, self.programs = set(), []
        self._lock, self._thread = threading.Lock(), threading.local()
        jax.monitoring.register_event_duration_secs_listener(self._note)
        jax.monitoring.register_event_listener(self._note_read)

    @property
    def finished(self):
        """How many programs are done, compiled or read from the compilation cache."""
        return len(self.programs)

    def since(self, count):
        """Returns the programs that followed the first `count`, a list."""
        with self._lock:
            return self.programs[count:]

    def _note(self, event, seconds, fun_name="", **about):
        if event == "/jax/core/compile/jaxpr_to_mlir_module_duration":
            self.threads.add(threading.get_ident())  # the compiler comes next
            self._thread.read = False
        elif event == "/jax/core/compile/backend_compile_duration":
            self.threads.discard(threading.get_ident())
            name = fun_name.removeprefix("jit(").removesuffix(")")
            read = getattr(self._thread, "read", False)
            self._thread.read = False
            with self._lock:  # several threads may compile
                self.programs.append(Program(name, seconds, read))

    def _note_read(self, event, **about):
        if event == "/jax/compilation_cache/cache_hits":
            self._thread.read = True  # the program that this thread is about to finish


@functools.cache
def compilations():
    """Returns the `Compilations` of this process."""
    return Compilations()


def describe(programs):
    """Returns a line on some programs: how many, from where, and which took longest."""
    read = sum(program.read for program in programs)
    seconds = sum(program.seconds for program in programs)
    slowest = sorted(programs, key=lambda program: -program.seconds)[:SLOWEST]
    named = ", ".join(f"{each.name} {each.seconds:.1f}" for each in slowest)
    return (
        f"{len(programs)} programs: {len(programs) - read} compiled, {read} read from "
        f"the compilation cache ({seconds:.1f} s, threads added up"
        f"{named and f'; the longest: {named}'})"
    )


@contextlib.contextmanager
def recorded(folder, begin, note):
    """Adds to the record of a run, at the end of the block, however it ends.

    Args:
        folder: of the run; its first process writes.
        begin: how many programs of this process are not of the run.
        note: called with a line if it cannot be written: nothing needs the record, and
            what the run made is safe.
    """
    try:
        yield
    finally:
        if jax.process_index() == 0:
            try:
                write(folder, compilations().since(begin))
            except WriteError as error:
                note(f"warning: {error}")


def write(folder, programs):
    """Adds some programs to `FILE` of a run, a JSON line each.

    Raises:
        WriteError: they cannot be written; the file is as it was.
    """
    lines = [json.dumps(dataclasses.asdict(program)) + "\n" for program in programs]
    file = Appender(pathlib.Path(folder) / FILE)
    try:
        file.append("".join(lines).encode())
    finally:
        file.close()
