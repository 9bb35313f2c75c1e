"""How many rows the memory of the devices holds while they draw, by arithmetic.

An estimate on the safe side, made before anything is compiled: it decides the usual
size of a wave, of its slots and of a batch, which change nothing that is drawn.
"""

import bisect
import dataclasses

import jax
import jax.numpy as jnp

from maspo_jax import distributed
from maspo_jax.models import sizes
from maspo_jax.rollout.batching import BATCH
from maspo_jax.rollout.generate import prompts_at_a_time

SHARE = 0.9  # of the memory of a device that is planned with
# And that is filled where slots are chosen: in steps of one row they leave nothing of
# it free, and a compiler takes up to a tenth more than the estimate.
FILLED = 0.8
SCORES = 4  # arrays as large as the logits that the draw of a token makes
PROMPT_SCORES = 3  # as large as the scores of a layer that reads whole prompts at once
LAYERS_GATHERED = 2  # one in use, and the next
TOKEN = 16  # bytes of a token of a rollout: itself, its masks, its log-probability
GIB = 2**30
MOMENTS = 2  # of the optimizer, each as large as the parameters
TURNS = 4  # that its slots take in turn, at most, in a wave whose size is not set


@dataclasses.dataclass(frozen=True)
class AtATime:
    """How much of a rollout batch is drawn at a time."""

    wave: int  # prompts, of all devices
    slots: int | None  # responses of a device; None: all of the wave

    def rows(self, responses, devices):
        """Returns how many responses a device draws at a time.

        Args:
            responses: G.
            devices: their number.
        """
        rows = self.wave * responses // devices
        return min(self.slots or rows, rows)


def memory_limit():
    """Returns the bytes of a device, of all processes the least; None if unknown."""
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    least = min(each.get("bytes_limit", 0) for each in stats)
    return -int(distributed.max_over_hosts(-least)) or None


def sampler_bytes(
    config, prompts, responses, prompt_length, response_length, tensor=1, slots=None
):
    """Returns what a device takes to draw, beside the parameters.

    Args:
        config: the `DecoderConfig`.
        prompts: of this device, drawn at a time.
        responses: G.
        prompt_length: L.
        response_length: T.
        tensor: devices that share heads: each reads the rows of all of them, with as
            many times fewer heads and units.
        slots: rows drawn at a time; None: all of these prompts.
    """
    lengths = prompt_length, response_length
    parts = _drawing(config, prompts, responses, *lengths, tensor, slots)
    return sum(parts.values())


def _drawing(
    config, prompts, responses, prompt_length, response_length, tensor=1, slots=None
):
    """Returns what `sampler_bytes` does, {part: bytes}."""
    drawn, columns = prompts * responses, prompt_length + response_length
    rows = min(slots or drawn, drawn)
    narrow = jnp.dtype(config.product_dtype).itemsize
    # Of each token of the prompts: the residual stream, and what one layer makes of it.
    heads = (config.query_heads + 2 * config.key_value_heads) * config.head_width
    made = narrow * (4 * tensor * config.width + heads + 2 * config.feed_forward)
    read = prompts_at_a_time(prompts, prompt_length)
    activations = read * prompt_length * made
    activations += PROMPT_SCORES * sizes.scores_bytes(config, read, prompt_length)
    return {
        # Of the rows that are drawn, and of the prompts that others will start from.
        "cache": sizes.cache_bytes(config, rows, columns)
        + sizes.cache_bytes(config, prompts, prompt_length),
        "activations": activations + drawn * columns * TOKEN,
        "logits": SCORES * sizes.logits_bytes(config, rows),
    }


def copy_bytes(config, mesh, gather="once"):
    """Returns the bytes, on a device, of the copy of a policy that is sampled from.

    With what is gathered of it at a time, where layers are: one in use and the next,
    and all that is no layer.

    Args:
        config: the `DecoderConfig`.
        mesh: the mesh.
        gather: as in `weights.sampling_specs`.
    """
    shards = mesh.shape["fsdp"] if gather == "layer" else 1
    whole, layer = sizes.param_count(config), sizes.layer_param_count(config)
    held = whole / shards
    if shards == mesh.shape["fsdp"] and config.product_dtype == config.dtype:
        held = 0  # the policy itself
    if shards > 1:
        layers = config.depth - min(LAYERS_GATHERED, config.depth)
        held += whole - layers * layer
    return held * jnp.dtype(config.product_dtype).itemsize / mesh.shape["tensor"]


