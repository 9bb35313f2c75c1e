"""What a sweep would do and take, before anything is trained."""

import math

import rich.table

from maspo_jax.sweeps import cost, run, together
from maspo_jax.sweeps.search import Search
from maspo_jax.sweeps.sweep import trials_of

ROWS = 40  # of the table of trials; of more, the first and the last are shown
PROGRAMS = 6  # of a group: those of `together.Programs`


def show(sweep, folder, console):
    """Prints the trials, what trains together, what compiles, and the cost.

    Args:
        sweep: the `Sweep`.
        folder: of it; nothing is written there.
        console: a `rich.console.Console`.
    """
    if isinstance(sweep.trials, Search):
        asked = sweep.trials
        console.print(
            f"a search: {asked.trials} trials, {asked.batch} proposed at a time by "
            f"{asked.sampler}, each with {len(sweep.seeds)} seeds",
            soft_wrap=True,
        )
        settings = [{name: kind.at(0.0) for name, kind in asked.space.items()}]
        trials, count = trials_of(sweep.experiment, settings), asked.trials
    else:
        trials = trials_of(sweep.experiment, sweep.trials, sweep.names)
        count = len(trials)
        console.print(_table(trials, sweep.seeds))
    limit = cost.memory_limit()
    groups = run.planned(sweep, trials, folder, limit)
    for group in groups:
        console.print(f"- {_group(group)}", soft_wrap=True)
    programs = PROGRAMS * len([group for group in groups if not group.alone])
    alone = len([group for group in groups if group.alone])
    console.print(
        f"programs to compile: {programs} for {len(groups) - alone} groups that train "
        f"together, and those of {alone} runs that train alone",
        soft_wrap=True,
    )
    for line in _cost(sweep, groups, count / len(trials), limit):
        console.print(line, soft_wrap=True)


def _table(trials, seeds):
    table = rich.table.Table(title=f"{len(trials)} trials, {len(seeds)} seeds each")
    table.add_column("trial", justify="right")
    table.add_column("setting")
    shown = trials
    if len(trials) > ROWS:
        shown = [*trials[: ROWS // 2], None, *trials[-ROWS // 2 :]]
    for trial in shown:
        if trial is None:
            table.add_row("...", f"{len(trials) - ROWS} more")
        else:
            table.add_row(f"{trial.number:04d}", trial.label)
    return table


def _group(group):
    count = len(group.runs)
    if group.alone:
        return f"{group.runs[0].name} trains alone: {group.alone} is set"
    differ = together.differing([one.experiment for one in group.runs])
    what = f": they differ in {', '.join(differ)}" if differ else ""
    chunks = math.ceil(count / group.size)
    return (
        f"{count} runs train together, {group.size} at a time ({chunks} chunks){what}"
    )


def _cost(sweep, groups, share, limit):
    """Yields lines on memory and time."""
    most = 0
    for group in groups:
        first = group.runs[0].experiment
        used = group.size * cost.bytes_held(first) + cost.bytes_used(first)
        most = max(most, used)
    known = f" of {limit / 2**30:.1f} GiB" if limit else ""
    yield f"memory, by arithmetic: {most / 2**20:,.0f} MiB{known} of a device"
    total, starts = 0, {}
    for group in groups:
        for one in group.runs:
            parts = cost.products(one.experiment)
            starts[one.experiment.seed] = parts.pop("fine-tuning", 0)
            total += sum(parts.values())
    total = total * share + sum(starts.values())
    speed = cost.rate()
    minutes = total / (cost.EFFICIENCY * speed) / 60
    spent = f"{minutes:.0f} minutes" if minutes >= 1 else "less than a minute"
    yield (
        f"time, by arithmetic: {total:.2g} operations, about {spent} of this device "
        f"({speed / 1e9:.0f} GFLOP/s in a large product, {cost.EFFICIENCY:.0%} "
        "of it reached), and compiling; supervised training once for each seed"
    )
