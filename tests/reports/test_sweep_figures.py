"""Pictures of sweeps and races: what they are of, how many seeds, nothing unseen."""

import dataclasses
import json
import math

import matplotlib
import numpy as np
import pytest
from conftest import run

from maspo_jax.cli import figures as command
from maspo_jax.reports.figures import sweeps
from maspo_jax.statistics import races
from maspo_jax.sweeps import table

RNG = np.random.default_rng(0)
CURVES = {
    name: [([0, 5, 10], RNG.random(3).tolist()) for _ in range(8)] for name in "abc"
}


def verdict_of(methods, seeds=8):
    """Returns what the pictures read of a verdict."""
    scores = {
        name: {seed: float(RNG.random() + 0.2 * place) for seed in range(seeds)}
        for place, name in enumerate(methods)
    }
    found = races.race(scores, 0.0)
    return {
        "baseline": methods[len(methods) // 2],  # better than some, worse than others
        "methods": {
            name: {"scores": {str(s): v for s, v in own.items()}}
            for name, own in scores.items()
        },
        "duels": [
            {
                "better": a,
                "worse": b,
                "probability": dataclasses.asdict(duel.better),
                "real": bool(duel.real),
            }
            for (a, b), duel in found.duels.items()
        ],
    }


@pytest.fixture
def texts(monkeypatch):
    """Everything that is written on the figures that are saved, and their axes."""
    seen = []

    def note(figure, path, **_):
        written = [figure.get_suptitle()]
        for axes in figure.axes:
            written += [axes.get_title(), axes.get_xlabel(), axes.get_ylabel()]
            written += [label.get_text() for label in axes.get_yticklabels()]
            written += [text.get_text() for text in axes.texts]
        seen.append((figure, written))
        return path

    monkeypatch.setattr(sweeps, "write", note)
    return seen


def test_curves_show_every_seed_and_say_how_many(texts):
    sweeps.draw_curves(CURVES, "accuracy", "x.png")
    ((figure, written),) = texts
    assert any("8 seeds" in text for text in written)
    for axes, name in zip(figure.axes, CURVES, strict=False):
        assert axes.get_title() == name
        # Three means in gray, eight seeds, their mean.
        assert len(axes.lines) == 3 + 8 + 1
        drawn = [line.get_ydata().tolist() for line in axes.lines]
        assert all(values in drawn for _, values in CURVES[name])
        assert len(axes.collections) == 1  # the band


def test_few_seeds_have_no_band(texts):
    few = {name: runs[:5] for name, runs in CURVES.items()}
    sweeps.draw_curves(few, "accuracy", "x.png")
    ((figure, written),) = texts
    assert not any(axes.collections for axes in figure.axes)
    assert any("5 seeds" in text and "band" not in text for text in written)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: sweeps.draw_curves({}, "a", "x.png"),
        lambda: sweeps.draw_curves({"a": []}, "a", "x.png"),
        lambda: sweeps.draw_profiles({"a": [1.0], "b": []}, "a", "x.png"),
        lambda: sweeps.draw_improvement(
            {"methods": {"a": {"scores": {}}}, "duels": [], "baseline": "a"}, "x.png"
        ),
        lambda: sweeps.draw_sensitivity([], ["a", "b"], "a", "x.png"),
    ],
)
def test_a_figure_without_seeds_is_an_error(draw, texts):
    with pytest.raises(ValueError, match="needs at least one seed"):
        draw()
    assert not texts


@pytest.mark.parametrize(("count", "rows"), [(4, 6), (9, 8)])
def test_every_pair_has_its_probability_or_those_with_the_first(count, rows, texts):
    methods = [f"m{number}" for number in range(count)]
    verdict = verdict_of(methods)
    sweeps.draw_improvement(verdict, "x.png")
    ((figure, written),) = texts
    assert any("8 seeds" in text for text in written)
    (axes,) = figure.axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert len(labels) == rows
    marks = [line for line in axes.lines if line.get_marker() == "o"]
    values = [float(np.atleast_1d(line.get_xdata())[0]) for line in marks]
    assert values == sorted(values)
    for label, value, mark in zip(labels, values, marks, strict=True):
        baseline = verdict["baseline"]
        pair = label.split(" > ") if " > " in label else (label, baseline)
        (duel,) = [d for d in verdict["duels"] if {d["better"], d["worse"]} == {*pair}]
        p = duel["probability"]["mean"]
        assert value == pytest.approx(p if duel["better"] == pair[0] else 1 - p)
        filled = mark.get_markerfacecolor() != "white"
        assert filled == duel["real"]


def test_a_map_has_the_mean_of_each_cell_and_a_collapsed_run_is_the_least(texts):
    scores = {(0.1, 1): [0.2, 0.4], (0.1, 2): [0.5, 0.7], (0.3, 1): [0.9, math.nan]}
    rows = [
        {"a.alpha": alpha, "b.base": base, "seed": seed, "score": score}
        for (alpha, base), own in scores.items()
        for seed, score in enumerate(own)
    ]
    sweeps.draw_sensitivity(rows, ["a.alpha", "b.base"], "accuracy", "x.png")
    ((figure, written),) = texts
    assert any("2 seeds" in text for text in written)
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("alpha", "base")
    found = axes.images[0].get_array().filled(np.nan)
    np.testing.assert_allclose(found, [[0.3, 0.55], [0.6, np.nan]])
    assert {text.get_text() for text in axes.texts} == {"0.30", "0.55", "0.60"}


def test_profiles_fall_and_collapsed_runs_reach_no_level(texts):
    scores = {"a": [0.2, 0.4, None, 0.8], "b": [0.9, 0.9, 0.9, 0.9]}
    sweeps.draw_profiles(scores, "accuracy", "x.png")
    ((figure, written),) = texts
    assert any("4 seeds" in text for text in written)
    first, second = figure.axes[0].lines
    assert first.get_ydata()[0] == 0.75 and first.get_ydata()[-1] == 0
    assert (np.diff(first.get_ydata()) <= 0).all()
    assert (second.get_ydata() == 1).all()


def test_the_command_draws_a_sweep(tiny_sweep, tmp_path):
    status, output = run(command, tiny_sweep[0], "--out", tmp_path / "out")
    assert status == 0, output
    names = {path.name for path in (tmp_path / "out").iterdir()}
    stems = ("curves", "sensitivity")
    assert names == {f"{stem}.{end}" for stem in stems for end in ("png", "svg")}
    image = matplotlib.image.imread(tmp_path / "out" / "curves.png")
    assert image.std() > 0.05


def test_a_sweep_is_drawn_alone_and_a_race_needs_a_verdict(tiny_sweep, tmp_path):
    inside = table.runs_of(tiny_sweep[0])[0].folder
    status, output = run(command, tiny_sweep[0], inside, "--out", tmp_path / "a")
    assert status == 2 and "one of them of a sweep: give it alone" in output
    race = tmp_path / "race"
    race.mkdir()
    (race / "race.json").write_text(json.dumps({"methods": {}, "seeds": []}))
    status, output = run(command, race, "--out", tmp_path / "b")
    assert status == 2 and "has no verdict yet" in output
