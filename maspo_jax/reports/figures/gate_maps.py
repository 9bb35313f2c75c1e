"""Maps of MASPO's width and gate, DAC's bounds, and how BAPO fits its own."""

import jax
import jax.numpy as jnp
import numpy as np

from maspo_jax.objectives import gates
from maspo_jax.reports.figures import style
from maspo_jax.reports.figures.methods import METHODS, gate_on, synthetic_batch


def maspo_maps(figure):
    """The width over probability and advantage, the gate over ratio and probability."""
    figure.set_size_inches(7.2, 3.1)
    width, opened = figure.subplots(1, 2)
    # Contour labels are placed in the scale that holds when they are drawn.
    width.set(xscale="log", xlabel="q", ylabel="advantage", title="Width")
    opened.set(xscale="log", yscale="log", xlabel="ratio", ylabel="q")
    opened.set_title("Gate, A = 1")
    q, advantage = np.geomspace(1e-4, 1, 200), np.linspace(-4, 4, 161)
    sigma = gates.Maspo().sigma(*np.meshgrid(advantage, np.log(q), indexing="ij"))
    image = width.pcolormesh(q, advantage, sigma, cmap="cividis", rasterized=True)
    figure.colorbar(image, ax=width, label=r"width $\sigma$")
    lines = width.contour(q, advantage, sigma, [2, 4, 8], colors="white")
    width.clabel(lines, fontsize=7)
    ratio = np.geomspace(1, 100, 200)
    value = gate_on(gates.Maspo(), ratio[None, :], 1.0, q[:, None])
    value = np.where(ratio[None, :] * q[:, None] <= 1, value, np.nan)
    image = opened.pcolormesh(
        ratio, q, value, cmap="cividis", vmin=0, vmax=1, rasterized=True
    )
    figure.colorbar(image, ax=opened, label="gate")
    lines = opened.contour(ratio, q, value, [0.1, 0.5, 0.9], colors="white")
    opened.clabel(lines, fontsize=7)
    opened.text(30, 0.25, r"$\pi > 1$", ha="center", fontsize=8)
    for axes in (width, opened):
        axes.grid(False)


def dac_bounds(figure):
    """The bounds of DAC against probability, with the fixed ones of GRPO."""
    figure.set_size_inches(4.2, 3.2)
    axes = figure.subplots()
    q = np.geomspace(1e-3, 1, 600)
    lower, upper = gates.Dac().bounds(jnp.log(q))
    axes.fill_between(q, lower, upper, color=style.BLUE, alpha=0.12, lw=0)
    axes.plot(q, upper, color=style.BLUE, label="DAC")
    axes.plot(q, lower, color=style.BLUE)
    for bound in (0.8, 1.2):
        axes.axhline(
            bound, color="black", lw=1, ls="--", label="GRPO" if bound == 1.2 else None
        )
    for where, height in ((1 / 1.2, 1.2), (1.0, 0.8)):
        axes.plot(where, height, "o", color=style.VERMILION, ms=5, clip_on=False)
    axes.annotate(
        "where they meet",
        (1 / 1.2, 1.2),
        (0.06, 0.63),
        fontsize=8,
        arrowprops={"arrowstyle": "-", "lw": 0.6},
    )
    axes.set(xscale="log", yscale="log", xlabel="q", ylabel="bounds of the ratio")
    axes.set_yticks([0.5, 1, 2, 5, 10], ["0.5", "1", "2", "5", "10"])
    axes.minorticks_off()
    axes.legend()


def bapo_search(figure):
    """The bounds BAPO fits to one batch, against the target it searches for.

    Read from left to right, it is the trace of the search: where it stands once the
    positive contribution has reached what is on the axis.
    """
    figure.set_size_inches(7.2, 3.0)
    tokens = synthetic_batch()
    code, paper = figure.subplots(1, 2, sharey=True)
    for axes, gate, targets, label in (
        (code, gates.Bapo(), (0.92, 1.0), "positive / negative contribution to reach"),
        (paper, gates.PaperBapo(), (0.48, 0.52), "positive share to reach"),
    ):
        target = jnp.linspace(*targets, 161)
        fit = lambda target, gate=gate: gate.replace(target=target).fit(
            *tokens, total=lambda number: number
        )
        fitted = jax.vmap(fit)(target)  # a sweep over one setting
        for bound, name, color in (
            (fitted.upper, "upper bound", style.BLUE),
            (fitted.lower, "lower bound", style.VERMILION),
        ):  # a search on a grid: its bounds jump
            axes.plot(target, bound, color=color, label=name, drawstyle="steps-mid")
        axes.axhline(1, color="gray", lw=0.7)
        axes.set(xlabel=label, ylim=(0.5, 3.1))
    code.set(ylabel="ratio", title="As released: lower bound first")
    paper.set_title("As in the paper: upper bound first")
    code.legend(loc="upper left")


def utilization(figure):
    """How much of the plain gradient each gate lets through, as ratios spread."""
    figure.set_size_inches(4.8, 3.4)
    axes = figure.subplots()
    draw = np.random.default_rng(1)
    old = -draw.exponential(1.0, 20000)
    noise, advantage = draw.normal(0, 1, old.shape), draw.choice([-1.0, 1.0], old.shape)
    spread = np.linspace(0.02, 1.5, 40)
    for name in ("GRPO", "DAC", "SAPO", "MASPO", "CISPO", "CE-GPPO", "ASPO", "DGPO"):
        gate, color, line = METHODS[name]
        share = []
        for scale in spread:
            ratio = np.exp(np.minimum(scale * noise, -old))
            passed = ratio * gate_on(gate, ratio, advantage, np.exp(old))
            share.append(passed.sum() / ratio.sum())
        axes.plot(spread, share, color=color, ls=line, label=name)
    axes.axhline(1, color="black", lw=0.7)
    axes.set(xlabel="spread of the log-ratio (standard deviation)", ylim=(0, 1.3))
    axes.set_ylabel("utilization: sum of g over sum of ratio")
    axes.legend(ncols=2)
