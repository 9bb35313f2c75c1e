"""What each implementation of attention costs on this machine, and whether it is right.

    python experiments/benchmarks/attention.py --json attention.json
    python experiments/benchmarks/attention.py --lengths 256 --heads 4 2 --width 32

Rows of one text with padding on both sides, as those of an update; a program computes
attention and its gradients under `jax.shard_map`, as an update does. An error is the
largest difference from the reference in float32, of the largest value; the check is
that no array is further from it (by its norm) than 1.2 times what the reference in the
same dtype is, that all is finite, and that padding is zero. Memory is temporary.
"""

import argparse
import functools
import json
import logging
import platform
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
import turns

from maspo_jax.models import attention
from maspo_jax.models.attention import choice

SLACK = 1.2  # how much further than the reference, of its own distance
HEADS = ("length", "dtype", "implementation", "ms", "temporary MiB", "error", "check")


def random_case(length, rows, heads, shared, width):
    """Returns float32 queries, keys, values, a cotangent and the mask of tokens."""
    draw = np.random.default_rng(0)
    start = np.linspace(0, length // 4, rows).astype(int)[:, None]
    column = np.arange(length)[None]
    mask = (column >= start) & (column < length - start[::-1] // 2)
    wide, narrow = (rows, length, heads, width), (rows, shared, length, width)
    shapes = wide, narrow, narrow, wide
    return *(draw.standard_normal(shape, np.float32) for shape in shapes), mask


def compiled(attend, arrays, mask):
    """Returns the program for one device: the value and the three gradients."""
    layout = attention.layout_of_mask(mask)
    kinds = (jax.sharding.AxisType.Auto,)
    mesh = jax.make_mesh((1,), ("data",), kinds, devices=jax.local_devices()[:1])

    def both(query, key, value, cotangent, layout):
        one = lambda *of: attend(*of, layout)
        mixed, back = jax.vjp(one, query, key, value)
        return mixed, *back(cotangent)

    rows = jax.P("data")
    program = jax.shard_map(both, mesh=mesh, in_specs=rows, out_specs=rows)
    place = functools.partial(jax.device_put, device=jax.NamedSharding(mesh, rows))
    placed = [place(x) for x in arrays], jax.tree.map(place, layout)
    return jax.jit(program).lower(*placed[0], placed[1]).compile(), placed


def run(attend, arrays, mask, repeats=0):
    """Returns results as NumPy in float32, seconds and bytes of temporary memory."""
    program, (arrays, layout) = compiled(attend, arrays, mask)
    once = lambda: jax.block_until_ready(program(*arrays, layout))
    results, spent = once(), []
    for _ in range(repeats):
        start = time.perf_counter()
        once()
        spent.append(time.perf_counter() - start)
    memory = program.memory_analysis().temp_size_in_bytes
    results = [np.asarray(x.astype(jnp.float32)) for x in results]
    return results, statistics.median(spent or [0]), memory


def exact_results(arrays, mask):
    """The reference in float32, a row at a time: its scores are large."""
    rows = [
        run(attention.reference, [x[i : i + 1] for x in arrays], mask[i : i + 1])[0]
        for i in range(len(mask))
    ]
    return [np.concatenate(parts) for parts in zip(*rows, strict=True)]


def distances(got, exact):
    """How far arrays are from exact ones, as a share of the norm of those."""
    pairs = zip(got, exact, strict=True)
    return [float(np.linalg.norm(x - y) / np.linalg.norm(y)) for x, y in pairs]


def verdict(got, exact, plain, mask):
    """Says whether an implementation is as right as the reference in its dtype."""
    if not all(np.isfinite(x).all() for x in got):
        return "FAILS: not finite"
    if got[0][~mask].any():
        return "FAILS: padding is not zero"
    floor = 1e-5  # float32 itself is no further than that
    allowed = [max(SLACK * far, floor) for far in distances(plain, exact)]
    names = "value", "query", "key", "value of keys"
    for name, far, most in zip(names, distances(got, exact), allowed, strict=True):
        if far > most:
            return f"FAILS: {name} is {far:.2g} away, at most {most:.2g}"
    return "ok"


def measure(name, dtype, arrays, mask, exact, plain, repeats):
    """Returns a row of the table."""
    line = {"length": mask.shape[1], "dtype": dtype, "implementation": name}
    cast = [jnp.asarray(x, dtype) for x in arrays]
    try:
        attention.check_attention(name, dtype, arrays[0].shape[-1])
        attend = attention.IMPLEMENTATIONS[name]
        got, seconds, memory = run(attend, cast, mask, repeats)
    except Exception as error:  # memory, a driver: the other rows are still of use
        return line | {"check": str(error).strip().splitlines()[0][:100]}
    largest = lambda x, y: float(np.abs(x - y).max() / np.abs(y).max())
    error = max(largest(x, y) for x, y in zip(got, exact, strict=True))
    return line | {
        "ms": 1e3 * seconds,
        "temporary MiB": memory / 2**20,
        "error": error,
        # The reference is the measure of the others.
        "check": verdict(got, exact, got if name == "reference" else plain, mask),
    }


def recorded(lines):
    """Returns the rows of a file: each beside the reference, where that could run."""
    reference = {
        (line["length"], line["dtype"]): line.get("ms")
        for line in lines
        if line["implementation"] == "reference"
    }
    rows = []
    for line in lines:
        ours, peer = line.get("ms"), reference[line["length"], line["dtype"]]
        name = "{implementation}, {length} tokens, {dtype}".format(**line)
        both = ours is not None and peer is not None
        row = {"name": name, "ours": ours, "peer": peer}
        row |= {"ratio": peer / ours if both else None, "unit": "ms"}
        rows.append(row | {"peer_name": "reference"} | line)
    return rows


def text(value):
    """Returns a cell of the table."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def main(words=None):
    """Prints the table. Returns 1 if an implementation is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=[2048, 8192])
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--heads", type=int, nargs=2, default=(12, 2))
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--dtypes", nargs="+", default=["bfloat16", "float32"])
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--tiny", action="store_true", help="for a trial")
    parser.add_argument(
        "--json", type=turns.new_file, metavar="FILE", help="also writes the rows here"
    )
    options = parser.parse_args(words)
    if options.tiny:
        options.lengths, options.heads, options.width = [128], (4, 2), 32
        options.repeats = 2
    logging.basicConfig(level=logging.WARNING)
    device = jax.local_devices()[0]
    print(f"{device.device_kind}, jax {jax.__version__}")
    if kernel := choice.KERNELS.get(jax.default_backend()):
        reason = choice.failure(kernel, device.platform, "bfloat16", options.width)
        print(f"probe of {kernel}: {reason or 'passed'}")
    print(f"\n| {' | '.join(HEADS)} |\n|{'---|' * len(HEADS)}")
    lines = []
    for length in options.lengths:
        *arrays, mask = random_case(length, options.rows, *options.heads, options.width)
        exact = exact_results(arrays, mask)
        for dtype in options.dtypes:
            cast = [jnp.asarray(x, dtype) for x in arrays]
            plain = exact_results(cast, mask)
            for name in attention.IMPLEMENTATIONS:
                line = measure(name, dtype, arrays, mask, exact, plain, options.repeats)
                cells = (text(line.get(head, "")) for head in HEADS)
                print(f"| {' | '.join(cells)} |", flush=True)
                lines.append(line)
    if options.json:
        about = {
            "date": time.strftime("%F"),
            "device": device.device_kind,
            "machine": turns.processor(),
            "python": platform.python_version(),
            "jax": jax.__version__,
        }
        rows = about | {"rows": recorded(lines)}
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return int(any(line["check"].startswith("FAILS") for line in lines))


if __name__ == "__main__":
    raise SystemExit(main())
