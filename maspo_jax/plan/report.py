"""The plan as text: tables of memory and time, and what does not fit."""

from maspo_jax.markdown import markdown_table
from maspo_jax.plan import estimate, roofline, search
from maspo_jax.plan.devices import GIB
from maspo_jax.plan.job import SHARE


def heading(job):
    """Returns what is planned, in lines."""
    chip, experiment = job.slice.chip, job.experiment
    sampling = experiment.sampling
    per_device = f", {chip.devices} devices each" if chip.devices > 1 else ""
    rows = f"{job.microbatch_rows} rows of {job.length} tokens a device"
    several = "" if job.waves == 1 else "s"
    drawn, wave = job.wave_rows, job.rows_of_wave
    slots = f", {drawn:,} of {wave:,} responses of a device at a time"
    wave_of = f"{job.wave} prompts{slots if drawn < wave else ''}"
    return (
        f"{job.slice.name}: {job.slice.chips} chips{per_device}, {chip.hbm:g} GiB, "
        f"{chip.bandwidth:g} GB/s, {chip.tflops:g} TFLOP/s of bfloat16 and "
        f"{chip.tflops_of('float32'):.3g} of float32 a chip\n"
        f"    ({chip.source})\n"
        f"fsdp {experiment.fsdp}, tensor {job.tensor}, products in "
        f"{job.decoder.product_dtype}\n"
        f"{sampling.prompts} prompts x {sampling.responses} responses of "
        f"{sampling.prompt_length} + {sampling.response_length} tokens, in "
        f"{job.waves} wave{several} of {wave_of}\n"
        f"{experiment.updates_per_step} updates a step, in {job.microbatches} "
        f"microbatches of {rows}"
    )


def memory_table(job, compiled=None, beside=None):
    """Returns GiB of a device by stage and part, as a table.

    Args:
        job: the `Job`.
        compiled: {stage: `Compiled`}, of those that are.
        beside: {stage: bytes of a device held meanwhile, no argument of the program}.
    """
    compiled, beside, hbm = compiled or {}, beside or {}, job.slice.hbm
    rows = []
    for stage, parts in estimate.estimate(job).items():
        total = estimate.total(parts)
        cells = [_gib(parts.get(part, 0)) for part in estimate.PARTS]
        found = compiled.get(stage)
        needed = needed_of(found, beside.get(stage, 0))
        most = total if needed is None else needed
        by_compiler = "" if found is None else _gib(needed) if needed else "refused"
        rows.append([stage, *cells, _gib(total), by_compiler, f"{most / hbm:.0%}"])
    heads = ["GiB a device", *estimate.PARTS, "estimate", "compiler", "of HBM"]
    if not compiled:
        heads.remove("compiler")
        rows = [[*row[:-2], row[-1]] for row in rows]
    return _table(heads, rows)


def needed_of(found, beside):
    """Returns bytes of a device while a program runs, or None if nothing says it.

    Args:
        found: the `Compiled`, or None.
        beside: bytes held meanwhile that are no argument of the program.
    """
    return None if found is None or found.needed is None else found.needed + beside


def does_not_fit(job, compiled=None, beside=None):
    """Returns a line on the first stage that does not fit, with the remedy, or None.

    Args:
        job: the `Job`.
        compiled: as in `memory_table`.
        beside: likewise.
    """
    compiled, beside, hbm = compiled or {}, beside or {}, job.slice.hbm
    for stage, parts in estimate.estimate(job).items():
        found = compiled.get(stage)
        refused = found.refused if found else ""
        by, needed = "the compiler", needed_of(found, beside.get(stage, 0))
        if needed is None:
            by, needed = "arithmetic", estimate.total(parts)
        if not refused and needed <= SHARE * hbm:
            continue
        largest = max(parts, key=parts.get)
        said = f"; the compiler refuses it: {refused}" if refused else ""
        return (
            f"does not fit: {stage} takes {_gib(needed)} GiB of {_gib(hbm)} by {by}, "
            f"of which a plan fills {_gib(SHARE * hbm)}{said}; most of it is "
            f"{largest}, {_gib(parts[largest])} GiB; {_remedy(job, stage)}"
        )
    return None


def _remedy(job, stage):
    options = search.remedy(job)
    if options:
        return f"all stages fit with {' '.join(options)}, by arithmetic"
    if options is None:
        return "no setting makes all fit: take a larger slice, or shorter responses"
    below = search.smaller(job, stage)
    if below is None:
        fewer = [] if stage == "validation" else search.settings(job, stage)
        tried = f", and {' '.join(fewer)} is the least" if fewer else ""
        return (
            f"by arithmetic it does fit{tried}: take a larger fsdp or tensor, a larger "
            "slice, or shorter responses"
        )
    less = " ".join(search.settings(below, stage))
    return f"by arithmetic it does fit: try {less}"


def time_table(job):
    """Returns operations, bytes and seconds of each stage of a step, as a table."""
    rows = []
    for stage, cost in roofline.costs(job).items():
        seconds, bound = cost.seconds(job)
        rows.append(
            [
                stage,
                bound,
                _number(cost.flops / 1e12),
                _number(cost.bytes / 1e9),
                _number(cost.received / 1e9),
                _number(seconds),
            ]
        )
    # Of one device, all of a step.
    heads = ["a device, a step, at best", "bound by", "TFLOP", "GB of memory traffic"]
    return _table([*heads, "GB received", "seconds"], rows, left=2)


def summary(job):
    """Returns the time of a step and of 1,000, and what that is in chip-hours."""
    stages = roofline.costs(job).values()
    seconds = sum(cost.seconds(job)[0] for cost in stages)
    sampling = job.experiment.sampling
    tokens = sampling.prompts * sampling.responses * sampling.response_length
    hours = seconds * 1000 / 3600
    return (
        f"a step takes at least {_number(seconds)} s, {_number(tokens / seconds)} "
        "response tokens/s, if all are of the full length; 1,000 steps "
        f"{_number(hours)} hours, {_number(hours * job.slice.chips)} chip-hours\n"
        "(peak rates of the chip, arithmetic, without grading, and with one draw a "
        "step: programs reach 30% to 60% of it)"
    )


def collectives(compiled):
    """Returns what each program exchanges between devices, in lines."""
    lines = []
    for stage, found in compiled.items():
        if found.refused:
            continue
        kinds = [
            f"{kind} {count} ({runs:,} run)"
            for kind, (count, runs) in sorted(found.collectives.items())
        ]
        exchanged = ", ".join(kinds) or "none"
        lines.append(
            f"{stage}: compiled in {found.seconds:.0f} s; collectives: {exchanged}; "
            f"{found.flops / 1e12:,.2f} TFLOP and {found.bytes / 1e9:,.1f} GB by the "
            "compiler, which counts a loop once"
        )
    return "\n".join(lines)


def _gib(number):
    return f"{number / GIB:.2f}"


def _number(number):
    """Writes a number to three digits, and one from 100 on whole."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _table(heads, rows, left=1):
    return markdown_table(heads, rows, left).rstrip("\n")
