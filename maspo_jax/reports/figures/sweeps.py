"""Pictures of sweeps and races: curves of all seeds, who beats whom, what settings do.

Every picture says how many seeds it is of. They take plain data, and are as wide as a
column of a paper or two.
"""

import itertools
import math
import textwrap

import matplotlib
import matplotlib.figure
import matplotlib.ticker
import numpy as np

from maspo_jax.reports.figures.style import COLORS, MARKERS, SETTINGS, write
from maspo_jax.statistics import races

COLUMN = 3.4  # inches, of a column of a paper
PAIRS = 15  # of methods; of more, those with the first method are drawn
FEW = 5  # seeds, whose points say more than an interval of them
DASHES = ("-", "--", ":", "-.")


def seeds_of(values):
    """Returns how many seeds there are of each, as a text such as "16 seeds".

    Args:
        values: {name: what there is for each seed}.

    Raises:
        ValueError: there is nothing, or nothing of one.
    """
    counts = sorted({len(each) for each in values.values()})
    if not counts or not counts[0]:
        empty = [name for name, each in values.items() if not len(each)]
        raise ValueError(
            f"{', '.join(empty) or 'nothing'}: no run has measured anything; a figure "
            "needs at least one seed of each"
        )
    span = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{span} seed{'s' if counts[-1] > 1 else ''}"


