"""Curves of gates and weights, drawn from the gate classes.

Each function draws one figure. `ratio` is pi / q; the weight g is gate * ratio, in
front of grad log pi; the weight W = g / pi is in front of grad pi, and gate = W q
is W relative to plain importance sampling.
"""

import math

import numpy as np

from maspo_jax.objectives import gates
from maspo_jax.reports.figures import style
from maspo_jax.reports.figures.methods import METHODS, gate_on

COMPARED = ("Plain IS", "GRPO", "CISPO", "GPPO", "CE-GPPO", "ASPO", "DGPO")


def maspo(figure):
    """The four panels of figure 2 of the MASPO paper, arXiv 2602.17550.

    Here (a) is in logarithms, and (b) shows W q, so that all q begin at one.
    """
    figure.set_size_inches(7.2, 5.4)
    (width, bell), (negative, positive) = figure.subplots(2, 2)
    _draw_width(width)
    _draw_bell(bell)
    for axes, advantage, letter in ((negative, -1.0, "c"), (positive, 1.0, "d")):
        _draw_risk(axes, advantage, letter)
    handles, labels = positive.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)


def _draw_width(axes):
    q = np.geomspace(1e-4, 1, 400)
    for alpha, color in zip((0.1, 0.3, 0.5, 0.8), style.SHADES, strict=True):
        gate = gates.Maspo(alpha=alpha, beta_positive=0.0)
        sigma = gate.sigma(np.ones_like(q), np.log(q))
        axes.plot(q, sigma, color=color, label=rf"$\alpha$ = {alpha}")
    axes.axhline(10, color="black", lw=0.8, ls="--")
    axes.text(1, 10.4, "cap of the released code", ha="right", fontsize=8)
    axes.set(xscale="log", yscale="log", ylim=(0.55, 14), yticks=[1, 2, 5, 10])
    axes.set(yticklabels=["1", "2", "5", "10"], xlabel="q", ylabel=r"width $\sigma$")
    axes.set_title("(a) Rare tokens get a wider gate")
    axes.minorticks_off()
    axes.legend(loc="lower left", ncols=2)


def _draw_bell(axes):
    for q, color in zip((0.9, 0.3, 0.03, 0.003), style.SHADES, strict=True):
        ratio = np.linspace(0, min(1 / q, 8), 801)[1:]
        value = gate_on(gates.Maspo(), ratio, 1.0, q)
        axes.plot(ratio, value, color=color, label=f"MASPO, q = {q}")
        if ratio[-1] < 8:  # pi = 1: the ratio ends here
            axes.plot(ratio[-1], value[-1], "o", ms=4, color=color, clip_on=False)
    ratio = np.linspace(0, 8, 801)[1:]
    sapo = gate_on(gates.Sapo(), ratio, 1.0, 0.1)
    axes.plot(ratio, sapo, color="black", ls="--", label="SAPO, any q")
    axes.axvline(1, color="gray", lw=0.7)
    axes.set(xlabel="ratio", ylabel="gate = W q", xlim=(0, 8), ylim=(0, 1.7))
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.set_title("(b) Open against the advantage (A > 0)")
    axes.legend(loc="upper right")


def _draw_risk(axes, advantage, letter):
    ratio, q = np.linspace(0, 5, 2001)[1:], 0.1
    curves = (
        ("GRPO", gates.Clip(dual=math.inf), "#7F7F7F", "-"),
        ("no risk term", gates.Maspo(beta_positive=0.0, beta_negative=0.0), None, "--"),
        (r"$\beta$ = 0.03, the default", gates.Maspo(), None, "-"),
        (r"$\beta$ = 0.3", gates.Maspo(beta_positive=0.3, beta_negative=0.3), 1, "-"),
    )
    for label, gate, color, line in curves:
        color = {None: style.BLUE, 1: style.VERMILION}.get(color, color)
        value = gate_on(gate, ratio, 2 * advantage, q)
        axes.plot(ratio, value, color=color, ls=line, label=label)
    axes.axvline(1, color="gray", lw=0.7)
    sign = "+2: wider" if advantage > 0 else "\N{MINUS SIGN}2: narrower"
    axes.set(xlabel="ratio", ylabel="gate = W q", ylim=(0, 1.05), xlim=(0, 5))
    axes.set_title(f"({letter}) A = {sign}, q = {q}")
    if advantage < 0:
        axes.set_xlim(0, 1.6)


