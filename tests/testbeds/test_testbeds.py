import dataclasses
import itertools
import pathlib
import runpy
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maspo_jax.objectives import gates
from maspo_jax.reports.figures import testbed_curves
from maspo_jax.testbeds import study
from maspo_jax.testbeds import tree as testbed
from maspo_jax.testbeds.tree import Regime, Tree

TREE = Tree(branching=3, depth=2)
train = jax.jit(testbed.run, static_argnames="tree")


@pytest.fixture
def logits():
    return jax.random.normal(jax.random.key(0), (TREE.nodes, TREE.branching))


def test_leaf_probabilities_are_products_along_paths(logits):
    policy = jax.nn.softmax(logits)
    expected = [
        policy[0, first] * policy[1 + first, second]
        for first, second in itertools.product(range(3), repeat=2)
    ]
    found = testbed.leaf_probabilities(TREE, logits)
    np.testing.assert_allclose(found, np.array(expected), rtol=1e-5)
    assert testbed.accuracy(TREE, logits) == found[0]


@pytest.mark.parametrize("rarity", [0.01, 0.5])
def test_the_right_answer_is_as_rare_as_asked(rarity):
    start = testbed.initial_logits(TREE, rarity)
    np.testing.assert_allclose(testbed.accuracy(TREE, start), rarity, rtol=1e-5)


def test_draws_follow_the_policy(logits):
    nodes, tokens = testbed.draw(jax.random.key(1), TREE, logits, 20000)
    leaf = tokens[:, 0] * 3 + tokens[:, 1]
    np.testing.assert_array_equal(nodes[:, 1], tokens[:, 0] + 1)
    share = np.bincount(leaf, minlength=9) / 20000
    np.testing.assert_allclose(
        share, testbed.leaf_probabilities(TREE, logits), atol=0.01
    )


def test_the_drawn_gradient_estimates_the_true_one(logits):
    """With the return as advantage, on-policy: unbiased up to the token mean."""
    nodes, tokens = testbed.draw(jax.random.key(2), TREE, logits, 100000)
    reward = jnp.all(tokens == 0, axis=-1)

    def estimate(logits):
        return jnp.mean(reward * testbed.path_logprobs(logits, nodes, tokens).sum(-1))

    truth = jax.grad(testbed.accuracy, 1)(TREE, logits)
    chex.assert_trees_all_close(jax.grad(estimate)(logits), truth, atol=5e-3)


def test_with_one_update_and_no_staleness_every_gate_is_the_same():
    tree = Tree(updates=1, steps=5)
    go = lambda gate: train(jax.random.key(0), gate, Regime(2.0, 0.2), tree=tree)
    expected = go(gates.Clip())
    for gate in (gates.Maspo(), gates.Dgpo(), gates.Cispo(), gates.Reinforce()):
        found = go(gate)
        chex.assert_trees_all_close(found.accuracy, expected.accuracy, rtol=1e-4)
    assert np.mean(expected.alignment) > 0.3


def test_staleness_moves_ratios_before_the_first_update():
    still, stale = (
        train(
            jax.random.key(0),
            gates.Clip(),
            Regime(2.0, 0.2),
            tree=Tree(updates=1, steps=5, staleness=staleness),
        )
        for staleness in (0, 2)
    )
    assert np.all(stale.distance[2:] > still.distance[2:])


def test_a_noisy_verifier_slows_learning_down():
    keys, members = jax.random.split(jax.random.key(0), 8), (gates.Clip(),)

    def mean(noise):
        regime = Regime(1.0, 0.2, noise)
        record = study.compare(members, keys, regime, Tree(steps=15))
        return np.mean(record.accuracy[0, :, -1])

    assert mean(0.3) < mean(0.0) - 0.05


class TestPush:
    """A token of probability 0.3, pushed 24 times by one batch."""

    def path(self, gate, advantage=-1.0):
        return np.asarray(testbed.push(gate, 0.3, advantage, 2.0, 24))

    def test_hard_clipping_stops_beyond_the_bound(self):
        down, up = self.path(gates.Clip()), self.path(gates.Clip(), 1.0)
        assert down[-1] < 0.8 * 0.3 and down[-1] == down[8]
        assert up[-1] > 1.2 * 0.3 and up[-1] == up[8]

    def test_reweighting_speeds_up_and_soft_gates_slow_down(self):
        """In the logarithm: how fast the probability falls, early and late."""
        speed = lambda gate: -np.diff(np.log(self.path(gate)))
        for gate in (gates.Cispo(), gates.Gppo(), gates.CeGppo()):
            assert speed(gate)[-1] > speed(gate)[2] * 1.2
        for gate in (gates.Maspo(), gates.Dgpo(), gates.ImportanceSampling()):
            assert speed(gate)[-1] < speed(gate)[2] * 0.8
        assert self.path(gates.Dgpo())[-1] > 2 * self.path(gates.Maspo())[-1]


def test_a_study_is_a_loop_over_gates_and_seeds():
    tree, regime = Tree(branching=3, depth=2, steps=4), Regime(2.0, 0.2, 0.1)
    members = (gates.Clip(), gates.Maspo(), gates.Cispo())
    keys = jax.random.split(jax.random.key(5), 2)
    together = study.compare(members, keys, regime, tree)
    for row, gate in enumerate(members):
        for column, key in enumerate(keys):
            alone = train(key, gate, regime, tree=tree)
            found = jax.tree.map(lambda x, at=(row, column): x[at], together)
            chex.assert_trees_all_close(found, alone, rtol=1e-4, atol=1e-5)


def test_one_batch_drawn_many_times_scatters_around_its_expectation():
    members = (gates.Clip(), gates.Dgpo())
    keys = jax.random.split(jax.random.key(0), 256)
    paths = study.reuse(members, keys, 0.3, -1.0, 0.5, responses=64, updates=3)
    for gate, path in zip(members, paths, strict=True):
        expected = testbed.push(gate, 0.3, -1.0, 0.5, 3)
        np.testing.assert_allclose(path.mean(0), expected, atol=0.003)
        assert np.all(path.std(0)[1:] > 0.003)


def test_too_large_steps_on_wrong_grades_are_punished():
    """The failure the methods differ in: on a softmax bandit, plain weights fail."""
    _, tree, regime = testbed_curves.BANDIT
    keys = jax.random.split(jax.random.key(0), 64)
    members = (gates.ImportanceSampling(), gates.Clip(), gates.Maspo(), gates.Cispo())
    tree = dataclasses.replace(tree, steps=20)
    record = study.compare(members, keys, regime, tree)
    plain, clip, maspo, cispo = np.mean(record.accuracy[:, :, -1] > 0.5, axis=1)
    assert plain < cispo < maspo - 0.1 and clip == 1
    assert plain < 0.6 and maspo > 0.8


@pytest.mark.slow
def test_the_experiment_draws_its_picture(tmp_path, monkeypatch, capsys):
    script = pathlib.Path(__file__).parents[2] / "experiments" / "bandit.py"
    words = ["bandit.py", "--out", str(tmp_path), "--seeds", "4"]
    monkeypatch.setattr(sys, "argv", words)
    runpy.run_path(str(script), run_name="__main__")
    assert (tmp_path / "testbed.png").stat().st_size > 50_000
    assert "DGPO" in capsys.readouterr().out
