"""What one accelerator does of a policy of 1.5B, beside what it could do at best.

    python experiments/benchmarks/accelerator.py --json accelerator.json
    JAX_PLATFORMS=cpu python experiments/benchmarks/accelerator.py --tiny

For one GPU or TPU of 80 GB; it takes about eight minutes. Each part runs in a process
of its own, which gives the memory back, and prints a table. A share of a peak is of the
bandwidth for decoding, and of bfloat16 products for an update and for attention. What
does not fit is said in a line, and the next case follows.

Responses end where a table of heavy-tailed lengths says, lognormal; a decode step has
to read the parameters it multiplies by, and the keys and values of the tokens so far.
An update computes a forward pass again going back, and that counts.
"""

import argparse
import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from unittest import mock

os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.92")

import jax
import jax.numpy as jnp
import numpy as np
import turns

from maspo_jax import distributed
from maspo_jax.config import (
    Experiment,
    Objective,
    Optimization,
    Sampling,
    Updates,
    Validation,
)
from maspo_jax.data.sources import arithmetic
from maspo_jax.learning import learner, train_state
from maspo_jax.models import attention, presets, sizes
from maspo_jax.models.decoder import DecoderConfig, init_decoder
from maspo_jax.objectives import gates
from maspo_jax.objectives.terms import method_of
from maspo_jax.plan import roofline
from maspo_jax.plan.devices import CHIPS, Slice
from maspo_jax.plan.job import Job, NoText
from maspo_jax.rollout import slots
from maspo_jax.rollout.generate import SamplingParams, sample
from maspo_jax.rollout.weights import cast_for_sampling
from maspo_jax.types import Prompts

