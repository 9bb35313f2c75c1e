"""Curves over the steps of runs."""

import pathlib

import matplotlib.figure
import matplotlib.ticker

from maspo_jax.runs import run_folder

# Okabe and Ito's palette, told apart by color-blind readers.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX"  # told apart where curves lie on each other


def draw_learning_curves(folders, path):
    """Draws reward, response length and what the gate saw of one or more runs.

    Args:
        folders: of the runs.
        path: of the picture; its suffix says the format.

    Returns:
        The path.
    """
    figure = matplotlib.figure.Figure(figsize=(12, 4), layout="constrained")
    right, long, outside = figure.subplots(1, 3)
    for index, folder in enumerate(folders):
        name = pathlib.Path(folder).resolve().name
        color = COLORS[index % len(COLORS)]
        marked = {"marker": MARKERS[index % len(MARKERS)], "markersize": 5}
        steps = run_folder.read_metrics(folder, "reinforcement")
        validation = run_folder.read_metrics(folder, "validation")
        sampled, greedy = f"{name}, sampled", f"{name}, held-out, greedy"
        plot(right, steps, "reward", color, label=sampled, alpha=0.45)
        plot(right, validation, "accuracy", color, label=greedy, **marked)
        plot(long, steps, "response_length/mean", color, alpha=0.45)
        plot(long, validation, "response_length/mean", color, **marked)
        plot(outside, steps, "out_of_band_last", color, alpha=0.45)
    right.set(title="Right answers", ylim=(0, 1))
    long.set(title="Response length (tokens)", ylim=(0, None))
    outside.set(
        title="Uncertain tokens outside [0.8, 1.2]",
        ylim=(0, None),
    )
    for axes in (right, outside):
        axes.yaxis.set_major_formatter(
            matplotlib.ticker.PercentFormatter(1, decimals=0)
        )
    for axes in (right, long, outside):
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    columns = min(2 * len(folders), 6)
    figure.legend(loc="outside lower center", ncols=columns, fontsize=8)
    figure.savefig(path, dpi=150)
    return path


def plot(axes, lines, metric, color, **style):
    """Draws one metric of the lines of a metrics log."""
    x, y = [line["step"] for line in lines], [line[metric] for line in lines]
    axes.plot(x, y, color=color, **style)
