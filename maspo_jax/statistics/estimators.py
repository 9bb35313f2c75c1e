"""Scores of a policy on problems it answered several times.

Every score is one number per problem, [P], from the verdicts on its n responses,
[P, n]; its mean over problems is what a table reports. With c right answers of n:

    avg@n       c / n
    pass@k      1 - C(n-c, k) / C(n, k): some of k responses drawn *without*
                replacement is right; unbiased for k fresh responses
    best@k      1 - (1 - c/n)^k: the same drawn *with* replacement; biased downwards
    majority@k  the most frequent answer of k responses is right

pass@k and best@k are different numbers under one name in the field: never put them
into one column.
"""

import itertools
import math

import numpy as np

MOST = 1000  # responses to a problem; more would take long to draw subsets of
DRAWS = 1000  # subsets of responses that majority@k is averaged over


def verdicts(rows):
    """Returns right or wrong as bool [P, n], from rows of 0 and 1.

    Raises:
        ValueError: no problem, no response, another number than 0 and 1, or problems
            with different numbers of responses.
    """
    sizes = sorted({len(row) for row in rows})
    if len(sizes) != 1 or sizes[0] == 0:
        raise ValueError(
            f"the problems have {' or '.join(map(str, sizes)) or 'no'} responses: give "
            "every problem the same number, at least 1"
        )
    rows = np.asarray(rows)
    if rows.ndim != 2 or not np.isin(rows, (0, 1)).all():
        raise ValueError("verdicts: give one row per problem, of 0 and 1 alone")
    return rows.astype(bool)


def avg_at_n(correct):
    """Returns the share of right responses of each problem. [P, n] -> [P]."""
    return verdicts(correct).mean(axis=1)


def pass_at_k(correct, k):
    """Returns how likely some of k responses is right, without bias.

    Chen et al., Evaluating Large Language Models Trained on Code, arXiv 2107.03374:
    1 - C(n-c, k) / C(n, k), as a product of shares, which neither overflows nor
    cancels.

    Args:
        correct: [P, n] of 0 and 1.
        k: from 1 to n.

    Returns:
        [P].
    """
    correct = verdicts(correct)
    n = correct.shape[1]
    _check_draws(k, n)
    # k draws miss c right responses: a product over those of 1 - k / i.
    misses = np.cumprod([1.0, *(1 - k / i for i in range(n, 0, -1))])
    return 1 - misses[correct.sum(axis=1)]


def best_at_k(correct, k):
    """Returns how likely some of k responses drawn with replacement is right.

    verl's `best@k` draws k of the n responses with replacement a thousand times; this
    is the exact expectation of that, 1 - (1 - c/n)^k. The papers' Pass@32 seems to
    follow it: 71.8 % of 30 problems is no whole number of problems. Below pass@k for
    every k above 1 unless all n verdicts agree.

    Args:
        correct: [P, n] of 0 and 1.
        k: at least 1; it may be larger than n.

    Returns:
        [P].
    """
    if k < 1:
        raise ValueError(f"k={k}: draw at least 1 response")
    return 1 - (1 - avg_at_n(correct)) ** k


def majority_at_k(labels, k, draws=DRAWS, seed=0):
    """Returns how often the most frequent answer among k responses is right.

    The mean over subsets of k responses, drawn without replacement: all of them where
    there are no more than `draws`, such as for k = 1 and k = n, and else so many drawn
    at random, which leaves a standard error of at most 0.5 / sqrt(draws) for each
    problem. Answers tied for the first place share it evenly.

    Args:
        labels: [P, n] integers that say which answer each response gave: 0 is the
            right one, other positive numbers are wrong ones, negative ones gave none
            and have no vote. A problem on which nobody votes is not solved.
        k: from 1 to n.
        draws: subsets for each problem.
        seed: of the draws; problems are drawn independently.

    Returns:
        [P].
    """
    rows = np.asarray(labels)
    if rows.ndim != 2 or not np.issubdtype(rows.dtype, np.integer):
        raise ValueError("labels: give integers, the same number for every problem")
    n = rows.shape[1]
    _check_draws(k, n)
    if math.comb(n, k) <= draws:
        every = np.array([*itertools.combinations(range(n), k)])
        return np.array([_majority(row, every) for row in rows])
    generator = np.random.default_rng(seed)
    subsets = lambda: generator.random((draws, n)).argpartition(k - 1, axis=1)[:, :k]
    return np.array([_majority(row, subsets()) for row in rows])


def _majority(labels, subsets):
    """Returns the share of subsets, [S, k] places in the labels, [n], that 0 wins."""
    answers = np.union1d(0, labels[labels > 0])  # the right one comes first
    size = len(answers) + 1
    # Where a response votes: 0 for none, 1 for the right answer, then the wrong ones.
    vote = np.where(labels < 0, 0, 1 + np.searchsorted(answers, labels))
    places = vote[subsets] + size * np.arange(len(subsets))[:, None]
    counts = np.bincount(places.ravel(), minlength=size * len(subsets))
    counts = counts.reshape(-1, size)[:, 1:]
    most = counts.max(axis=1)
    tied = np.sum(counts == most[:, None], axis=1)
    return np.mean((counts[:, 0] == most) * (most > 0) / tied)


def _check_draws(k, n):
    if not 1 <= k <= n:
        raise ValueError(
            f"k={k} of {n} responses: draw at least 1 and at most {n}, or sample more"
        )
    if n > MOST:
        raise ValueError(f"{n} responses to a problem: give at most {MOST}")
