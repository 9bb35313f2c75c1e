"""Curves over the steps of runs."""

import collections
import dataclasses
import json
import logging
import math
import os
import pathlib

import matplotlib
import matplotlib.figure
import matplotlib.lines
import matplotlib.ticker
import numpy as np

from maspo_jax.config import Experiment
from maspo_jax.reports.figures.style import COLORS, MARKERS, SETTINGS, write
from maspo_jax.runs import run_folder

COLUMNS = 4  # of the legend
LONGEST = 31  # characters of a name in it
LINE = 0.2  # inches that a line of the legend takes
PALE = 0.45  # opacity of what was sampled in training
FEW = 50  # tokens, of which fewer make a share that jumps
logger = logging.getLogger(__name__)


def draw_learning_curves(folders, path):
    """Draws reward, response length and what the gate saw of one or more runs.

    A color is a run, or all runs that differ in nothing but the seed: their mean, and
    a band from the least to the most of them. A pale line is what was sampled in
    training, marks are the held-out problems. The figure grows with its legend.

    Args:
        folders: of the runs.
        path: of the picture, a PNG; an SVG is written beside it.

    Returns:
        The path.
    """
    with matplotlib.rc_context(SETTINGS):
        return write(_learning_curves(by_setting(folders)), path)


@dataclasses.dataclass(frozen=True)
class Setting:
    """Runs that differ in nothing but the seed."""

    name: str
    folders: tuple

    def numbers(self, stage, metric):
        """Returns the steps that all runs have, [S], and a metric there, [runs, S].

        A metric that a run of an earlier version lacks is NaN.
        """
        found = []
        for folder in self.folders:
            lines = run_folder.read_metrics(folder, stage)
            found.append({line["step"]: line.get(metric, np.nan) for line in lines})
        steps = sorted(set.intersection(*map(set, found)))
        values = [[run[step] for step in steps] for run in found]
        return np.array(steps), np.array(values, float).reshape(len(found), len(steps))


def by_setting(folders):
    """Returns the `Setting`s of runs, in the order of their first one.

    A folder that is named twice is one run. Runs of one setting and one seed are
    repetitions, not seeds: each begins another `Setting`.
    """
    groups = {}  # (setting, how many runs of the same seed came before) -> folders
    once, counts = {}, collections.Counter()
    for folder in folders:
        once.setdefault(pathlib.Path(folder).resolve(), folder)
    for folder in once.values():
        run = settings, _ = _settings_and_seed(folder)
        groups.setdefault((settings, counts[run]), []).append(folder)
        counts[run] += 1
    groups = list(map(tuple, groups.values()))
    return list(map(Setting, _names(groups), groups))


def _settings_and_seed(folder):
    """Returns what a run was begun with but for its seed, as text, and its seed."""
    try:
        record = run_folder.RUN.read(folder)
    except (ValueError, OSError) as error:
        logger.warning("%s; drawn as a run like no other", error)
        return str(pathlib.Path(folder).resolve()), None
    names = {field.name for field in dataclasses.fields(Experiment)} | {"files", "code"}
    settings = {name: record.get(name) for name in sorted(names - {"seed"})}
    return json.dumps(settings), record.get("seed")


def _names(groups):
    """Returns what the legend calls groups of runs: no two of them alike.

    Those that would be are called by their outer folders as well, as many as it takes;
    what is alike even then, shortened, has a number.
    """
    names = [_name(group, 1) for group in groups]
    depth = max(len(_parts(folder)) for group in groups for folder in group)
    for parts in range(2, depth + 1):
        for index in _alike(names):
            names[index] = _name(groups[index], parts)
    for index in _alike(names):
        names[index] = f"{index + 1}: {_name(groups[index], 1)}"
    return names


def _alike(names):
    counts = collections.Counter(names)
    return [index for index, name in enumerate(names) if counts[name] > 1]


def _parts(folder):
    return pathlib.Path(folder).resolve().parts


def _name(folders, parts):
    """Returns what the legend calls a run, or several that differ in the seed.

    Args:
        folders: of the runs.
        parts: how many names of each path to go by, from the innermost.
    """
    names = [str(pathlib.Path(*_parts(folder)[-parts:])) for folder in folders]
    if len(names) == 1:
        return shortened(names[0])
    common = os.path.commonprefix(names).rstrip("0123456789_-./ ")
    common = common.removesuffix("seed").rstrip("_-./ ")
    if not common:
        gate = run_folder.RUN.read(folders[0]).get("objective", {}).get("gate", {})
        common = str(gate.get("class", names[0])).rpartition(":")[2]
    seeds = f" ({len(names)} seeds)"
    return shortened(common, LONGEST - len(seeds)) + seeds


