"""What the gates do to policies small enough to know everything about."""

import functools

import jax
import numpy as np

from maspo_jax.figures.methods import METHODS
from maspo_jax.testbeds.tree import Regime, Tree, push, run

SHOWN = ("Plain IS", "GRPO", "SAPO", "MASPO", "CISPO", "CE-GPPO", "DGPO")
# A title, and a setting in which every method learns, or in which some do not.
CALM = (
    "Old policy draws, 10% of grades wrong",
    Tree(staleness=4),
    Regime(4.0, noise=0.1),
)
HARSH = ("Large steps, 20% of grades wrong", Tree(updates=16), Regime(8.0, noise=0.2))


@functools.cache
def study(tree, regime, seeds):
    """Returns {method: `Record` with a leading axis of seeds}."""
    keys = jax.random.split(jax.random.key(0), seeds)
    train = jax.jit(jax.vmap(run, (0, None, None, None)), static_argnums=3)
    return {name: train(keys, METHODS[name][0], regime, tree) for name in SHOWN}


def testbed(figure, seeds=64):
    """One token pushed again and again, and training in a calm and a harsh setting."""
    figure.set_size_inches(7.2, 5.4)
    (punished, rewarded), below = figure.subplots(2, 2)
    for axes, advantage, title in (
        (punished, -1.0, "A punished token, one batch"),
        (rewarded, 1.0, "A rewarded token, one batch"),
    ):
        for name in SHOWN:
            gate, color, line = METHODS[name]
            axes.plot(push(gate, 0.3, advantage, 2.0, 24), color=color, ls=line)
        axes.set(xlabel="update on the same batch", ylabel=r"$\pi$", title=title)
    punished.set(yscale="log", ylim=(1e-5, 1))
    rewarded.set_ylim(0, 1)
    for axes, (title, tree, regime) in zip(below, (CALM, HARSH), strict=True):
        for name, record in study(tree, regime, seeds).items():
            _draw_band(axes, name, np.asarray(record.accuracy))
        axes.set(xlabel="batch", ylabel="expected return (exact)", ylim=(0, 1.02))
        axes.set_title(f"{title}\nmean of {seeds} seeds, 95% confidence", fontsize=8.5)
    handles, labels = below[1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=7)


def _draw_band(axes, name, curves):
    """Draws the mean over seeds and its 95% confidence band. [seeds, steps]."""
    _, color, line = METHODS[name]
    mean = curves.mean(0)
    error = 1.96 * curves.std(0, ddof=1) / np.sqrt(len(curves))
    batch = np.arange(1, len(mean) + 1)
    axes.fill_between(batch, mean - error, mean + error, color=color, alpha=0.12, lw=0)
    axes.plot(batch, mean, color=color, ls=line, label=name)
