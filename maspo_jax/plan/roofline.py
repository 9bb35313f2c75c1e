"""Seconds of each stage of a step at best: the roofline of a device.

A stage takes at least as long as its products take at the peak rate of bfloat16, as
its memory traffic takes at the peak bandwidth, and as what a device receives takes over
its links; the longest of the three is its time, as though they overlapped fully. Every
response is as long as it may be, and grading is not counted.

It is arithmetic, for the compiler cannot tell: `cost_analysis` counts the body of a
loop once, and a step is loops over layers, tokens and microbatches.
"""

import dataclasses

import jax.numpy as jnp

from maspo_jax.models import sizes

RECOMPUTED = {"full": 1.0, "attention": 1.0, "dots": 0.0, "none": 0.0}  # of a forward
PASSES = 6  # of float32 products at the highest precision, as the unit of bfloat16 sees


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a stage costs one device in a step."""

    flops: float  # of products
    bytes: float  # between a device and its memory
    received: float  # bytes over its links

    def seconds(self, slice_):
        """Returns how long it takes at best, and what bounds it.

        Args:
            slice_: the `Slice`.
        """
        bounds = {
            "products": self.flops / slice_.flops,
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
    passes = 1 + ("reference_logprob" in experiment.objective.needs)
    return {
        "sample": _times(_draw(job, prompts, sampling.responses), job.waves),
        "score": _times(_score(job), passes),
        "update": _times(_update(job), updates.epochs),
        "validation": _times(validation, share),
    }


def _times(cost, factor):
    return Cost(*(factor * number for number in dataclasses.astuple(cost)))


def _draw(job, prompts, responses):
    """Of so many prompts of one device, drawn at once: prompts read, tokens decoded."""
    config, sampling = job.decoder, job.experiment.sampling
    rows, steps = prompts * responses, sampling.response_length
    read = prompts * sampling.prompt_length
    # A token attends to the whole of its row's place in the cache.
    attended = 4 * config.depth * _heads(config) * job.length
    flops = read * _products(config, sampling.prompt_length / 2)
    flops += rows * steps * (2 * _matrices(config) + attended)
    parameters = _matrices(config) * _narrow(config) / job.tensor
    cache = sizes.cache_bytes(config, rows, job.length)
    logits = 3 * sizes.logits_bytes(config, rows)  # written once, read twice
    # Along `tensor`, two sums of hidden states a layer; along `fsdp`, all parameters
    # for every token, if they are not gathered once.
    apart = 2 * config.depth * rows * config.width * _narrow(config)
    received = 2 * (job.tensor - 1) * apart
    if sampling.gather == "layer":
        fsdp = job.experiment.fsdp
        received += parameters * (fsdp - 1) / fsdp
    return Cost(
        _in_passes(config, flops),
        steps * (parameters + cache + logits),
        steps * received,
    )


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
    return Cost(_in_passes(config, flops), read + hidden, gathered)


def _update(job):
    """Of one pass over all rows: forward, again, backward; and the optimizer."""
    config, updates = job.decoder, job.experiment.updates
    once = _score(job)
    again = RECOMPUTED[config.remat]
    shards = sizes.param_bytes(config) / (job.experiment.fsdp * job.tensor)
    # Parameters, gradient and two moments read, all but the gradient written.
    optimizer = updates.minibatches * 7 * shards
    # Gathered forward and backward, and the gradient scattered, which is float32.
    scattered = once.received * sizes.FLOAT32 / _narrow(config)
    return Cost(
        (3 + again) * once.flops,
        (3 + again) * once.bytes + optimizer,
        2 * once.received + scattered,
    )


def _gathered(job):
    """Bytes that a device receives to have had all parameters once."""
    shards = job.experiment.fsdp * job.tensor
    whole = sizes.param_count(job.decoder) * _narrow(job.decoder)
    return whole * (shards - 1) / shards


def _products(config, context):
    """Operations of a token, forward, that attends to so many."""
    return 2 * _matrices(config) + 4 * config.depth * _heads(config) * context


def _heads(config):
    return config.query_heads * config.head_width


def _matrices(config):
    """Parameters that a token is multiplied by: not those of the embedding."""
    tied = config.tied_head
    return sizes.param_count(config) - (not tied) * config.vocabulary * config.width


def _in_passes(config, flops):
    """Operations as the unit of bfloat16 sees them."""
    return flops * (1 if config.product_dtype == "bfloat16" else PASSES)


def _narrow(config):
    return jnp.dtype(config.product_dtype).itemsize
