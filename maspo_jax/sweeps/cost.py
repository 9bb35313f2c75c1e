"""What runs trained together take, by arithmetic: memory and products."""

import os
import time

import jax
import numpy as np

from maspo_jax import distributed
from maspo_jax.models import sizes
from maspo_jax.rollout import memory

COPIES = 5  # of the parameters: themselves, two moments, the gradient, an update
LAYER = 24  # arrays of the width that a layer makes of a token, for the way back
BACKWARD = 3  # an update costs so many forward passes
# Of what a matrix product of a good size reaches: small programs spend most elsewhere.
EFFICIENCY = 0.35
SIZE, TIMES = 512, 8  # of the product that is timed


def memory_limit():
    """Returns the bytes that a device holds; on a CPU half of what the machine has."""
    limit = memory.memory_limit()
    if limit is None:
        limit = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return limit


def bytes_held(experiment):
    """Returns the bytes that a run holds on the device while others are computed."""
    sampling = experiment.sampling
    rows = sampling.prompts * sampling.responses
    tokens = 4 * memory.TOKEN * rows * sampling.row_length
    copies = COPIES + ("reference_logprob" in experiment.objective.needs)
    return copies * sizes.param_bytes(experiment.decoder) + tokens


def bytes_used(experiment):
    """Returns the bytes that a run takes beside that while it is computed."""
    sampling, config = experiment.sampling, experiment.decoder
    prompts, rows = sampling.prompts, sampling.prompts * sampling.responses
    drawn = memory.sampler_bytes(
        config,
        prompts,
        sampling.responses,
        sampling.prompt_length,
        sampling.response_length,
    )
    minibatch = rows // experiment.updates.minibatches * sampling.row_length
    parts = experiment.updates.microbatches
    tokens = minibatch // parts
    if experiment.updates.microbatch_tokens:
        tokens = min(tokens, experiment.updates.microbatch_tokens)
    update = 4 * tokens * (LAYER * config.depth * config.width + 3 * config.vocabulary)
    return max(drawn, update)


def fitting(experiment, limit):
    """Returns how many runs of a group fit a device, at least 1; None if unknown.

    Args:
        experiment: one of the group.
        limit: bytes of the device, or None.
    """
    if limit is None:
        return None
    held, used = bytes_held(experiment), bytes_used(experiment)
    if jax.default_backend() == "cpu":  # one after the other
        return max(int((limit - used) // held), 1)
    return max(int(limit // (held + used)), 1)


def products(experiment):
    """Returns the floating-point operations of a run, {stage: number}."""
    sampling, updates = experiment.sampling, experiment.updates
    token = 2 * sizes.param_count(experiment.decoder)
    drawn = sampling.prompts * (
        sampling.prompt_length + sampling.responses * sampling.response_length
    )
    read = sampling.prompts * sampling.responses * sampling.row_length
    passes = BACKWARD * updates.epochs + experiment.scores_first
    measured = experiment.validation
    validations = 1 + -(-experiment.steps // measured.every)
    answers = measured.problems * measured.samples * sampling.row_length
    found = {
        "sampling": experiment.steps * token * drawn,
        "updating": experiment.steps * token * read * passes,
        "evaluating": validations * token * answers,
    }
    if experiment.sft:
        count = sum(phase.updates for phase in experiment.sft.phases)
        rows = experiment.sft.batch * experiment.sft_row_length
        found["fine-tuning"] = count * BACKWARD * token * rows
    return found


def rate():
    """Returns the floating-point operations a second of a matrix product here."""
    mesh = distributed.make_mesh(devices=jax.devices()[:1])
    place = jax.NamedSharding(mesh, jax.P())
    matrix = jax.device_put(np.ones((SIZE, SIZE), np.float32), place)
    product = jax.jit(lambda x: x @ x)
    jax.block_until_ready(product(matrix))
    begin = time.perf_counter()
    for _ in range(TIMES):
        jax.block_until_ready(product(matrix))
    return TIMES * 2 * SIZE**3 / (time.perf_counter() - begin)