ROOT = pathlib.Path(__file__).parents[2]
# The kind of a device, as JAX calls it, and the chip of `plan.devices` it is.
KINDS = {
    "NVIDIA H100 80GB HBM3": "h100",
    "TPU v5 lite": "v5e",
    "TPU v5": "v5p",
    "TPU v5p": "v5p",
    "TPU v6 lite": "v6e",
    "TPU7x": "tpu7x",
}
SHORT = 15  # seconds; a run that took no more is repeated
RESPONSES = 8  # per prompt
ROWS_A_SLOT = 2
FORWARDS = 3.5  # of attention and its gradients
REPEATS = 5  # of attention


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What is measured."""

    config: DecoderConfig
    slots: tuple[int, ...]
    prompt: int  # tokens of it, where responses are drawn
    caps: tuple[int, ...]  # of a response; the next one where memory is short
    median: int  # of the lengths
    row: tuple[int, int]  # tokens of a prompt and of a response of an update
    attention: tuple[int, int]  # rows and their length
    job: tuple[str, ...]  # words for `maspo train`
    limit: float = 480  # seconds of the job


FULL = Sizes(
    dataclasses.replace(
        presets.DEEPSEEK_R1_DISTILL_QWEN_1_5B, compute_dtype="bfloat16"
    ),
    slots=(256, 64, 512),  # the one that matters most comes first
    prompt=256,
    caps=(2048, 1024),
    median=400,
    row=(1024, 7168),
    attention=(2, 8192),
    job=(),
)
TINY = Sizes(
    DecoderConfig(vocabulary=300, tied_head=False, compute_dtype="bfloat16"),
    slots=(8, 16),
    prompt=16,
    caps=(32,),
    median=10,
    row=(16, 48),
    attention=(2, 64),
    job=(
        *("--sft.phases.0.updates", "20", "--sft.phases.1.updates", "20"),
        *("--sft.optimization.warmup-updates", "1", "--steps", "1"),
    ),
)


def peak():
    """Returns the `Slice` of this device alone, or None if its peak is not known."""
    chip = CHIPS.get(KINDS.get(jax.local_devices()[0].device_kind))
    return chip and Slice(chip.name, chip, 1 / chip.devices)


def one_device():
    """Returns the mesh of one device."""
    return distributed.make_mesh(devices=jax.local_devices()[:1])


def compiled(lower):
    """Returns the program of what a function without arguments lowers, and seconds."""
    start = time.perf_counter()
    program = lower().compile()
    return program, time.perf_counter() - start


def timed(run):
    """Returns a result and the seconds of a run: of the second, if the first is short.

    Args:
        run: of a program that is compiled. The first may still load parts of it.
    """
    for _ in range(2):
        start = time.perf_counter()
        result = jax.block_until_ready(run())
        spent = time.perf_counter() - start
        if spent > SHORT:
            break
    return result, spent


# Decoding.


def heavy_tailed(rows, median, cap):
    """Returns the lengths of so many responses."""
    drawn = np.random.default_rng(0).lognormal(np.log(median), 0.75, rows)
    return np.clip(drawn, 4, cap).astype(np.int32)


@contextlib.contextmanager
def ended_by(lengths, end):
    """Lets the sampler end each row where a table says, and nowhere else.

    Args:
        lengths: [N], of all rows.
        end: the token that ends a response.
    """
    advance, draw, states = slots.advance, slots.sample_token, []

    def remember(state, **settings):
        states.append(state)
        return advance(state, **settings)

    def draw_or_end(*of):
        token, logprob = draw(*of)
        state, table = states[-1], jnp.asarray(lengths)
        last = state.drawn + 1 >= table[jnp.minimum(state.row, len(lengths) - 1)]
        return jnp.where(last, end, jnp.where(token == end, end + 1, token)), logprob

    with (
        mock.patch.object(slots, "advance", remember),
        mock.patch.object(slots, "sample_token", draw_or_end),
    ):
        yield


def steps_of(lengths, count, prompt):
    """Returns steps of the loop of the sampler, and tokens it has to read of the cache.

    Args:
        lengths: [N], of all rows.
        count: slots.
        prompt: tokens of each.
    """
    left = list(lengths[count:])
    need, drawn = lengths[:count].copy(), np.zeros(count, int)
    steps = read = 0
    while len(need):
        steps, read = steps + 1, read + np.sum(prompt + drawn)
        drawn += 1
        for slot in np.flatnonzero(drawn == need)[: len(left)]:
            need[slot], drawn[slot] = left.pop(0), 0
        need, drawn = need[drawn < need], drawn[drawn < need]
    return steps, int(read)


def decode(size, report):
    """Measures the sampler."""
    config, mesh = size.config, one_device()
    make = lambda key: cast_for_sampling(init_decoder(config, key))
    policy = jax.block_until_ready(jax.jit(make)(jax.random.key(0)))
    for count in size.slots:
        for cap in size.caps:
            name = f"decode, {count} slots, at most {cap}"
            with surviving(name) as outcome:
                report(name, **draw(size, policy, mesh, count, cap))
            if outcome:
                break


def draw(size, policy, mesh, count, cap):
    """Returns a row of the table: responses to random prompts."""
    rows, config, end = ROWS_A_SLOT * count, size.config, 1
    lengths = heavy_tailed(rows, size.median, cap)
    params = SamplingParams(RESPONSES, cap, (end,), pad=0, slots=count)
    random = np.random.default_rng(1)
    shape = rows // RESPONSES, size.prompt
    tokens = random.integers(3, config.vocabulary, shape, np.int32)
    prompts = Prompts(tokens, np.ones(shape, bool))
    given = distributed.shard_rows(prompts, mesh)
    key = jax.random.key(0)
    with ended_by(lengths, end):
        program, compiling = compiled(
            lambda: sample.lower(policy, given, key, params, mesh)
        )
    rollout, spent = timed(lambda: program(policy, given, key))
    drawn = np.asarray(rollout.sequences.response_mask).sum(axis=1)
    assert np.array_equal(drawn, lengths), "a row did not end where the table says"
    steps, read = steps_of(lengths, count, size.prompt)
    untied = (not config.tied_head) * config.vocabulary * config.width
    number = jnp.dtype(config.product_dtype).itemsize
    moved = steps * (sizes.param_count(config) - untied) * number
    moved += sizes.cache_bytes(config, 1, read)
    chip = peak()
    return {
        "ours": lengths.sum() / spent,
        "unit": "tokens/s",
        "peak share": chip and moved / spent / chip.bandwidth,
        "seconds": spent,
        "steps": steps,
        "ms a step": 1e3 * spent / steps,
        "GB/s": moved / spent / 1e9,
        "compile s": compiling,
    }


# An update.


def experiment_of(size, rows=4):
    """Returns the `Experiment` whose update has so many rows, one at a time."""
    prompt, response = size.row
    return Experiment(
        policy=size.config,
        tokenizer=NoText(size.config.vocabulary),
        train_set=arithmetic.Chains(),
        validation=Validation(arithmetic.Chains(split="test")),
        sampling=Sampling(1, rows, prompt_length=prompt, response_length=response),
        objective=Objective(gate=gates.Maspo()),
        optimization=Optimization(1e-6),
        updates=Updates(minibatches=1, microbatches=rows),
        steps=1,
    )


def random_batch(shapes, vocabulary):
    """Returns a `TrainBatch` of whole rows, given its shapes.

    Args:
        shapes: a `TrainBatch` of `jax.ShapeDtypeStruct`.
        vocabulary: V.
    """
    random, tokens = np.random.default_rng(0), shapes.advantage.size

    def fill(leaf):
        if leaf.dtype == bool:
            return np.ones(leaf.shape, bool)
        return random.integers(2, vocabulary, leaf.shape).astype(leaf.dtype)

    full = lambda leaf, value: np.full(leaf.shape, value, np.float32)
    uniform = {  # one of them, or both
        name: full(getattr(shapes, name), -np.log(vocabulary))
        for name in ("old_logprob", "sampler_logprob")
        if getattr(shapes, name) is not None
    }
    batch = jax.tree.map(fill, shapes).replace(
        **uniform,
        advantage=random.standard_normal(shapes.advantage.shape, np.float32),
        weight=full(shapes.weight, 1 / tokens),
    )
    place = lambda array, leaf: jax.device_put(array, leaf.sharding)
    return jax.tree.map(place, batch, shapes)


def update(size, report):
    """Measures an update."""
    name = f"update, rows of {sum(size.row)}"
    with surviving(name):
        report(name, **one_update(size))


def one_update(size):
    """Returns a row of the table."""
    experiment, mesh = experiment_of(size), one_device()
    built = learner.build(experiment, mesh)
    shapes = built.minibatch_shapes()
    program, compiling = compiled(lambda: built.update.lower(built.skeleton, shapes))
    state = train_state.create(size.config, built.optimizer, mesh, jax.random.key(0))
    batch = random_batch(shapes, size.config.vocabulary)
    method = method_of(experiment.objective)

    def run():
        nonlocal state
        state, metrics, _ = program(state, batch, method=method)
        return metrics

    metrics, spent = timed(run)
    assert np.isfinite(metrics.loss), f"the loss is {metrics.loss}"
    flops = roofline.costs(Job(experiment, Slice("one", CHIPS["h100"], 1)))
    flops, chip = flops["update"].flops, peak()
    return {
        "ours": len(batch.weight) * sum(size.row) / spent,
        "unit": "tokens/s",
        "peak share": chip and flops / spent / chip.flops("bfloat16"),
        "seconds": spent,
        "TFLOP/s": flops / spent / 1e12,
        "compile s": compiling,
    }


# Attention of whole rows.


def attentions(size, report):
    """Measures each implementation of attention, with its gradients."""
    import attention as benchmark  # beside this file

    config, (rows, length) = size.config, size.attention
    heads, width = config.query_heads, config.head_width
    shape = rows, heads, config.key_value_heads, width
    *arrays, mask = benchmark.random_case(length, *shape)
    arrays = [jnp.asarray(x, jnp.bfloat16) for x in arrays]
    pairs = float(np.sum(mask.sum(axis=1, dtype=float) ** 2 / 2))
    flops, chip = FORWARDS * 4 * heads * width * pairs, peak()
    for name in attention.IMPLEMENTATIONS:
        if name == "reference":  # it holds the scores of all pairs at once
            continue
        with surviving(f"attention, {name}"):
            attention.check_attention(name, "bfloat16", width)
            attend, start = attention.IMPLEMENTATIONS[name], time.perf_counter()
            program, (placed, layout) = benchmark.compiled(attend, arrays, mask)
            compiling = time.perf_counter() - start
            once = lambda run=program, of=(*placed, layout): run(*of)
            spent = statistics.median(timed(once)[1] for _ in range(REPEATS))
            report(
                f"attention, {name}, {rows} x {length}",
                **{
                    "ours": 1e3 * spent,
                    "unit": "ms",
                    "peak share": chip and flops / spent / chip.flops("bfloat16"),
                    "TFLOP/s": flops / spent / 1e12,
                    "compile s": compiling,
                },
            )


# The default job.


def job(size, report):
    """Measures the default experiment, from the start of its process to its end."""
    name = "maspo train experiments/arithmetic.py"
    with tempfile.TemporaryDirectory() as folder, surviving(name):
        run = pathlib.Path(folder, "run")
        script = ROOT / "experiments" / "arithmetic.py"
        words = "train", script, "--run", run, *size.job
        path = os.pathsep.join([str(ROOT), *filter(None, [os.getenv("PYTHONPATH")])])
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "maspo_jax", *map(str, words)],
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=size.limit,
        )
        spent = time.perf_counter() - start
        if done.returncode:
            raise RuntimeError(done.stderr.strip().splitlines()[-1])
        lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
        right = [line["accuracy"] for line in lines if line["stage"] == "validation"]
        learned = {"before": right[0], "after": right[-1]}
        report(name, ours=spent, unit="s", **learned)


# What they share.

PARTS = {"decode": decode, "update": update, "attention": attentions, "job": job}
# Of the time of all; what one part leaves, the next ones may take.
SHARES = {"decode": 0.56, "update": 0.18, "attention": 0.1, "job": 0.16}


@contextlib.contextmanager
def surviving(name):
    """Says in a line why something is not measured. Gives a list, empty if so."""
    outcome = []
    try:
        yield outcome
        outcome.append(name)
    except Exception as error:  # memory, a driver: the other rows are still of use
        first = str(error).strip().partition("\n")[0]
        print(f"{name}: {type(error).__name__}: {first[:200]}", flush=True)


def text(value):
    """Returns a cell of the table."""
    if value is None:
        return "unknown"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class Report:
    """Prints the rows of a part as they come, and adds them to a file."""

    def __init__(self, path, about):
        self.path, self.about, self.heads = path, about, None

    def __call__(self, name, **row):
        """Takes a row; one of the same name in the file is replaced."""
        if self.heads is None:
            self.heads = ["name", *row]
            print(f"\n| {' | '.join(self.heads)} |\n|{'---|' * len(self.heads)}")
        row = {key: _plain(value) for key, value in row.items()}
        print(f"| {name} | {' | '.join(map(text, row.values()))} |", flush=True)
        if self.path:
            others = [each for each in read_rows(self.path) if each["name"] != name]
            nobody = {"peer": None, "ratio": None, "peer_name": None}
            rows = [*others, {"name": name} | nobody | row | self.about]
            self.path.write_text(json.dumps({"rows": rows}, indent=1) + "\n")


def _plain(value):
    return value.item() if isinstance(value, np.generic) else value


def read_rows(path):
    """Returns the rows of a file, none if there is no such file."""
    return json.loads(path.read_text())["rows"] if path.exists() else []


def device_kind():
    """Returns what the device is called; it stays free for a process started here."""
    asks = "import jax; print(jax.local_devices()[0].device_kind)"
    words = [sys.executable, "-c", asks]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return said.strip().splitlines()[-1]


def measure(part, options):
    """Runs one part in this process."""
    about = {"jax": jax.__version__, "python": sys.version.split()[0]}
    about["device"] = device_kind()
    about["date"] = datetime.date.today().isoformat()
    print(f"\n{part}: {', '.join(about.values())}", flush=True)
    size = TINY if options.tiny else FULL
    changed = {"remat": options.remat} if options.remat else {}
    if options.slots:
        size = dataclasses.replace(size, slots=tuple(options.slots))
    config = dataclasses.replace(size.config, **changed)
    start = time.perf_counter()
    PARTS[part](dataclasses.replace(size, config=config), Report(options.json, about))
    print(f"{part}: {time.perf_counter() - start:.0f} s", flush=True)


def main(words=None):
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--slots", type=int, nargs="+", help="of the decode part")
    parser.add_argument("--remat", help="of the update: full, attention, dots or none")
    parser.add_argument(
        "--limit",
        type=float,
        default=480,
        metavar="SECONDS",
        help="all parts together, each its share; then it is stopped",
    )
    parser.add_argument("--tiny", action="store_true", help="for a trial on a CPU")
    parser.add_argument(
        "--json", type=turns.new_file, metavar="FILE", help="adds the rows to it"
    )
    options = parser.parse_args(words)
    if len(options.parts) == 1:
        return measure(options.parts[0], options)
    end, whole = time.monotonic(), sum(SHARES[part] for part in options.parts)
    words = ["--tiny"] * options.tiny
    words += ["--json", options.json] * bool(options.json)
    words += ["--remat", options.remat] * bool(options.remat)
    words += ["--slots", *options.slots] if options.slots else []
    for part in options.parts:
        end += SHARES[part] / whole * options.limit
        left = max(end - time.monotonic(), 1)
        command = [sys.executable, __file__, "--parts", part, "--limit", left, *words]
        try:  # a part that itself keeps to its time is let say so
            subprocess.run([str(word) for word in command], timeout=left + 5)
        except subprocess.TimeoutExpired:
            print(f"{part}: stopped after its share of --limit", flush=True)


if __name__ == "__main__":
    main()
