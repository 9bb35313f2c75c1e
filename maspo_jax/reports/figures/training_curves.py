"""Curves over the steps of runs."""

import math
import pathlib

import matplotlib
import matplotlib.figure
import matplotlib.lines
import matplotlib.ticker

from maspo_jax.reports.figures.style import COLORS, MARKERS, SETTINGS
from maspo_jax.runs import run_folder

COLUMNS = 4  # of the legend
LONGEST = 31  # characters of a name in it
LINE = 0.2  # inches that a line of the legend takes


def draw_learning_curves(folders, path):
    """Draws reward, response length and what the gate saw of one or more runs.

    A color is a run: its pale line what was sampled in training, its marks the
    held-out problems. The figure grows with its legend.

    Args:
        folders: of the runs.
        path: of the picture; its suffix says the format.

    Returns:
        The path.
    """
    with matplotlib.rc_context(SETTINGS):
        figure = _learning_curves(folders)
        figure.savefig(path, dpi=150)
    return path


def _learning_curves(folders):
    rows = -(-len(folders) // COLUMNS)  # of the legend, which the figure grows by
    size = 12, 4 + LINE * rows
    figure = matplotlib.figure.Figure(figsize=size, layout="constrained")
    curves = []  # of the held-out problems, one for each run
    right, long, outside = figure.subplots(1, 3)
    for index, folder in enumerate(folders):
        color = COLORS[index % len(COLORS)]
        # Once the colors are used up, the same color has another marker.
        marker = MARKERS[(index + index // len(COLORS)) % len(MARKERS)]
        marked = {"marker": marker, "markersize": 5, "clip_on": False, "zorder": 3}
        steps = run_folder.read_metrics(folder, "reinforcement")
        validation = run_folder.read_metrics(folder, "validation")
        name = shortened(pathlib.Path(folder).resolve().name)
        plot(right, steps, "reward", color, alpha=0.45)
        curves.append(plot(right, validation, "accuracy", color, label=name, **marked))
        plot(long, steps, "response_length/mean", color, alpha=0.45)
        plot(long, validation, "response_length/mean", color, **marked)
        plot(outside, steps, "out_of_band_last", color, alpha=0.45)
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
    columns = min(len(folders), COLUMNS)
    # A legend is filled column by column, but read row by row.
    by_row = [curve for first in range(columns) for curve in curves[first::columns]]
    place = "outside lower center"
    figure.legend(handles=by_row, loc=place, ncols=columns)
    kinds = [
        matplotlib.lines.Line2D([], [], color="gray", label="sampled", alpha=0.45),
        matplotlib.lines.Line2D(
            [], [], color="gray", label="held-out", marker="o", markersize=5
        ),
    ]
    right.legend(handles=kinds, loc="best")
    return figure


def from_zero(top):
    """Returns limits of an axis that show a curve at zero and one at the top whole."""
    top = top if 0 < top < math.inf else 1.0  # infinite where there is no curve
    return -0.02 * top, 1.05 * top


def shortened(name):
    """Returns the name of a run, its middle left out where the legend has no room."""
    if len(name) <= LONGEST:
        return name
    ends = (LONGEST - 1) // 2
    return f"{name[:ends]}\N{HORIZONTAL ELLIPSIS}{name[-ends:]}"


def plot(axes, lines, metric, color, **style):
    """Draws one metric of the lines of a metrics log. Returns its curve."""
    x, y = [line["step"] for line in lines], [line[metric] for line in lines]
    (curve,) = axes.plot(x, y, color=color, **style)
    return curve
