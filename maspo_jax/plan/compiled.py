"""What the compiler says of a program: memory of a device, operations, collectives."""

import contextlib
import dataclasses
import re
import time

import jax

KINDS = (
    "all-gather",
    "all-reduce",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
)
# RESOURCE_EXHAUSTED of the compilers of TPUs and of GPUs.
_TPU = re.compile(r"[Uu]sed ([\d.]+)([KMGT]) of ([\d.]+)([KMGT]) hbm")
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A program as compiled, or what the compiler says to refuse it.

    Attributes:
        needed: bytes of a device, arguments included; None if it does not say.
        flops: of the compiler, which counts the body of a loop once.
        bytes: accessed; likewise.
        collectives: of `count_collectives`.
        seconds: of the compiler.
        refused: what it says, if it does not fit.
    """

    needed: float | None
    flops: float = 0.0
    bytes: float = 0.0
    collectives: dict = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    refused: str = ""


def compile_program(program):
    """Returns the `Compiled` of a `Program`.

    Raises:
        RuntimeError: the compiler fails for another reason than memory.
    """
    begin = time.monotonic()
    with _without_source_lines():
        lowered = program.lower()
    try:
        compiled = lowered.compile()
    except RuntimeError as error:  # of XLA, whose types are no part of jax
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return _refused(str(error), time.monotonic() - begin)
    memory = compiled.memory_analysis()
    # The arena of temporary buffers, not their peak: it is what has to be free.
    needed = (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
    )
    cost = compiled.cost_analysis() or {}
    return Compiled(
        needed,
        cost.get("flops", 0.0),
        cost.get("bytes accessed", 0.0),
        count_collectives(compiled.as_text()),
        time.monotonic() - begin,
    )


@contextlib.contextmanager
def _without_source_lines():
    """Leaves out of programs which line of Python each operation comes from.

    The compiler of TPUs (libtpu 0.0.42) may compare these without end.
    """
    before = jax.config.jax_traceback_in_locations_limit
    jax.config.update("jax_traceback_in_locations_limit", 0)
    try:
        yield
    finally:
        jax.config.update("jax_traceback_in_locations_limit", before)


def _refused(text, seconds):
    found = _TPU.search(text)
    needed = found and float(found[1]) * _UNITS[found[2]]
    line = next(line for line in text.splitlines() if "RESOURCE_EXHAUSTED" in line)
    sizes = f"{found[1]}{found[2]} of {found[3]}{found[4]} hbm" if found else line
    return Compiled(needed, seconds=seconds, refused=sizes)


def count_collectives(text):
    """Returns {kind: (how many stand in a program, how often they run)}.

    A computation runs as often as those that call it, and the body of a loop as often
    as its condition goes by a constant: the sampler's stops there at the latest.

    Args:
        text: of the compiled program, in HLO.
    """
    computations, entry = _computations(text)
    found = {kind: {} for kind in KINDS}

    def walk(name, times, fused=False):
        for number, line in enumerate(computations.get(name, ())):
            operation = re.search(r" ([a-z-]+?)(?:-start)?\(", line)
            if operation and operation[1] in found:
                # TPUs begin one in a fusion and end it in another: it has one channel.
                channel = fused and re.search(r"channel_id=\d+", line)
                key = channel[0] if channel else (name, number)
                runs = found[operation[1]]
                runs[key] = max(runs.get(key, 0), times)
            for called, around in _called(line, computations):
                walk(called, times * around, " fusion(" in line)

    walk(entry, 1)
    return {
        kind: (len(runs), sum(runs.values())) for kind, runs in found.items() if runs
    }


def _computations(text):
    """Returns {name: lines} of the computations of a program, and the first to run."""
    computations, name, entry = {}, None, None
    for line in text.splitlines():
        head = re.match(r"(ENTRY )?%?([\w.-]+) \(.*\{$", line)
        if head:
            name = head[2]
            entry = name if head[1] else entry
            computations[name] = []
        elif name and line.startswith("  "):
            computations[name].append(line.partition(" = ")[2])
    return computations, entry


def _called(line, computations):
    """Yields the computations that an operation calls, and how often each time."""
    body = re.search(r"\bbody=%?([\w.-]+)", line)
    condition = re.search(r"\bcondition=%?([\w.-]+)", line)
    if body and condition:
        tested = "\n".join(computations.get(condition[1], ()))
        bounds = re.findall(r"s32\[\]\S* constant\((\d+)\)", tested)
        yield body[1], int(bounds[0]) if len(bounds) == 1 else 1
    for name in re.findall(r"\b(?:calls|to_apply)=%?([\w.-]+)", line):
        yield name, 1
    branches = re.search(r"branch_computations=\{([^}]*)\}", line)
    for name in branches[1].split(",") if branches else ():
        yield name.strip(" %"), 1
