"""Curves over the steps of runs."""

import pathlib

import matplotlib.figure
import matplotlib.ticker

from maspo_jax.training import runs

# Okabe and Ito's palette, told apart by color-blind readers.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def draw_learning_curves(folders, path):
    """Draws reward, response length and what the gate saw of one or more runs.

    Args:
        folders: of the runs.
        path: of the picture; its suffix says the format.

    Returns:
        The path.
    """
    figure = matplotlib.figure.Figure(figsize=(12, 3.6), layout="constrained")
    right, long, outside = figure.subplots(1, 3)
    for index, folder in enumerate(folders):
        name = pathlib.Path(folder).name
        color = COLORS[index % len(COLORS)]
        steps = runs.read_metrics(folder, "reinforcement")
        held_out = runs.read_metrics(folder, "held_out")
        sampled, greedy = f"{name}, sampled", f"{name}, held-out, greedy"
        plot(right, steps, "reward", color, sampled, alpha=0.45)
        plot(right, held_out, "accuracy", color, greedy, marker="o", markersize=4)
        plot(long, steps, "length", color, sampled, alpha=0.45)
        plot(long, held_out, "length", color, greedy, marker="o", markersize=4)
        plot(outside, steps, "out_of_band_last", color, name)
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
        axes.legend(fontsize=8, loc="upper right" if axes is outside else "lower right")
    figure.savefig(path, dpi=150)
    return path


def plot(axes, lines, metric, color, label, **style):
    """Draws one metric of the lines of a metrics log."""
    x, y = [line["step"] for line in lines], [line[metric] for line in lines]
    axes.plot(x, y, color=color, label=label, **style)
