"""What the gates do to policies small enough to know everything about."""

import functools

import jax
import numpy as np

from maspo_jax.reports.figures.methods import METHODS
from maspo_jax.testbeds import study
from maspo_jax.testbeds.tree import Regime, Tree

SHOWN = ("Plain IS", "GRPO", "SAPO", "MASPO", "CISPO", "GPPO", "CE-GPPO", "DGPO")
# A title, and a setting: one in which every method learns, and two in which steps
# are too large for what the verifier gets wrong.
CALM = (
    "Token tree: an old policy draws, 10% of grades wrong",
    Tree(staleness=4),
    Regime(4.0, noise=0.1),
)
HARSH = (
    "Token tree: large steps, 20% of grades wrong",
    Tree(updates=16),
    Regime(8.0, noise=0.2),
)
BANDIT = (
    "Softmax bandit: large steps, 20% of grades wrong",
    Tree(branching=10, depth=1, updates=16),
    Regime(4.0, noise=0.2),
)
RATES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


@functools.cache
def accuracies(tree, seeds, **regime):
    """Returns {method: expected return after each batch, [seeds, steps]}."""
    gates = tuple(METHODS[name][0] for name in SHOWN)
    keys = jax.random.split(jax.random.key(0), seeds)
    record = study.compare(gates, keys, Regime(**regime), tree)
    return dict(zip(SHOWN, np.asarray(record.accuracy), strict=True))


def curves_of(setting, seeds):
    """Returns {method: expected return after each batch, [seeds, steps]}."""
    _, tree, regime = setting
    return accuracies(tree, seeds, **vars(regime))


def testbed(figure, seeds=64):
    """One token pushed again and again, then bandits and trees in three settings."""
    figure.set_size_inches(7.2, 7.6)
    (punished, rewarded), (bandit, rates), trees = figure.subplots(3, 2)
    _draw_pushes(punished, -1.0, seeds)
    punished.set(yscale="log", ylim=(1e-5, 1), title="A punished token, one batch")
    for where, word in (
        ((16, 0.33), "stops"),
        ((20.5, 0.08), "slow down"),
        ((17.5, 8e-3), r"speed up: W ~ 1/$\pi$"),
    ):
        punished.text(*where, word, fontsize=7.5, ha="center")
    _draw_pushes(rewarded, 1.0, seeds)
    rewarded.set(ylim=(0, 1), title="A rewarded token, one batch")
    for axes, setting in ((bandit, BANDIT), (trees[0], CALM), (trees[1], HARSH)):
        for name, curve in curves_of(setting, seeds).items():
            _draw_band(axes, name, np.arange(1, curve.shape[1] + 1), curve)
        axes.set(xlabel="batch", ylabel="expected return (exact)", ylim=(0, 1.02))
        axes.set_title(setting[0], fontsize=8.5)
    _draw_rates(rates, seeds)
    handles, labels = punished.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=8)
    figure.suptitle(f"Mean of {seeds} seeds, 95% confidence", fontsize=9)


def _draw_pushes(axes, advantage, seeds):
    """Draws a token of probability 0.3 as one batch of 64 is used 24 times."""
    gates = tuple(METHODS[name][0] for name in SHOWN)
    keys = jax.random.split(jax.random.key(0), seeds)
    paths = study.reuse(gates, keys, 0.3, advantage, 2.0, responses=64, updates=24)
    for name, path in zip(SHOWN, np.asarray(paths), strict=True):
        # Probabilities that fall by orders of magnitude are averaged as such.
        _draw_band(axes, name, np.arange(path.shape[1]), path, geometric=advantage < 0)
    axes.set(xlabel="update on the same batch", ylabel=r"$\pi$")


def _draw_rates(axes, seeds):
    """Draws what is reached against the learning rate."""
    _, tree, regime = BANDIT
    reached = [
        accuracies(tree, seeds, **vars(regime.replace(learning_rate=rate)))
        for rate in RATES
    ]
    for name in SHOWN:
        last = np.stack([found[name][:, -1] for found in reached], axis=1)
        _draw_band(axes, name, RATES, last)
    axes.set(xscale="log", xlabel="learning rate", ylim=(0, 1.02))
    axes.set_xticks(RATES, [f"{rate:g}" for rate in RATES])
    axes.minorticks_off()
    axes.set_ylabel("return after 60 batches")
    axes.set_title("The same bandit, by learning rate", fontsize=8.5)


def _draw_band(axes, name, where, values, geometric=False):
    """Draws the mean over seeds and its 95% confidence band. [seeds, len(where)]."""
    _, color, line = METHODS[name]
    values = np.log(values) if geometric else values
    mean = values.mean(0)
    error = 1.96 * values.std(0, ddof=1) / np.sqrt(len(values))
    low, mean, high = (
        np.exp(bound) if geometric else bound
        for bound in (mean - error, mean, mean + error)
    )
    axes.fill_between(where, low, high, color=color, alpha=0.12, lw=0)
    axes.plot(where, mean, color=color, ls=line, label=name)