def dgpo(figure, q=0.4):
    """Figure 2 of the DGPO paper, arXiv 2603.14389: W against pi for both signs."""
    figure.set_size_inches(7.2, 3.9)
    left, right = figure.subplots(1, 2)
    pi = np.linspace(1e-3, 0.999, 4000)
    for axes, advantage in ((left, -1.0), (right, 1.0)):
        _draw_weights(axes, pi, advantage, q)
        for bound, name in ((0.8, "Lq"), (1.0, "q"), (1.2, "Uq")):
            axes.axvline(bound * q, color="gray", lw=0.7, ls=":")
            axes.annotate(
                name,
                (bound * q, 1),
                xycoords=("data", "axes fraction"),
                ha="center",
                va="bottom",
                fontsize=7.5,
                color="gray",
            )
        axes.set(xlabel=r"$\pi$", xlim=(0, 1), ylim=(0, 6))
    left.set_ylabel(r"weight W of $\nabla\pi$")
    left.set_title("A < 0", pad=16)
    right.set_title("A > 0", pad=16)
    inset = left.inset_axes((0.55, 0.56, 0.43, 0.35))
    _draw_weights(inset, np.geomspace(1e-4, 0.5, 800), -1.0, q)
    inset.set(xscale="log", yscale="log", ylim=(1e-3, 1e4), xlim=(1e-4, 0.5))
    inset.tick_params(labelsize=6.5)
    inset.minorticks_off()
    inset.set_title(r"$\pi \to 0$", fontsize=8)
    handles, labels = right.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5)


def _draw_weights(axes, pi, advantage, q):
    drawn = {name: METHODS[name] for name in COMPARED}
    steeper = gates.Dgpo(n=2.0, m=3.0)
    drawn["DGPO, n + 1, m + 1"] = (steeper, METHODS["DGPO"][1], "--")
    for name, (gate, color, line) in drawn.items():
        weight = gate_on(gate, pi / q, advantage, q) / q
        # What is drawn first is wide, so that curves on top of it leave it visible.
        wide = {"GRPO": 4.5, "CISPO": 4, "ASPO": 3}.get(name, 1.6)
        axes.plot(pi, weight, color=color, ls=line, lw=wide, label=name)


def weights(figure):
    """The weight g of every method against the ratio, for both signs."""
    _every_method(figure, lambda ratio, gate: ratio * gate, "g", (0.03, 20))


def relative_weights(figure):
    """W q, the weight W relative to plain importance sampling, of every method."""
    _every_method(figure, lambda ratio, gate: gate, "W q", (0.03, 20))


def _every_method(figure, transform, name, limits):
    figure.set_size_inches(7.2, 7.6)
    rows = -(-len(METHODS) // 4)
    grid = figure.subplots(rows, 4, sharex=True, sharey=True)
    ratio = np.geomspace(0.05, 20, 1201)
    for axes, (method, (gate, _, _)) in zip(grid.flat, METHODS.items(), strict=False):
        axes.axvspan(0.8, 1.2, color="black", alpha=0.06, lw=0)
        axes.plot(
            ratio, transform(ratio, np.ones_like(ratio)), color="gray", lw=0.8, ls=":"
        )
        for advantage, color in ((1.0, style.BLUE), (-1.0, style.VERMILION)):
            for q, line in ((0.5, "-"), (0.01, "--")):
                shown = ratio[ratio * q <= 1]
                value = transform(shown, gate_on(gate, shown, advantage, q))
                axes.plot(shown, np.maximum(value, limits[0] / 2), color=color, ls=line)
        axes.set(xscale="log", yscale="log", ylim=limits)
        axes.set_title(method, fontsize=8.5)
        axes.set_xticks([0.1, 1, 10], ["0.1", "1", "10"])
        axes.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
        axes.minorticks_off()
    for axes in grid.flat[len(METHODS) :]:
        axes.axis("off")
    for axes in grid.flat[len(METHODS) - 4 : len(METHODS)]:  # the lowest of a column
        axes.set_xlabel("ratio")
        axes.tick_params(labelbottom=True)
    for axes in grid[:, 0]:
        axes.set_ylabel(name)
    _legend(grid.flat[-1])


def _legend(axes):
    for label, color, line in (
        ("A > 0, q = 0.5", style.BLUE, "-"),
        ("A > 0, q = 0.01", style.BLUE, "--"),
        ("A < 0, q = 0.5", style.VERMILION, "-"),
        ("A < 0, q = 0.01", style.VERMILION, "--"),
        ("plain IS", "gray", ":"),
    ):
        axes.plot([], [], color=color, ls=line, label=label)
    axes.legend(loc="center", fontsize=7.5)
