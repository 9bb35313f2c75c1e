"""What an update costs with each gate, beside hard clipping, and what measuring costs.

    python experiments/benchmarks/gate_cost.py > experiments/results/gates/gate_cost.md

A policy of 4 M parameters, 32 responses of 64 tokens. All updates take turns; a number
is the median over the turns of the time of one update over that of hard clipping in
the same turn; on a CPU it is the time of this process, which others on the machine
disturb least. Obtained: see the file named above.
"""

import dataclasses
import datetime
import os
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from maspo_jax import distributed
from maspo_jax.learning import train_state as states
from maspo_jax.learning.update import make_update
from maspo_jax.models.decoder import Decoder, DecoderConfig
from maspo_jax.objectives import gates
from maspo_jax.objectives.surrogate import TokenTrace, policy_loss, surrogate
from maspo_jax.objectives.terms import Method
from maspo_jax.objectives.token_weights import token_mean
from maspo_jax.types import Sequences, TrainBatch

CONFIG = DecoderConfig(
    vocabulary=512,
    width=256,
    depth=5,
    query_heads=4,
    key_value_heads=2,
    head_width=64,
    feed_forward=704,
)
CLIP = gates.Clip()
GATES = [CLIP] + [
    kind()
    for kind in vars(gates).values()
    if dataclasses.is_dataclass(kind) and kind is not gates.Clip
]
ROUNDS = 9


def unmeasured(logprob, entropy, batch, method, total):
    """`policy_loss` without its measurements: zeros in their place."""
    del total
    whole = lambda *tokens: policy_loss(*tokens, batch, method, lambda number: number)
    shapes = jax.eval_shape(whole, logprob, entropy)[1][0]
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype) * logprob[0, 0], shapes)
    loss, value = surrogate(logprob, batch, method.gate)
    return loss, (zeros, TokenTrace(logprob, value))


def random_batch(rows=32, prompt=16, length=64):
    """Returns responses of random tokens under an old policy that is far away."""
    draw = np.random.default_rng(0)
    tokens = lambda width: draw.integers(0, CONFIG.vocabulary, (rows, width), np.int32)
    mask = np.ones((rows, length), bool)
    sequences = Sequences(
        tokens(prompt), np.ones((rows, prompt), bool), tokens(length), mask
    )
    old = draw.normal(-6, 0.3, mask.shape).astype(np.float32)
    advantage = np.broadcast_to(draw.normal(0, 1, (rows, 1)), mask.shape)
    weight = np.asarray(token_mean(mask), np.float32)
    return TrainBatch(sequences, old, advantage.astype(np.float32), weight)


def main():
    """Prints the table."""
    mesh, optimizer = distributed.make_mesh(), optax.sgd(1e-3)
    skeleton = states.skeleton(CONFIG, optimizer, mesh)
    specs = jax.tree.map(lambda leaf: leaf.sharding.spec, skeleton.policy)
    policy = Decoder(CONFIG, nnx.Rngs(0))
    size = sum(leaf.size for leaf in jax.tree.leaves(policy))
    state = states.adopt(policy, optimizer, mesh)
    batch = distributed.shard_rows(random_batch(), mesh)
    update = make_update(policy_loss, optimizer, mesh, specs)
    bare = make_update(unmeasured, optimizer, mesh, specs)
    runs = {type(gate).__name__: (update, Method(gate)) for gate in GATES}
    runs["Clip again"] = runs["Clip"]
    runs["Clip, not measured"] = (bare, Method(gates.Clip()))
    runs["Maspo, not measured"] = (bare, Method(gates.Maspo()))
    seconds = {name: [] for name in runs}
    on_cpu = jax.default_backend() == "cpu"
    clock = time.process_time if on_cpu else time.perf_counter
    for turn in range(ROUNDS + 1):
        for name, (step, method) in runs.items():
            start = clock()
            state, metrics, _ = jax.block_until_ready(step(state, batch, method))
            if turn:  # the first compiles
                seconds[name].append(clock() - start)
    print(
        f"{datetime.date.today()}, {jax.devices()[0].device_kind}, {os.cpu_count()} "
        f"cores, load {os.getloadavg()[0]:.1f}, jax {jax.__version__}, "
        f"{size / 1e6:.1f} M parameters, {ROUNDS} turns\n"
    )
    print("| update with | median | over `Clip` |\n|---|---|---|")
    for name, times in seconds.items():
        ratios = [a / b for a, b in zip(times, seconds["Clip"], strict=True)]
        median, over = statistics.median(times), statistics.median(ratios) - 1
        print(f"| {name} | {median:.3f} s | {over:+.1%} |")


if __name__ == "__main__":
    main()
