"""Memory of each stage of a step, by arithmetic on shapes: no compiler is asked.

Parts of one device, in bytes:

    masters      the parameters, and a reference policy if there is one
    moments      of the optimizer
    cast copy    the policy in the dtype of products: whole in the sampler; in the
                 update, what is gathered at a time
    gradients    the sum of microbatches, that of one, and of what is not split
    cache        keys and values
    activations  hidden states that are kept, and what one layer makes of them
    logits       scores of tokens, and what is computed from them

What a part counts follows the programs, and was fitted to what the compiler of TPUs
allocates for them; `tests/plan` holds how far the sum is from it.
"""

import jax.numpy as jnp

from maspo_jax.models import sizes
from maspo_jax.plan.job import SHARE
from maspo_jax.rollout import memory
from maspo_jax.rollout.logprobs import SCORES_PER_CHUNK

PARTS = (
    "masters",
    "moments",
    "cast copy",
    "gradients",
    "cache",
    "activations",
    "logits",
)
SCORES = 3  # arrays as large as a chunk of the logits
BACKWARD = 1.5  # of what a layer makes, with the cotangents that live beside it


def estimate(job):
    """Returns {stage: {part: bytes of a device}} of a `Job`."""
    experiment, mesh = job.experiment, job.mesh
    shard = memory.shard_bytes(job.decoder, mesh)
    copies = 1 + ("reference_logprob" in experiment.objective.needs)
    moments = memory.moment_bytes(experiment, mesh)
    held = {"masters": copies * shard, "moments": moments}
    plan, devices = job.validation, job.slice.devices
    drawn = lambda prompts, *of: memory.sampler_parts(
        experiment, mesh, prompts // devices, *of
    )
    found = {
        "sample": held | drawn(job.wave, experiment.sampling.responses, job.wave_rows),
        "score": held | _pass(job),
        "update": held | _update(job),
        "validation": held | drawn(plan.prompts, plan.responses),
    }
    return {stage: found[stage] for stage in job.stages}


def total(parts):
    """Returns the bytes of all parts of a stage."""
    return sum(parts.values())


def fits(job, stage):
    """Returns whether a stage of a job is estimated to fit a device."""
    return total(estimate(job)[stage]) <= SHARE * job.slice.hbm


def _pass(job):
    """Parts of the forward pass that scores one microbatch after another."""
    config = job.decoder
    tokens = job.microbatch_rows * job.length
    layers = memory.LAYERS_GATHERED * sizes.layer_param_count(config)
    shared = job.experiment.fsdp * job.tensor > 1
    # Neither gathered nor cast, embedding and head are used as they are held.
    same = not shared and config.product_dtype == config.dtype
    stem = 0 if same else sizes.stem_count(config)
    return {
        "cast copy": (stem + layers) * _narrow(config),
        "activations": tokens * _narrow(config) * _of_layer(config),
        "logits": SCORES * _chunk(job),
    }


def _update(job):
    """Parts of an update, forward and backward."""
    config, narrow = job.decoder, _narrow(job.decoder)
    parts, tokens = _pass(job), job.microbatch_rows * job.length
    kept = config.depth * _kept(config)
    shard = sizes.param_count(config) * sizes.FLOAT32
    shard /= job.experiment.fsdp * job.tensor
    # Of embedding and head, whole on every device until they are scattered: each is
    # summed in float32, one after the other.
    table = config.vocabulary * config.width * sizes.FLOAT32
    stem = table + sizes.stem_count(config) * narrow
    sums = 2 if job.microbatches > 1 else 1
    return {
        "cast copy": parts["cast copy"],
        "gradients": sums * shard + stem,
        "activations": BACKWARD * parts["activations"] + tokens * narrow * kept,
        "logits": parts["logits"],
    }


def _kept(config):
    """Numbers of a token that a layer keeps for its backward pass, by `remat`."""
    heads = config.query_heads * config.head_width
    shared = 2 * config.key_value_heads * config.head_width
    attention = heads + 2 * config.query_heads  # and the normalizer, in float32
    products = heads + shared + 2 * config.width + 2 * config.feed_forward
    return (
        config.width
        + {
            "full": 0,
            "attention": attention,
            "dots": products,
            "none": attention + products + 4 * config.width + 2 * config.feed_forward,
        }[config.remat]
    )


def _of_layer(config):
    """Numbers of a token that one layer makes: its heads, and its feed-forward."""
    heads = (config.query_heads + 2 * config.key_value_heads) * config.head_width
    return 4 * config.width + max(2 * heads, 3 * config.feed_forward)


def _chunk(job):
    """Bytes of the scores of a chunk of the vocabulary, for all tokens at once."""
    tokens = job.microbatch_rows * job.experiment.sampling.response_length
    columns = min(max(SCORES_PER_CHUNK // tokens, 128), job.decoder.vocabulary)
    return tokens * columns * sizes.FLOAT32


def _narrow(config):
    return jnp.dtype(config.product_dtype).itemsize
