"""Seconds of each stage of a step at best: the roofline of a device.

A stage takes at least as long as its products take at the peak rate of their dtype, as
its memory traffic takes at the peak bandwidth, and as what a device receives takes over
its links; the longest of the three is its time, as though they overlapped fully. Every
response is as long as it may be, and neither grading nor drawing again is counted.

It is arithmetic, for the compiler cannot tell: `cost_analysis` counts the body of a
loop once, and a step is loops over layers, tokens and microbatches.
"""

import dataclasses

import jax.numpy as jnp

from maspo_jax.models import sizes
from maspo_jax.rollout import memory

# What an update computes, in forward passes, by `remat`: of products with parameters,
# whose backward pass takes two, and of attention, whose own takes two and a half.
FORWARDS = {
    "full": (4, 4.5),
    "attention": (4, 3.5),
    "dots": (3, 4.5),
    "none": (3, 3.5),
}


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a stage costs one device in a step."""

    flops: float  # of products, each counted once whatever its precision
    bytes: float  # between a device and its memory
    received: float  # bytes over its links

    def seconds(self, job):
        """Returns how long it takes at best, and what bounds it.

        Args:
            job: the `Job`.
        """
        slice_ = job.slice
        bounds = {
            "products": self.flops / slice_.flops(job.decoder.product_dtype),
            "memory": self.bytes / slice_.bandwidth,
            "links": self.received / slice_.link,
        }
        bound = max(bounds, key=bounds.get)
        return bounds[bound], bound


def costs(job):
    """Returns {stage: `Cost`} of a step of a `Job`; of a validation, its share."""
    experiment, plan = job.experiment, job.validation
    sampling, updates = experiment.sampling, experiment.updates
    measured = experiment.validation
    batches = -(-measured.problems * measured.samples // plan.prompts // plan.responses)
    prompts, devices = job.wave // job.slice.devices, job.slice.devices
    validation = _draw(job, plan.prompts // devices, plan.responses)
    share = batches / measured.every
    found = {
        "sample": _sum(
            _copy(job),
            _times(_draw(job, prompts, sampling.responses, job.wave_rows), job.waves),
        ),
        "score": _times(_score(job), job.passes_first),
        "update": _times(_update(job), updates.epochs),
        "validation": _times(validation, share),
    }
    return {stage: found[stage] for stage in job.stages}


def _times(cost, factor):
    return Cost(*(factor * number for number in dataclasses.astuple(cost)))


def _sum(*of):
    return Cost(*map(sum, zip(*map(dataclasses.astuple, of), strict=True)))


def _copy(job):
    """Of making what is sampled from, once a step: read, gathered and written."""
    config, gather = job.decoder, job.experiment.sampling.gather
    copy = memory.copy_bytes(config, job.mesh, gather)
    shards = job.experiment.fsdp if gather == "once" else 1
    read = memory.shard_bytes(config, job.mesh) if copy else 0
    return Cost(0.0, read + copy, copy * (shards - 1) / shards)


def _draw(job, prompts, responses, slots=None):
    """Of so many prompts of one device: prompts read, tokens decoded.

    Of all their responses at once, or of so many as there are slots.
    """
    config, sampling = job.decoder, job.experiment.sampling
    drawn, read = prompts * responses, prompts * sampling.prompt_length
    rows, length = min(slots or drawn, drawn), sampling.response_length
    steps = -(-drawn // rows) * length
    # A token attends to those before it, and no others are read: half of T on average.
    filled = sampling.prompt_length + length // 2
    attended = _attention(config, filled)
    flops = read * _products(config, sampling.prompt_length / 2)
    flops += drawn * length * (2 * _matrices(config) + attended)
    parameters = _matrices(config) * _narrow(config) / job.tensor
    # Of rows that are drawn: at best, idle slots take nothing.
    cache = sizes.cache_bytes(config, drawn, filled)
    logits = 3 * sizes.logits_bytes(config, drawn)  # written once, read twice
    # Along `tensor`, two sums of hidden states a layer; along `fsdp`, all layers for
    # every token and the stem before the first one, if they are not gathered once.
    apart = 2 * config.depth * drawn * config.width * _narrow(config)
    received = length * 2 * (job.tensor - 1) * apart
    if sampling.gather == "layer":
        fsdp, stem = job.experiment.fsdp, sizes.stem_count(config)
        numbers = steps * (sizes.param_count(config) - stem) + stem
        received += numbers * _narrow(config) / job.tensor * (fsdp - 1) / fsdp
    return Cost(flops, steps * parameters + length * (cache + logits), received)


def _score(job):
    """Of a forward pass over all rows."""
    config = job.decoder
    tokens = job.rows * job.length
    flops = tokens * _products(config, job.length / 2)
    pieces = job.rows // job.microbatch_rows
    gathered = pieces * _gathered(job)
    # Parameters of each piece, and hidden states in and out of every layer.
    hidden = 2 * tokens * config.width * config.depth * _narrow(config)
    read = pieces * sizes.param_count(config) * _narrow(config)
    return Cost(flops, read + hidden, gathered)


def _update(job):
    """Of one pass over all rows: forward, again, backward; and the optimizer."""
    config, updates = job.decoder, job.experiment.updates
    once, tokens = _score(job), job.rows * job.length
    products, attention = FORWARDS[config.remat]
    flops = tokens * products * 2 * _matrices(config)
    flops += tokens * attention * _attention(config, job.length / 2)
    shard = memory.shard_bytes(config, job.mesh)
    # Parameters, gradient and moments read, all but the gradient written.
    optimizer = 3 * shard + 2 * memory.moment_bytes(job.experiment, job.mesh)
    # Gathered forward and backward, and the gradient scattered, which is float32; and
    # once an update, it is summed over the devices that hold the same shard.
    scattered = once.received * sizes.FLOAT32 / _narrow(config)
    same = job.mesh.shape["data"]
    summed = 2 * shard * (same - 1) / same
    return Cost(
        flops,
        products * once.bytes + updates.minibatches * optimizer,
        2 * once.received + scattered + updates.minibatches * summed,
    )


def _gathered(job):
    """Bytes that a device receives to have had all parameters once."""
    shards = job.experiment.fsdp * job.tensor
    whole = sizes.param_count(job.decoder) * _narrow(job.decoder)
    return whole * (shards - 1) / shards


def _products(config, context):
    """Operations of a token, forward, that attends to so many."""
    return 2 * _matrices(config) + _attention(config, context)


def _attention(config, context):
    """Operations of the attention of a token to so many."""
    return 4 * config.depth * config.query_heads * config.head_width * context


def _matrices(config):
    """Parameters that a token is multiplied by: not those of the embedding."""
    tied = config.tied_head
    return sizes.param_count(config) - (not tied) * config.vocabulary * config.width


def _narrow(config):
    return jnp.dtype(config.product_dtype).itemsize
