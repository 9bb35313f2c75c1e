"""Trials: settings by name, labels that tell them apart, and what is refused."""

import dataclasses
import itertools

import numpy as np
import pytest
from conftest import TINY

from maspo_jax import config, sweeps
from maspo_jax.config.changes import changed
from maspo_jax.objectives import gates, kl, terms
from maspo_jax.sweeps.run import planned
from maspo_jax.sweeps.sweep import Halving, trials_of

EXPERIMENT = config.load(TINY)
RATE = "optimization.learning_rate"


def test_settings_change_by_name_and_nothing_else_does():
    found = changed(
        EXPERIMENT,
        {"objective.gate.n": 3.0, "objective.gate": gates.Dgpo(), "steps": 7},
    )
    assert found.objective.gate == gates.Dgpo(n=3.0)
    assert dataclasses.replace(
        found, steps=EXPERIMENT.steps, objective=EXPERIMENT.objective
    ) == (EXPERIMENT)
    assert changed(EXPERIMENT, {}) == EXPERIMENT


def test_a_setting_inside_a_tuple_has_a_number():
    bonus = dataclasses.replace(
        EXPERIMENT.objective, terms=(terms.EntropyBonus(0.1), kl.Penalty(0.2, kl.k3))
    )
    experiment = dataclasses.replace(EXPERIMENT, objective=bonus)
    found = changed(experiment, {"objective.terms.1.coefficient": 0.5})
    assert found.objective.terms == (
        terms.EntropyBonus(0.1),
        kl.Penalty(0.5, kl.k3),
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"objective.gate.alhpa": 1}, "no such setting; the closest is .*gate.alpha"),
        ({"steps": "7"}, "steps='7': must be"),
        ({"steps": 2.5}, "steps=2.5: must be of type int"),
        ({"optimization.learning_rate": -1.0}, "learning_rate=-1.0: must lie in"),
        ({"objective.gate.alpha": -1.0}, "alpha=-1.0: must"),
        ({"objective.terms.0.coefficient": 1.0}, "no such setting"),
        ({"seed.x": 1}, "no such setting"),
        ({"objective.anchor": "nobody"}, "anchor='nobody': choose one of trainer"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_name(settings, message):
    with pytest.raises(ValueError, match=message):
        changed(EXPERIMENT, settings)


def test_labels_tell_trials_apart_in_the_fewest_words():
    settings = [
        {"objective.gate": gates.Maspo(), RATE: 1e-3},
        {"objective.gate": gates.Dgpo(n=3.0), RATE: 1e-3},
        {"objective.gate": gates.Maspo(), RATE: 3e-3},
    ]
    labels = [trial.label for trial in trials_of(EXPERIMENT, settings)]
    assert labels == [
        "Maspo, learning_rate=0.001",
        "Dgpo(n=3), learning_rate=0.001",
        "Maspo, learning_rate=0.003",
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ([{RATE: 1e-3}, {RATE: 0.001}], "trials 0 and 1 .* cannot be told apart"),
        ([{RATE: 2e-3}, {RATE: 2e-3, "rollouts_every": 3}], "cannot be told apart"),
        ([{"seed": 1}], "seed is not a setting of a trial; give Sweep.seeds"),
        ([{"steps": 3}], "steps is not a setting of a trial"),
        (["x"], "'x' is no {name: value}"),
        ([{RATE: 1e-3}, {"nothing": 1}], "trial 1 .*no such setting"),
    ],
)
def test_trials_that_are_none_or_twice_are_refused(settings, message):
    with pytest.raises(ValueError, match=message.replace("{", r"\{")):
        trials_of(EXPERIMENT, settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trials": []}, "at least one has to be given"),
        ({"trials": ({RATE: n} for n in itertools.count(1))}, "has to be bounded"),
        ({"trials": {RATE: 1}}, "give a list of"),
        ({"seeds": []}, "seeds: give at least one"),
        ({"seeds": 3}, "seeds=3: give a list"),
        ({"seeds": [1, 1]}, r"seeds: \[1\] are there more than once"),
        ({"seeds": [-1]}, r"seeds: -1 must be a whole number in"),
        ({"seeds": itertools.count()}, "at most 100,000"),
        ({"metric": "validation/acuracy"}, "the closest is validation/accuracy"),
        ({"goal": "up"}, "goal='up': choose one of max, min"),
        ({"together": 0}, "together=0: must lie in"),
        ({"names": ["a"]}, "1 names for 2 trials"),
        ({"names": ["a", "a", "b"]}, "2 names for 2 trials"),
    ],
)
def test_a_sweep_that_is_none_is_refused(changes, message):
    fields = {"trials": sweeps.grid({RATE: [1e-3, 2e-3]}), **changes}
    with pytest.raises(ValueError, match=message):
        sweeps.Sweep(EXPERIMENT, **fields)


def test_a_budget_of_no_steps_is_refused():
    nothing = dataclasses.replace(EXPERIMENT, steps=0)
    with pytest.raises(ValueError, match=r"experiment.steps=0: a sweep trains"):
        sweeps.Sweep(nothing, [{}])


def test_runs_train_together_that_differ_in_numbers_alone(tmp_path):
    dynamic = config.DynamicSampling()
    settings = [
        {"objective.gate": gates.Maspo(0.1)},
        {"objective.gate": gates.Maspo(0.2), RATE: 1e-2},
        {"objective.gate": gates.Dgpo()},
        {"objective.kl_in_reward": kl.Penalty(0.1, kl.k1)},
        {"objective.kl_in_reward": kl.Penalty(0.2, kl.k1)},
        {"objective.kl_in_reward": kl.Penalty(0.1, kl.k3)},
        {"sampling.dynamic": dynamic},
        {"optimization.beta1": 0.5},
    ]
    sweep = sweeps.Sweep(EXPERIMENT, settings, seeds=[0, 1, 2], together=4)
    groups = planned(sweep, trials_of(EXPERIMENT, settings), tmp_path, None)
    found = [
        (sorted({int(run.name[:4]) for run in group.runs}), group.alone, group.size)
        for group in groups
    ]
    assert found == [
        ([0, 1], None, 3),  # six runs, of which at most four: two chunks of three
        ([2], None, 3),
        ([3, 4], None, 3),
        ([5], None, 3),
        *[([6], "sampling.dynamic", 1)] * 3,
        ([7], None, 3),
    ]


def test_numbers_of_numpy_are_numbers(tmp_path):
    settings = sweeps.grid({"objective.gate.alpha": np.linspace(0.1, 0.3, 3)})
    settings += [{"rollouts_every": np.int64(3), RATE: np.float32(0.5)}]
    trials = trials_of(EXPERIMENT, settings)
    (group,) = planned(sweeps.Sweep(EXPERIMENT, settings), trials[:3], tmp_path, None)
    assert len(group.runs) == 3
    assert type(trials[3].experiment.rollouts_every) is int
    assert type(trials[3].settings[RATE]) is float


def test_rungs_rise_by_their_factor():
    assert Halving(2, 3).rungs(19) == [2, 6, 18]
    assert Halving(2, 3).rungs(18) == [2, 6]
    with pytest.raises(ValueError, match="first=3: after 3 steps validation/accuracy"):
        sweeps.Sweep(EXPERIMENT, [{}], stopping=Halving(3))
    with pytest.raises(ValueError, match="first=0: must lie in"):
        sweeps.Sweep(EXPERIMENT, [{}], stopping=Halving(0))