def _learning_curves(settings):
    rows = -(-len(settings) // COLUMNS)  # of the legend, which the figure grows by
    several = any(len(setting.folders) > 1 for setting in settings)
    size = 12, 4 + LINE * (rows + several)
    figure = matplotlib.figure.Figure(figsize=size, layout="constrained")
    curves, few = [], []  # of the held-out problems, one for each; counts of tokens
    right, long, outside = figure.subplots(1, 3)
    for index, setting in enumerate(settings):
        color = COLORS[index % len(COLORS)]
        # Once the colors are used up, the same color has another marker.
        marker = MARKERS[(index + index // len(COLORS)) % len(MARKERS)]
        marked = {"marker": marker, "markersize": 5, "clip_on": False, "zorder": 3}
        sampled = lambda metric, s=setting: s.numbers("reinforcement", metric)
        held_out = lambda metric, s=setting: s.numbers("validation", metric)
        plot(right, *sampled("reward"), color, band=False, alpha=PALE)
        accuracy = held_out("accuracy")
        curves.append(plot(right, *accuracy, color, label=setting.name, **marked))
        length = "response_length/mean"
        plot(long, *sampled(length), color, band=False, alpha=PALE)
        plot(long, *held_out(length), color, **marked)
        _, counts = sampled("uncertain_tokens_last")
        few.append(counts)
        plot_shares(outside, *sampled("out_of_band_last"), counts, color)
    # A curve at an end of the scale is seen whole.
    right.set(title="Right answers", ylim=(-0.02, 1.02))
    long.set(title="Response length (tokens)")
    outside.set(title="Uncertain tokens outside [0.8, 1.2]")
    for axes in (long, outside):
        axes.set_ylim(*from_zero(axes.dataLim.ymax))
    for axes in (right, outside):
        percent = matplotlib.ticker.PercentFormatter(1, decimals=None)
        axes.yaxis.set_major_formatter(percent)
    for axes in (right, long, outside):
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
    columns = min(len(settings), COLUMNS)
    # A legend is filled column by column, but read row by row.
    by_row = [curve for first in range(columns) for curve in curves[first::columns]]
    about = "lines: mean of the seeds; bands: from the least to the most of them"
    figure.legend(
        handles=by_row,
        loc="outside lower center",
        ncols=columns,
        title=about if several else None,
        title_fontsize=SETTINGS["legend.fontsize"],
    )
    _explain(right, outside, few)
    return figure


def _explain(right, outside, counts):
    """Draws the legends that say what kinds of lines there are."""
    gray = {"color": "gray", "xdata": [], "ydata": []}
    sampled = matplotlib.lines.Line2D(label="sampled", alpha=PALE, **gray)
    held_out = matplotlib.lines.Line2D(
        label="held-out", marker="o", markersize=5, **gray
    )
    right.legend(handles=[sampled, held_out], loc="best")
    counted = np.concatenate([each.ravel() for each in counts])
    counted = counted[np.isfinite(counted)]
    if not counted.size:
        return
    least, most = (f"{number:,.0f}" for number in (counted.min(), counted.max()))
    many = matplotlib.lines.Line2D(
        label=f"share of {least} to {most} tokens", alpha=PALE, **gray
    )
    kinds = [many]
    if counted.min() < FEW:
        label = f"of fewer than {FEW}: it jumps"
        kinds.append(
            matplotlib.lines.Line2D(label=label, linestyle=":", alpha=PALE, **gray)
        )
    outside.legend(handles=kinds, loc="best")


def from_zero(top):
    """Returns limits of an axis that show a curve at zero and one at the top whole."""
    top = top if 0 < top < math.inf else 1.0  # infinite where there is no curve
    return -0.02 * top, 1.05 * top


def shortened(name, longest=LONGEST):
    """Returns the name of a run, its middle left out where the legend has no room."""
    if len(name) <= longest:
        return name
    ends = (longest - 1) // 2
    return f"{name[:ends]}\N{HORIZONTAL ELLIPSIS}{name[-ends:]}"


def plot(axes, steps, values, color, band=True, **style):
    """Draws the mean of some runs, and the band between them. Returns the curve.

    Args:
        axes: where.
        steps: [S].
        values: [runs, S].
        color: of the curve.
        band: whether there is one, if there are several runs.
        **style: of the curve.
    """
    (curve,) = axes.plot(steps, values.mean(0), color=color, **style)
    if band and len(values) > 1:
        fill(axes, steps, values, color)
    return curve


def fill(axes, steps, values, color):
    """Draws the band from the least to the most of some runs, [runs, S]."""
    low, high = values.min(0), values.max(0)
    axes.fill_between(steps, low, high, color=color, alpha=0.15, linewidth=0)


def plot_shares(axes, steps, shares, counts, color):
    """Draws shares of tokens, dotted where they are shares of few.

    Args:
        axes: where.
        steps: [S].
        shares: [runs, S].
        counts: [runs, S], how many tokens; NaN where that is not known.
        color: of the curve.
    """
    few = (counts < FEW).any(0)
    plot(axes, steps, np.where(few, np.nan, shares), color, band=False, alpha=PALE)
    wide = np.pad(few, 1)
    beside = wide[:-2] | few | wide[2:]  # the dots reach what is solid
    style = {"alpha": PALE, "linestyle": ":"}
    plot(axes, steps, np.where(beside, shares, np.nan), color, band=False, **style)
    if len(shares) > 1:
        fill(axes, steps, shares, color)
