"""Scores of a policy on problems it answered several times. NumPy only.

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

import functools
import itertools
import math

import numpy as np

MOST = 1000  # responses to a problem; binomials of more overflow a float


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


def majority_at_k(labels, k):
    """Returns how likely the most frequent answer among k responses is right.

    The k responses are drawn without replacement, and all subsets are counted, so
    the result is exact. Answers tied for the first place share it evenly.

    Args:
        labels: [P, n] integers that say which answer each response gave: 0 is the
            right one, other positive numbers are wrong ones, negative ones gave none
            and have no vote. A problem on which nobody votes is not solved.
        k: from 1 to n.

    Returns:
        [P].
    """
    rows = np.asarray(labels)
    if rows.ndim != 2 or not np.issubdtype(rows.dtype, np.integer):
        raise ValueError("labels: give integers, the same number for every problem")
    _check_draws(k, rows.shape[1])
    return np.array([_majority(row, k) for row in rows])


def _majority(labels, k):
    _, sizes = np.unique(labels[labels > 0], return_counts=True)
    right, silent = int(np.sum(labels == 0)), int(np.sum(labels < 0))
    winning = _binomials(right)
    ways = 0.0
    for votes in range(1, min(right, k) + 1):
        rivals = sizes[sizes >= votes]
        # An answer of fewer responses cannot tie: those are as good as silent.
        others = silent + int(sizes.sum() - rivals.sum())
        ways += winning[votes] * _ways(rivals, others, votes, k - votes)
    return ways / math.comb(len(labels), k)


def _ways(rivals, silent, votes, rest):
    """Counts draws of `rest` wrong or silent responses that let `votes` win.

    Returns their number, those where t wrong answers have as many votes counted as
    1 / (t + 1), which is the integral of y^t from 0 to 1. So a tie is worth y, and the
    draws are the coefficient of x^rest in a product over answers, integrated by a rule
    that is exact for its degree in y. All terms are positive, so nothing cancels.
    """
    most = min(rest // votes, len(rivals))  # wrong answers that can be tied
    sizes, times = np.unique(rivals, return_counts=True)
    ways = 0.0
    for worth, weight in zip(*_gauss(most // 2 + 1), strict=True):
        drawn = _binomials(silent)
        for size, count in zip(sizes.tolist(), times.tolist(), strict=True):
            answer = _binomials(size)[: votes + 1].copy()
            answer[votes] *= worth
            drawn = _product(drawn, _power(answer, count, rest), rest)
        ways += weight * drawn[rest] if rest < len(drawn) else 0
    return ways


def _power(polynomial, exponent, degree):
    """Returns a power of a polynomial up to a degree, lowest coefficients first."""
    result = np.ones(1)
    while exponent:
        if exponent % 2:
            result = _product(result, polynomial, degree)
        exponent //= 2
        if exponent:
            polynomial = _product(polynomial, polynomial, degree)
    return result


def _product(one, other, degree):
    return np.convolve(one[: degree + 1], other[: degree + 1])[: degree + 1]


@functools.cache
def _gauss(count):
    """Returns places and weights, exact up to degree 2 count - 1 over [0, 1]."""
    places, weights = np.polynomial.legendre.leggauss(count)
    return (1 + places) / 2, weights / 2


@functools.cache
def _binomials(n):
    """Returns n choose 0 to n choose n, each rounded once. [n + 1]."""
    steps = range(1, n + 1)
    rows = itertools.accumulate(steps, lambda c, i: c * (n - i + 1) // i, initial=1)
    return np.array([*rows], float)


def _check_draws(k, n):
    if not 1 <= k <= n:
        raise ValueError(
            f"k={k} of {n} responses: draw at least 1 and at most {n}, or sample more"
        )
    if n > MOST:
        raise ValueError(f"{n} responses to a problem: give at most {MOST}")
