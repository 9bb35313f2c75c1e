"""Pictures of evaluations: scores with their intervals, and two compared."""

import matplotlib
import matplotlib.figure
import matplotlib.ticker

from maspo_jax.reports.figures.style import (
    BLUE,
    COLORS,
    MARKERS,
    SETTINGS,
    VERMILION,
    write,
)
from maspo_jax.statistics.comparison import ALPHA

PERCENT = matplotlib.ticker.PercentFormatter(1, decimals=0)


def draw_results(title, results, path):
    """Draws pass@k over k with bands, and avg@n with intervals.

    Args:
        title: what was evaluated.
        results: as `tables.evaluation_markdown` takes them.
        path: of the picture, a PNG; an SVG is written beside it.

    Returns:
        The path.
    """
    benchmarks = results["benchmarks"]
    with matplotlib.rc_context(SETTINGS):
        height = max(3.6, 1.6 + 0.35 * len(benchmarks))
        figure = matplotlib.figure.Figure((9, height), layout="constrained")
        curves, points = figure.subplots(1, 2)
        for index, (name, found) in enumerate(benchmarks.items()):
            color = COLORS[index % len(COLORS)]
            marker = MARKERS[index % len(MARKERS)]
            k, rows = [int(k) for k in found["pass"]], [*found["pass"].values()]
            low, high = ([row[end] for row in rows] for end in ("low", "high"))
            mean = [row["mean"] for row in rows]
            curves.plot(k, mean, color=color, marker=marker, markersize=4, label=name)
            curves.fill_between(k, low, high, color=color, alpha=0.15, linewidth=0)
            _point(points, index, found["avg"], color, marker)
        samples = next(iter(benchmarks.values()))["samples"]
        names = [*benchmarks]
        if results["average"]:
            _point(points, len(names), results["average"]["avg"], "#000000", "*")
            names.append("mean")
        curves.set_xscale("log", base=2)
        curves.set_xticks(k, map(str, k))
        curves.set(
            title="pass@k, with 95 % bands", xlabel="k responses", ylim=(-0.02, 1.02)
        )
        curves.yaxis.set_major_formatter(PERCENT)
        curves.legend(loc="best")
        _benchmarks_down(points, names)
        points.set(title=f"avg@{samples}, with 95 % intervals", xlim=(-0.02, 1.02))
        points.xaxis.set_major_formatter(PERCENT)
        figure.suptitle(title, fontsize=10)
        return write(figure, path)


def draw_comparison(names, compared, path):
    """Draws the differences of two evaluations, with what could have been found.

    Args:
        names: of the two evaluations.
        compared: as `evaluation.compare_folders` returns it.
        path: of the picture, a PNG; an SVG is written beside it.

    Returns:
        The path.
    """
    scores = compared["scores"]
    with matplotlib.rc_context(SETTINGS):
        rows = max(map(len, scores.values()))
        size = 4.5 * len(scores), max(2.6, 1.8 + 0.4 * rows)
        figure = matplotlib.figure.Figure(size, layout="constrained")
        axes = figure.subplots(1, len(scores), squeeze=False)[0]
        for panel, (score, found) in zip(axes, scores.items(), strict=True):
            ends = [
                abs(row[end] or 0)
                for row in found.values()
                for end in ("low", "high", "detectable")
            ]
            limit = 1.08 * max(ends)
            for place, row in enumerate(found.values()):
                reach = limit if row["detectable"] is None else row["detectable"]
                panel.barh(place, 2 * reach, 0.6, -reach, color="#999999", alpha=0.25)
                real = row["corrected"] < ALPHA
                point = {"mean": row["difference"], **row}
                _point(panel, place, point, VERMILION if real else BLUE, "Do"[not real])
            panel.axvline(0, color="black", linewidth=0.8)
            _benchmarks_down(panel, [*found])
            panel.set(
                title=f"{score}: A - B",
                xlabel="percentage points",
                xlim=(-limit, limit),
            )
            points = matplotlib.ticker.FuncFormatter(_points)
            panel.xaxis.set_major_formatter(points)
        figure.suptitle(
            f"A: {names[0]}   B: {names[1]}\ndiamonds: real differences; circles: not "
            "told apart; gray: too small to be found 4 times in 5",
            fontsize=9,
        )
        return write(figure, path)


def _points(share, _):
    return f"{100 * share:+.3g}" if abs(share) > 1e-9 else "0"


def _point(axes, place, found, color, marker):
    low, high = found["mean"] - found["low"], found["high"] - found["mean"]
    axes.errorbar(
        found["mean"],
        place,
        xerr=[[max(low, 0)], [max(high, 0)]],
        color=color,
        marker=marker,
        markersize=6,
        capsize=3,
    )


def _benchmarks_down(axes, names):
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
