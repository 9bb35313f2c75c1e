"""How far the trainer is from the sampler, by the dtype of matrix products.

    python experiments/benchmarks/mismatch.py

One policy draws responses token by token from its cache, then the log-probabilities of
the same tokens are computed in whole rows, as before the first update of a step. With
ratio = trainer / sampler, k1 is the mean of -log(ratio), k3 that of ratio - 1 -
log(ratio), and tokens count as outside whose ratio is not in [0.8, 1.2].

The parameters are random; the head is scaled so that the entropy of a token is about
that of a trained policy. The last row is what happens where trainer and sampler do not
share the cast: a sampler in bfloat16 beside a trainer in float32. Obtained, with the
command for the shape of 1.5 billion parameters: experiments/results/mismatch.md.
"""

import argparse
import dataclasses
import functools
import math

import jax
import jax.numpy as jnp

from maspo_jax import distributed
from maspo_jax.learning.update import make_logprobs
from maspo_jax.models.decoder import DecoderConfig, init_decoder
from maspo_jax.models.sharding import param_specs
from maspo_jax.rollout.generate import SamplingParams, sample
from maspo_jax.types import Prompts

PROMPT = 64  # tokens
PAIRS = (("float32", "float32"), ("bfloat16", "bfloat16"), ("bfloat16", "float32"))
COLUMNS = "sampler, trainer, k1, k3, outside [0.8; 1.2], largest difference, entropy"


def random_policy(config, key):
    """Returns a `Decoder` whose distributions are about as sharp as trained ones."""
    policy = init_decoder(config, key)
    # Of Gaussian logits, this deviation is where few tokens begin to hold all mass.
    scale = 1.2 * math.sqrt(2 * math.log(config.vocabulary))

    def sharpen(path, leaf):
        head = jax.tree_util.keystr(path[:1], simple=True) == "head"
        return scale * leaf if head else leaf

    return jax.tree_util.tree_map_with_path(sharpen, policy)


def computing_in(policy, dtype):
    """Returns the same parameters with products in a dtype."""
    config = dataclasses.replace(policy.config, compute_dtype=dtype)
    shapes = jax.eval_shape(functools.partial(init_decoder, config), jax.random.key(0))
    return jax.tree.unflatten(jax.tree.structure(shapes), jax.tree.leaves(policy))


def measure(policy, dtypes, mesh, rows, length):
    """Returns the columns of a table behind the two dtypes, as numbers.

    Args:
        policy: a `Decoder`.
        dtypes: of the products of the sampler and of the trainer.
        mesh: the mesh both run on.
        rows: responses.
        length: tokens of each.
    """
    drawing, scoring = (computing_in(policy, dtype) for dtype in dtypes)
    shape = rows, PROMPT
    tokens = jax.random.randint(jax.random.key(1), shape, 2, policy.config.vocabulary)
    prompts = Prompts(tokens, jnp.ones(shape, bool))
    # A token that has no row of the vocabulary ends none, so all are of one length.
    decoding = SamplingParams(1, length, eos_tokens=(policy.config.vocabulary,), pad=0)
    rollout = sample(drawing, prompts, jax.random.key(2), decoding, mesh)
    score = make_logprobs(mesh, param_specs(scoring, mesh), pieces=max(rows // 8, 1))
    difference = score(scoring, rollout.sequences) - rollout.sampler_logprob
    ratio = jnp.exp(difference)
    numbers = (
        jnp.mean(-difference),
        jnp.mean(ratio - 1 - difference),
        jnp.mean((ratio < 0.8) | (ratio > 1.2)),
        jnp.max(jnp.abs(difference)),
        -jnp.mean(rollout.sampler_logprob),
    )
    return map(float, numbers)


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in {
        "width": 256,
        "depth": 8,
        "query-heads": 4,
        "key-value-heads": 2,
        "head-width": 64,
        "feed-forward": 1024,
        "vocabulary": 4096,
        "rows": 16,
        "length": 256,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    sizes = vars(parser.parse_args())
    rows, length = sizes.pop("rows"), sizes.pop("length")
    config = DecoderConfig(tied_head=False, qkv_bias=True, **sizes)
    policy = jax.jit(functools.partial(random_policy, config))(jax.random.key(0))
    kind = jax.devices()[0].device_kind
    shape = ", ".join(f"{name} {size:,}" for name, size in sizes.items())
    print(
        f"jax {jax.__version__} on one {kind}; {rows} responses of {length} tokens to"
    )
    print(f"prompts of {PROMPT}, at temperature 1; {shape}.\n")
    columns = COLUMNS.split(", ")
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    mesh = distributed.make_mesh()
    for dtypes in PAIRS:
        k1, k3, outside, largest, entropy = measure(policy, dtypes, mesh, rows, length)
        numbers = f"{k1:.1e} | {k3:.1e} | {outside:.2%} | {largest:.1e} | {entropy:.2f}"
        print(f"| {' | '.join(dtypes)} | {numbers} |", flush=True)


if __name__ == "__main__":
    main()
