"""How every figure looks, and how those of gates are saved."""

import pathlib

import matplotlib
import matplotlib.figure

BLUE, VERMILION = "#0072B2", "#D55E00"
# Okabe and Ito's palette without its yellow, told apart by color-blind readers; the
# markers tell apart what overlaps.
COLORS = (BLUE, VERMILION, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX"
SHADES = ("#56B4E9", "#0072B2", "#CC79A7", "#D55E00")  # of one family of curves
SETTINGS = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "svg.hashsalt": "maspo_jax",  # the same drawing gives the same file
}


def save(draw, folder, **options):
    """Draws a figure and saves it as PNG and as SVG.

    Args:
        draw: a function from an empty figure, and options; its name names the files.
        folder: a path.
        options: passed on.

    Returns:
        The path of the PNG.
    """
    path = pathlib.Path(folder) / f"{draw.__name__}.png"
    with matplotlib.rc_context(SETTINGS):
        figure = matplotlib.figure.Figure(layout="constrained")
        draw(figure, **options)
        write(figure, path, dpi=200)
    return path


def write(figure, path, dpi=150):
    """Writes a figure as PNG, and as SVG beside it. Returns the path of the PNG."""
    path = pathlib.Path(path)
    figure.savefig(path, dpi=dpi)
    figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    return path
