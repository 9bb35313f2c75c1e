"""The largest wave and microbatch that fit, and what helps where a stage does not."""

import bisect

from maspo_jax.models.sharding import tensor_choices
from maspo_jax.plan import estimate
from maspo_jax.plan.job import SHARE
from maspo_jax.rollout import memory


def waves(job):
    """Returns the sizes that a wave may have, in prompts of all devices, ascending."""
    return memory.waves_of(job.experiment.sampling, job.slice.devices)


def microbatches(job):
    """Returns the numbers of microbatches there may be, the most rows in each last."""
    rows = job.minibatch_rows
    return [count for count in range(rows, 0, -1) if rows % count == 0]


def largest(choices, fits):
    """Returns the last of some choices that fits, or None; those before it fit, too."""
    place = bisect.bisect_left(choices, True, key=lambda choice: not fits(choice))
    return choices[place - 1] if place else None


def search(job):
    """Returns the `Job` with the largest wave and microbatches estimated to fit.

    The wave and its slots are those that training takes where neither is set; slots
    that are set stay. Settings that nothing fits with are those that take least.
    """
    job = job.changed(sampling__wave=None)
    job = job.changed(**_drawn(job.wave, job.wave_rows))
    split = lambda count: job.changed(**_split(job, count))
    fit = lambda count: all(
        estimate.fits(split(count), stage)
        for stage in job.stages
        if stage in ("score", "update")
    )
    return split(largest(microbatches(job), fit) or microbatches(job)[0])


def smaller(job, stage):
    """Returns the `Job` with the next fewer slots, or smaller microbatch, or None.

    Args:
        job: the `Job`.
        stage: that does not fit it.
    """
    changes = next(_smaller(job, stage), None)
    return None if changes is None else job.changed(**changes)


def settings(job, stage):
    """Returns the options that say how much of a stage is done at a time.

    Args:
        job: the `Job`.
        stage: "sample", or "score" or "update".
    """
    drawn = _drawn(job.wave, job.wave_rows)
    if job.wave_rows == job.rows_of_wave:
        del drawn["sampling__slots"]
    chosen = drawn if stage == "sample" else _split(job, job.microbatches)
    return [_option(name, value) for name, value in chosen.items()]


def remedy(job):
    """Returns the options that make all stages fit, as estimated, or None if none do.

    Those that change nothing that is computed come first; those that do are the dtype
    of products, and nothing else.

    Args:
        job: the `Job`.
    """
    options = {}
    for stage in estimate.estimate(job):
        needed = estimate.total(estimate.estimate(job)[stage])
        for changes in _changes(job, stage):
            if needed <= SHARE * job.slice.hbm:
                break
            changed = job.changed(**changes)
            less = estimate.total(estimate.estimate(changed)[stage])
            if less < needed:
                job, needed, options = changed, less, options | changes
        if needed > SHARE * job.slice.hbm:
            return None
    # A change for a later stage may take more in an earlier one.
    if not all(estimate.fits(job, stage) for stage in estimate.estimate(job)):
        return None
    return [_option(name, value) for name, value in options.items()]


def _option(name, value):
    """Returns a word and a value of the command line."""
    return f"--{name.replace('__', '.').replace('_', '-')} {value}"


def _changes(job, stage):
    """Yields settings of `Job.changed` to try on a stage, one after another."""
    devices, config = job.slice.devices, job.decoder
    if job.experiment.fsdp < devices // job.tensor:
        yield {"fsdp": devices // job.tensor}
    yield from _smaller(job, stage)
    if stage == "update" and config.remat != "full":
        yield {"policy__remat": "full"}
    for tensor in tensor_choices(config):
        # They are devices of one host.
        if tensor > job.tensor and devices // job.slice.hosts % tensor == 0:
            yield {"tensor": tensor, "fsdp": devices // tensor}
    if config.product_dtype == "float32":
        yield {"policy__compute_dtype": "bfloat16"}
    if job.experiment.sampling.gather == "once":
        yield {"sampling__gather": "layer"}


def _split(job, count):
    """Returns the setting that splits an update into so many microbatches."""
    if job.experiment.updates.microbatch_tokens is None:
        return {"updates__microbatches": count}
    return {"updates__microbatch_tokens": job.minibatch_rows // count * job.length}


def _drawn(wave, slots):
    """Returns the settings of how much is drawn at a time."""
    return {"sampling__wave": wave, "sampling__slots": slots}


def _smaller(job, stage):
    """Yields fewer slots, then smaller waves, or microbatches, down to the smallest.

    A wave alone would not do: memory is what its slots take, and these would be more.
    """
    if stage == "sample":
        slots = job.wave_rows
        while slots > 1:
            slots //= 2
            yield _drawn(job.wave, slots)
        for wave in reversed([size for size in waves(job) if size < job.wave]):
            yield _drawn(wave, slots)
    if stage in ("score", "update"):
        counts = sorted(microbatches(job))
        for count in (each for each in counts if each > job.microbatches):
            yield _split(job, count)
