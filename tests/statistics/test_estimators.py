"""Every score against an enumeration of all draws it averages over."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from support.deadlines import cpu_deadline

from maspo_jax.statistics import estimators

N = 7
FIVE_ERRORS = 2.5 / estimators.DRAWS**0.5  # of drawn subsets, at most
every_count = pytest.mark.parametrize("right", range(N + 1))
every_k = pytest.mark.parametrize("k", range(1, N + 1))


def row(right, n=N):
    return [1] * right + [0] * (n - right)


@every_count
@every_k
def test_pass_at_k_is_the_share_of_subsets_with_a_right_response(right, k):
    subsets = list(itertools.combinations(row(right), k))
    share = Fraction(sum(map(any, subsets)), len(subsets))
    assert estimators.pass_at_k([row(right)], k) == pytest.approx(float(share), 1e-12)


@pytest.mark.parametrize("right", range(5))
@pytest.mark.parametrize("k", [1, 2, 3, 5, 8])
def test_best_at_k_is_the_share_of_draws_with_replacement(right, k):
    hits = [any(draw) for draw in itertools.product(row(right, 4), repeat=k)]
    expected = sum(hits) / len(hits)
    assert estimators.best_at_k([row(right, 4)], k) == pytest.approx(expected)


def test_pass_at_k_is_unbiased_and_best_at_k_is_not():
    """The mean over all outcomes of n responses, each right with probability p."""
    p, k = 0.3, 4
    expected = {"pass": 0.0, "best": 0.0}
    for outcome in itertools.product([0, 1], repeat=N):
        chance = np.prod([p if right else 1 - p for right in outcome])
        expected["pass"] += chance * estimators.pass_at_k([outcome], k)[0]
        expected["best"] += chance * estimators.best_at_k([outcome], k)[0]
    assert expected["pass"] == pytest.approx(1 - (1 - p) ** k, rel=1e-12)
    assert expected["best"] < 1 - (1 - p) ** k - 0.03


def test_at_one_all_of_them_are_the_mean():
    correct = [row(right) for right in range(N + 1)]
    mean = estimators.avg_at_n(correct)
    np.testing.assert_allclose(mean, np.arange(N + 1) / N)
    np.testing.assert_allclose(estimators.pass_at_k(correct, 1), mean)
    np.testing.assert_allclose(estimators.best_at_k(correct, 1), mean)
    labels = 1 - np.array(correct)
    np.testing.assert_allclose(estimators.majority_at_k(labels, 1), mean)


def test_many_responses_neither_overflow_nor_cancel():
    """One right of a thousand is k in a thousand, to the last digits."""
    for k in (1, 2, 500, 999):
        got = estimators.pass_at_k([row(1, 1000)], k)[0]
        assert got == pytest.approx(k / 1000, rel=1e-12)
    labels = [[0] * 501 + [1] * 499]
    assert abs(estimators.majority_at_k(labels, 101)[0] - 0.5085) < FIVE_ERRORS
    assert estimators.majority_at_k(labels, 1000) == 1


@pytest.mark.parametrize("answers", [2, 20, 200, 1000])
@pytest.mark.parametrize("k", [64, 512, 1000])
def test_of_answers_given_equally_often_each_wins_the_same_share(answers, k):
    labels = [np.arange(1000) % answers]
    got = estimators.majority_at_k(labels, k)[0]
    spread = np.sqrt((1 / answers) * (1 - 1 / answers) / estimators.DRAWS)
    assert got == pytest.approx(1 / answers, rel=1e-11, abs=5 * spread * (k < 1000))


def test_the_majority_of_many_responses_takes_a_moment():
    """Half are right, and no two of the others agree."""
    labels = [np.maximum(np.arange(1000) - 499, 0)] * 4
    with cpu_deadline():
        got = estimators.majority_at_k(labels, 512)
    np.testing.assert_allclose(got, 1)


def winner_share(subset):
    """Returns the share of the right answer, 0, in the first place of a vote."""
    votes = [label for label in subset if label >= 0]
    if not votes:
        return Fraction(0)
    counts = {label: votes.count(label) for label in votes}
    first = [label for label in counts if counts[label] == max(counts.values())]
    return Fraction(int(0 in first), len(first))


every_vote = pytest.mark.parametrize(
    "labels",
    [
        [0, 0, 0, 1, 1, 2, -1],
        [0, 0, 1, 1, 2, 2, 3],
        [0, 1, 2, 3, 4, 5, 6],
        [0, -1, -1, -2, -1, 1, 1],
        [1, 1, 2, 2, 3, 3, 3],
        [-1] * 7,
        [0] * 7,
    ],
    ids=str,
)


@every_vote
@every_k
def test_majority_is_the_share_of_subsets_it_wins(labels, k):
    subsets = list(itertools.combinations(labels, k))
    expected = float(sum(map(winner_share, subsets)) / len(subsets))
    assert estimators.majority_at_k([labels], k) == pytest.approx(expected, 1e-12)


@every_vote
@pytest.mark.parametrize("k", range(2, N))
def test_drawn_subsets_agree_with_all_of_them(labels, k):
    exact = estimators.majority_at_k([labels], k)[0]
    spread = np.sqrt(exact * (1 - exact) / 20)
    drawn = [estimators.majority_at_k([labels], k, 20, seed)[0] for seed in range(50)]
    assert np.mean(drawn) == pytest.approx(exact, abs=5 * spread / 50**0.5 + 1e-12)
    assert estimators.majority_at_k([labels], k, 20, 3)[0] == drawn[3]


def test_problems_draw_subsets_of_their_own():
    """Or the errors of the draws would not cancel in the mean over problems."""
    labels = np.tile([0, 1], 16)
    got = estimators.majority_at_k([labels] * 40, 5)
    assert len(set(got)) > 5
    error = 0.5 / np.sqrt(40 * estimators.DRAWS)
    assert got.mean() == pytest.approx(0.5, abs=5 * error)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: estimators.verdicts([]), "the problems have no responses"),
        (lambda: estimators.verdicts([[], []]), "have 0 responses"),
        (lambda: estimators.verdicts([[1, 0], [1]]), "have 1 or 2 responses"),
        (lambda: estimators.verdicts([[1, 2]]), "of 0 and 1 alone"),
        (lambda: estimators.verdicts([[1, float("nan")]]), "of 0 and 1 alone"),
        (lambda: estimators.pass_at_k([[1, 0]], 3), "k=3 of 2 responses"),
        (lambda: estimators.pass_at_k([[1, 0]], 0), "k=0 of 2 responses"),
        (lambda: estimators.best_at_k([[1, 0]], 0), "k=0: draw at least 1"),
        (lambda: estimators.pass_at_k([row(1, 1001)], 1), "at most 1000"),
        (lambda: estimators.majority_at_k([[0.5, 1.0]], 1), "give integers"),
    ],
)
def test_what_names_no_score_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