def sampler_parts(experiment, mesh, prompts, responses, slots=None):
    """Returns {part: bytes of a device} of what drawing takes, beside what is held.

    Args:
        experiment: the `Experiment`.
        mesh: the mesh.
        prompts: of this device, drawn at a time.
        responses: to each.
        slots: rows drawn at a time; None: all of these prompts.
    """
    config, sampling = experiment.decoder, experiment.sampling
    lengths = sampling.prompt_length, sampling.response_length
    parts = _drawing(config, prompts, responses, *lengths, mesh.shape["tensor"], slots)
    return {"cast copy": copy_bytes(config, mesh, sampling.gather)} | parts


def shard_bytes(config, mesh):
    """Returns the bytes, on a device, of the parameters of a policy as stored."""
    return sizes.param_bytes(config) / (mesh.shape["fsdp"] * mesh.shape["tensor"])


def training_bytes(experiment, mesh):
    """Returns what a device holds in training while it draws, beside its rows.

    The parameters, the moments, the reference policy if there is one, and what is
    sampled from.
    """
    config = experiment.decoder
    copies = 1 + ("reference_logprob" in experiment.objective.needs)
    held = copies * shard_bytes(config, mesh) + moment_bytes(experiment, mesh)
    return held + copy_bytes(config, mesh, experiment.sampling.gather)


def moment_bytes(experiment, mesh):
    """Returns the bytes, on a device, of the moments of the optimizer."""
    narrow = jnp.dtype(experiment.optimization.moments_dtype).itemsize
    count = MOMENTS * sizes.param_count(experiment.decoder)
    return count * narrow / (mesh.shape["fsdp"] * mesh.shape["tensor"])