def draw_curves(curves, metric, path):
    """Draws a metric over the steps: each seed, their mean and a 95 % band of it.

    Of few seeds there is no band.

    Methods have an axes each, with the mean of all others behind in gray.

    Args:
        curves: {name: a list of (steps, values), one for each seed}.
        metric: what the values are.
        path: of the picture, a PNG; an SVG is written beside it.

    Returns:
        The path.
    """
    count = seeds_of(curves)
    names = [*curves]
    columns = min(len(names), 4)
    rows = math.ceil(len(names) / columns)
    means = {name: mean_curve(curves[name]) for name in names}
    with matplotlib.rc_context(SETTINGS):
        size = max(COLUMN, 1.9 * columns), 0.6 + 1.6 * rows
        figure = matplotlib.figure.Figure(size, layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for place, axes in enumerate(grid.flat):
            if place >= len(names):
                axes.set_axis_off()
                continue
            name, color = names[place], COLORS[place % len(COLORS)]
            for other in names:
                steps, mean, _ = means[other]
                axes.plot(steps, mean, color="0.8", linewidth=0.7, zorder=1)
            for steps, values in curves[name]:
                axes.plot(steps, values, color=color, alpha=0.35, linewidth=0.6)
            steps, mean, half = means[name]
            axes.plot(steps, mean, color=color, zorder=3)
            if len(curves[name]) > FEW:
                low, high = mean - half, mean + half
                axes.fill_between(steps, low, high, color=color, alpha=0.2, linewidth=0)
            axes.set_title("\n".join(textwrap.wrap(name, 24)), fontsize=7)
        for axes in grid[-1]:
            axes.set_xlabel("step")
        figure.supylabel(metric, fontsize=9)
        few = min(map(len, curves.values())) <= FEW
        band = "and the mean" if few else "the mean and its 95 % band"
        figure.suptitle(f"{count}: each, {band}; gray: the others", fontsize=8)
        return write(figure, path, dpi=200)


def mean_curve(runs):
    """Returns the steps that all runs have, the mean there, and half of its interval.

    Args:
        runs: a list of (steps, values). What is not finite counts for nothing.
    """
    tables = [dict(zip(*run, strict=True)) for run in runs]
    steps = sorted(set.intersection(*map(set, tables)))
    values = np.array([[table[step] for step in steps] for table in tables], float)
    there = np.isfinite(values)
    count = np.maximum(there.sum(0), 1)
    mean = np.where(there, values, 0).sum(0) / count
    spread = np.where(there, values - mean, 0)
    deviation = np.sqrt((spread**2).sum(0) / np.maximum(count - 1, 1))
    half = [
        races.intervals.student_quantile(races.CONFIDENCE, n - 1) if n > 1 else 0.0
        for n in count
    ]
    return np.array(steps), mean, np.array(half) * deviation / np.sqrt(count)


def draw_improvement(verdict, path):
    """Draws the probability that one method beats another, with its interval.

    Args:
        verdict: of a race, as `verdict.json` has it. Of many methods, the pairs of the
            first one that the race lists are drawn.
        path: of the picture, a PNG; an SVG is written beside it.

    Returns:
        The path.
    """
    count = seeds_of({name: m["scores"] for name, m in verdict["methods"].items()})
    duels, baseline = verdict["duels"], verdict["baseline"]
    if len(duels) > PAIRS:
        duels = [d for d in duels if baseline in (d["better"], d["worse"])]
        rows = [_against(duel, baseline) for duel in duels]
        title = f"probability of beating {baseline}"
    else:
        rows = [
            (f"{d['better']} > {d['worse']}", d["probability"], d["real"])
            for d in duels
        ]
        title = "probability that one beats the other"
    rows.sort(key=lambda row: row[1]["mean"])
    with matplotlib.rc_context(SETTINGS):
        size = COLUMN, 0.9 + 0.22 * len(rows)
        figure = matplotlib.figure.Figure(size, layout="constrained")
        axes = figure.subplots()
        for place, (_, found, real) in enumerate(rows):
            color = COLORS[0] if real else "0.5"
            axes.plot([found["low"], found["high"]], [place, place], color=color)
            axes.plot(
                found["mean"],
                place,
                marker="o",
                color=color,
                markerfacecolor=color if real else "white",
                markersize=5,
            )
        axes.axvline(0.5, color="0.3", linewidth=0.8, linestyle="--")
        axes.set_yticks(range(len(rows)), [row[0] for row in rows])
        axes.set(xlim=(-0.02, 1.02), xlabel=title)
        axes.set_title(f"{count}, 95 % intervals; full: certain after Holm", fontsize=8)
        return write(figure, path, dpi=200)


def _against(duel, baseline):
    """Returns the row of the other method of a duel."""
    if duel["worse"] == baseline:
        return duel["better"], duel["probability"], duel["real"]
    p = duel["probability"]
    turned = {"mean": 1 - p["mean"], "low": 1 - p["high"], "high": 1 - p["low"]}
    return duel["worse"], turned, duel["real"]


def draw_sensitivity(rows, settings, metric, path):
    """Draws maps of the mean of a metric over every two settings.

    Of other settings, what stands in a cell is the mean over them.

    Args:
        rows: dicts, one for each run: the settings, `seed` and `score`, which is NaN
            for one that collapsed and counts as the least there is.
        settings: names of at least two settings that are numbers.
        metric: what the score is.
        path: of the picture, a PNG; an SVG is written beside it.

    Returns:
        The path.
    """
    cells = {}
    for row in rows:
        place = tuple(row[name] for name in settings)
        cells.setdefault(place, []).append(row["score"])
    count = seeds_of(cells)
    least = np.nanmin([row["score"] for row in rows])
    pairs = [*itertools.combinations(settings, 2)]
    with matplotlib.rc_context(SETTINGS | {"axes.grid": False}):
        size = max(COLUMN, 2.7 * len(pairs)), 2.8
        figure = matplotlib.figure.Figure(size, layout="constrained")
        grid = figure.subplots(1, len(pairs), squeeze=False)[0]
        tables = {pair: _means(rows, *pair, least) for pair in pairs}
        low = min(np.nanmin(table) for _, _, table in tables.values())
        high = max(np.nanmax(table) for _, _, table in tables.values())
        for axes, (across, down) in zip(grid, pairs, strict=True):
            x, y, table = tables[across, down]
            shown = {"origin": "lower", "cmap": "cividis", "vmin": low, "vmax": high}
            image = axes.imshow(table, **shown)
            for (i, j), value in np.ndenumerate(table):
                if np.isfinite(value):
                    color = "white" if value < (low + high) / 2 else "black"
                    text = {"ha": "center", "va": "center", "color": color}
                    axes.text(j, i, f"{value:.2f}", fontsize=7, **text)
            axes.set_xticks(range(len(x)), [f"{value:g}" for value in x])
            axes.set_yticks(range(len(y)), [f"{value:g}" for value in y])
            axes.set(xlabel=across.split(".")[-1], ylabel=down.split(".")[-1])
        figure.colorbar(image, ax=grid, label=metric)
        figure.suptitle(f"mean of {count} in each cell", fontsize=8)
        return write(figure, path, dpi=200)


def _means(rows, across, down, least):
    """Returns the values of two settings, and the mean score of every two of them."""
    x, y = (sorted({row[name] for row in rows}) for name in (across, down))
    table = np.full((len(y), len(x)), np.nan)
    for i, j in itertools.product(range(len(y)), range(len(x))):
        own = [r["score"] for r in rows if (r[across], r[down]) == (x[j], y[i])]
        if own:
            table[i, j] = np.mean(np.where(np.isnan(own), least, own))
    return x, y, table


def draw_profiles(scores, metric, path):
    """Draws performance profiles: the share of runs with a score of so much or more.

    Args:
        scores: {method: the score of each seed, None for one that collapsed}.
        metric: what the score is.
        path: of the picture, a PNG; an SVG is written beside it.

    Returns:
        The path.
    """
    count = seeds_of(scores)
    with matplotlib.rc_context(SETTINGS):
        rows = math.ceil(len(scores) / 2)
        size = COLUMN, 2.4 + 0.17 * rows
        figure = matplotlib.figure.Figure(size, layout="constrained")
        axes = figure.subplots()
        finite = [v for each in scores.values() for v in each if v is not None]
        low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
        levels = np.linspace(low, high, 201)
        for place, (name, own) in enumerate(scores.items()):
            values = np.array([-np.inf if v is None else v for v in own])
            share = (values[None] >= levels[:, None]).mean(1)
            axes.plot(
                levels,
                share,
                color=COLORS[place % len(COLORS)],
                linestyle=DASHES[place // len(COLORS) % len(DASHES)],
                marker=MARKERS[place % len(MARKERS)],
                markevery=(7 * place % 40, 40),
                markersize=3.5,
                linewidth=1.2,
                label=name,
            )
        axes.set(xlabel=metric, ylabel="share of runs", ylim=(-0.02, 1.02))
        axes.yaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1))
        axes.set_title(f"{count}; collapsed runs never reach a level", fontsize=8)
        figure.legend(loc="outside lower center", ncols=2, fontsize=6.5)
        return write(figure, path, dpi=200)
