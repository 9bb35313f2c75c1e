"""What a sweep tries: combinations, draws, and what bounds no search."""

import numpy as np
import pytest

from maspo_jax import sweeps

NAMES = {"objective.gate.alpha": [0.1, 0.2], "optimization.learning_rate": [1, 2, 3]}


def test_a_grid_has_every_combination_once():
    trials = sweeps.grid(NAMES)
    assert len(trials) == 6
    assert len({tuple(trial.values()) for trial in trials}) == 6
    assert all([*trial] == [*NAMES] for trial in trials)


def test_zipped_lists_go_side_by_side():
    assert sweeps.zipped({"a": [1, 2], "b": [3, 4]}) == [
        {"a": 1, "b": 3},
        {"a": 2, "b": 4},
    ]
    with pytest.raises(ValueError, match="a: 1, b: 2 values; give equally many"):
        sweeps.zipped({"a": [1], "b": [3, 4]})


@pytest.mark.parametrize("draw", [sweeps.random, sweeps.sobol])
@pytest.mark.parametrize("count", [1, 5, 64])
def test_draws_lie_within_their_bounds_and_follow_from_the_seed(draw, count):
    space = {
        "rate": sweeps.LogUniform(1e-4, 1e-2),
        "alpha": sweeps.Uniform(-1.0, 2.0),
        "gate": sweeps.Choice(("a", "b", "c")),
    }
    trials = draw(space, count)
    assert len(trials) == count
    assert trials == draw(space, count) != draw(space, count, seed=1)
    for trial in trials:
        assert 1e-4 <= trial["rate"] <= 1e-2
        assert -1 <= trial["alpha"] <= 2
        assert trial["gate"] in "abc"


def test_sobol_covers_each_interval_evenly():
    trials = sweeps.sobol({"rate": sweeps.LogUniform(1e-4, 1.0)}, 32)
    exponents = np.log10([trial["rate"] for trial in trials])
    counts, _ = np.histogram(exponents, bins=16, range=(-4, 0))
    assert (counts == 2).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sweeps.grid({}), "give {name of a setting: its values}"),
        (lambda: sweeps.grid({"a": []}), "a: give at least one value"),
        (lambda: sweeps.grid({"a": 3}), "a=3: give a list of values"),
        (lambda: sweeps.grid({"a": "xyz"}), "a='xyz': give a list"),
        (lambda: sweeps.random({"a": sweeps.Uniform(0, 1)}, 0), "count=0; give how"),
        (lambda: sweeps.sobol({"a": sweeps.Uniform(0, 1)}, None), "count=None; give"),
        (lambda: sweeps.random({"a": 3}, 2), "a=3: a search has to be bounded"),
        (lambda: sweeps.random({}, 2), "give {name of a setting: what to draw}"),
        (lambda: sweeps.Uniform(0, float("inf")), "a search has to be bounded"),
        (lambda: sweeps.Uniform(1, 1), "low < high"),
        (lambda: sweeps.LogUniform(0, 1), "0 < low < high"),
        (lambda: sweeps.Choice(()), "give at least one value"),
        (
            lambda: sweeps.Search({"a": sweeps.Uniform(0, 1)}, trials=None),
            "trials=None: a search has to be bounded",
        ),
        (
            lambda: sweeps.Search({"a": sweeps.Uniform(0, 1)}, trials=0),
            "trials=0: a search has to be bounded",
        ),
        (
            lambda: sweeps.Search({"a": sweeps.Uniform(0, 1)}, 3, sampler="grid"),
            "sampler='grid': choose one of tpe, random",
        ),
        (
            lambda: sweeps.Search({"a": sweeps.Uniform(0, 1)}, 3, batch=0),
            "batch=0: must lie in",
        ),
    ],
)
def test_what_bounds_no_search_is_refused(make, message):
    with pytest.raises(ValueError, match=message.replace("{", r"\{")):
        make()