def check_state(experiment, devices, limit):
    """Refuses a policy whose state of training is more than the devices hold.

    The state is what an update cannot do without: parameters, moments, gradients, and
    the reference policy if there is one.

    Args:
        experiment: the `Experiment`.
        devices: how many there are.
        limit: bytes of a device, from `memory_limit`; None: nothing is refused.

    Raises:
        ValueError: what it takes, and what to do.
    """
    fsdp, tensor = experiment.fsdp, experiment.tensor
    copies = 2 + ("reference_logprob" in experiment.objective.needs)

    def state(fsdp):
        shape = devices // (fsdp * tensor), fsdp, tensor
        mesh = jax.sharding.AbstractMesh(shape, distributed.AXES)
        shards = copies * shard_bytes(experiment.decoder, mesh)
        return moment_bytes(experiment, mesh) + shards

    if limit is None or state(fsdp) <= limit:
        return
    numbers = range(fsdp, devices // tensor + 1)
    choices = [n for n in numbers if devices % (n * tensor) == 0]
    fitting = [n for n in choices if state(n) <= limit]
    remedy = f"take fsdp={fitting[0]}" if fitting else "take more devices"
    raise ValueError(
        f"fsdp={fsdp}: parameters, moments and gradients of the policy take "
        f"{state(fsdp) / GIB:.1f} GiB of each device, which has {limit / GIB:.1f}; "
        f"{remedy}, or a smaller policy; moments of half the width are "
        "optimization.moments_dtype=bfloat16"
    )


def waves_of(sampling, devices):
    """Returns the sizes that a wave may have, in prompts of all devices, ascending.

    They divide P, and are a multiple of the devices.

    Args:
        sampling: the `Sampling` settings.
        devices: their number.
    """
    sizes = range(devices, sampling.prompts + 1, devices)
    return [size for size in sizes if sampling.prompts % size == 0]


def drawn_at_a_time(experiment, mesh, limit):
    """Returns the `AtATime` of a step, as set or as memory holds, or None if none fits.

    What is set stays. A wave is the largest that fits with slots for a quarter of its
    rows, or else the smallest; and slots are as many as fit with it.

    Args:
        experiment: the `Experiment`.
        mesh: the mesh.
        limit: bytes of a device, from `memory_limit`; None: everything fits.
    """
    sampling, devices = experiment.sampling, mesh.size
    wave, slots, responses = sampling.wave, sampling.slots, sampling.responses
    if limit is None:
        return AtATime(wave or sampling.prompts, slots)
    if wave is not None and slots is not None:
        return AtATime(wave, slots)
    lengths = sampling.prompt_length, sampling.response_length
    # The rows of all waves, and in the end beside them those of the whole batch.
    rollouts = 2 * TOKEN * sampling.prompts // devices * responses * sum(lengths)
    share = FILLED if slots is None else SHARE
    room = share * limit - training_bytes(experiment, mesh) - rollouts
    rows = lambda wave: wave // devices * responses
    taken = lambda wave, slots: sampler_bytes(
        experiment.decoder,
        wave // devices,
        responses,
        *lengths,
        mesh.shape["tensor"],
        slots,
    )
    if wave is None:
        choices = waves_of(sampling, devices)
        least = lambda wave: slots or -(-rows(wave) // TURNS)
        fitting = [size for size in choices if taken(size, least(size)) <= room]
        if slots is not None:
            return AtATime(fitting[-1], slots) if fitting else None
        wave = (fitting or choices[:1])[-1]
    # More slots take more: so many of them are within the room.
    numbers = range(1, rows(wave) + 1)
    slots = bisect.bisect_right(numbers, room, key=lambda slots: taken(wave, slots))
    if slots == 0:
        return None
    return AtATime(wave, slots if slots < rows(wave) else None)


def least_at_a_time(sampling, devices):
    """Returns the `AtATime` that takes least, beside what is set.

    Args:
        sampling: the `Sampling` settings.
        devices: their number.
    """
    return AtATime(sampling.wave or devices, sampling.slots or 1)


def describe(experiment, mesh, limit):
    """Returns in a line what a device will hold while it draws, or None if unknown.

    The arguments are those of `drawn_at_a_time`.
    """
    if limit is None:
        return None
    sampling, devices = experiment.sampling, mesh.size
    found = drawn_at_a_time(experiment, mesh, limit)
    found = found or least_at_a_time(sampling, devices)
    prompts, rows = found.wave // devices, found.rows(sampling.responses, devices)
    taken = sampler_parts(experiment, mesh, prompts, sampling.responses, rows)
    copied = taken["cast copy"]
    state, drawn = training_bytes(experiment, mesh) - copied, sum(taken.values())
    drawn -= copied
    parts = (state, "state"), (copied, "copy to draw from"), (drawn, f"{rows} rows")
    said = ", ".join(f"{what} {size / GIB:.1f}" for size, what in parts)
    total = (state + copied + drawn) / GIB
    return (
        f"memory of a device while it draws, by arithmetic: {total:.1f} of "
        f"{limit / GIB:.1f} GiB ({said}); `maspo plan` asks the compiler"
    )


def validation_batch(experiment, mesh, limit):
    """Returns how many responses of a validation in training to draw at a time.

    The arguments are those of `drawn_at_a_time`.
    """
    sampling, config = experiment.sampling, experiment.decoder
    lengths = sampling.prompt_length, sampling.response_length
    return _batch(config, mesh, limit, training_bytes(experiment, mesh), lengths)


def evaluation_batch(
    config, mesh, limit, prompt_length, response_length, gather="once"
):
    """Returns how many responses of an evaluation to draw at a time.

    Args:
        config: the `DecoderConfig`.
        mesh: the mesh.
        limit: as in `drawn_at_a_time`.
        prompt_length: L.
        response_length: T.
        gather: as in `copy_bytes`.
    """
    held = shard_bytes(config, mesh) + copy_bytes(config, mesh, gather)
    return _batch(config, mesh, limit, held, (prompt_length, response_length))


def _batch(config, mesh, limit, held, lengths):
    """`BATCH`, or fewer if no more fit; but at least one for each device."""
    if limit is None:
        return max(BATCH, mesh.size)
    of_one = sampler_bytes(config, 1, 1, *lengths, mesh.shape["tensor"])
    fits = int((SHARE * limit - held) // of_one)
    return max(min(BATCH, fits * mesh.size), mesh.size)
