"""A plan, made and said: by arithmetic at once, then by the compiler of the machine."""

from maspo_jax.plan import compiled, devices, programs, report, search
from maspo_jax.plan.job import SHARE, job_of


def make(experiment, slice_, say, status, find=False):
    """Says what an experiment takes on a slice.

    Args:
        experiment: the `Experiment`.
        slice_: the `Slice`.
        say: called with each piece of text.
        status: returns a context in which the compiler works, given what it works on.
        find: whether to look for the largest wave and microbatch first.

    Returns:
        Whether all stages fit.

    Raises:
        ValueError, OSError: the devices cannot share the work, or are none.
    """
    job = job_of(experiment, slice_)
    if find:
        job = search.search(job)
    say(report.heading(job))
    try:
        absent = devices.compile_only(slice_)
    except devices.NoCompiler as reason:
        say(f"{reason}: what follows is arithmetic on shapes")
        return _conclude(job, {}, {}, say, find)
    say(report.memory_table(job))
    made, beside = {}, {}
    for stage in job.stages:
        job, made[stage], beside[stage] = _compile(job, stage, absent, status, find)
    return _conclude(job, made, beside, say, find)


def found(job, fit):
    """Says the settings that a search ends with, as words of the command line.

    Args:
        job: the `Job` of the search.
        fit: whether all stages fit with them.
    """
    words = [*search.settings(job, "sample"), *search.settings(job, "update")]
    what = "found:" if fit else "nothing fits, down to"
    return f"{what} {' '.join(words)}"


def _compile(job, stage, absent, status, find):
    """Compiles a stage; in a search, with less until it fits.

    Returns:
        The job, the `Compiled`, and the bytes held beside it.
    """
    while True:
        program = programs.programs_of(job, absent)[stage]
        with status(f"compiling: {stage}"):
            result = compiled.compile_program(program)
        needed = report.needed_of(result, program.beside)
        fits = not result.refused and needed <= SHARE * job.slice.hbm
        below = None if fits or not find else search.smaller(job, stage)
        if below is None:
            return job, result, program.beside
        job = below


def _conclude(job, made, beside, say, find):
    problem = report.does_not_fit(job, made, beside)
    say(found(job, problem is None) if find else "")
    say(report.collectives(made))
    say(report.memory_table(job, made, beside))
    say(report.time_table(job))
    say(report.summary(job))
    hbm = job.slice.hbm / devices.GIB
    if job.slice.chip.platform == "gpu":
        say(devices.FRACTION)
    say(problem or f"all stages fit {SHARE:.0%} of {hbm:g} GiB")
    return problem is None
