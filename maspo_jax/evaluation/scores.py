"""From the responses to benchmarks to their scores, as plain data."""

import dataclasses
import math

import numpy as np

from maspo_jax.rewards.verdict import OUTCOMES
from maspo_jax.statistics import estimators, intervals


def verdicts_of(problems):
    """Returns what is right, bool [P, n], of the rows of P problems."""
    return estimators.verdicts(
        [[row["outcome"] == "correct" for row in rows] for rows in problems]
    )


def labels_of(problems):
    """Returns which answer each response gave, [P, n], as `majority_at_k` reads it.

    Right answers are one answer. Wrong ones are the same if they are written the same,
    but for spaces, which splits votes for one value among its spellings.
    """
    return np.array([_labels(rows) for rows in problems])


def _labels(rows):
    known, labels = {}, []
    for row in rows:
        if row["outcome"] == "correct":
            labels.append(0)
        elif row["answer"] is None:
            labels.append(-1)
        else:
            answer = "".join(row["answer"].split())
            labels.append(known.setdefault(answer, len(known) + 1))
    return labels


def draws(samples):
    """Returns the k of pass@k that are reported: powers of two, and all responses."""
    powers = [2**i for i in range(samples.bit_length())]
    return sorted({*powers, samples})


def of_benchmark(problems):
    """Returns the scores of a benchmark.

    Args:
        problems: the rows of each problem, from `responses.read_responses`.

    Returns:
        A dict for JSON: `problems` and `samples`, how many; `avg`, and by k `pass`,
        `best` and `majority`, each with `mean`, `low` and `high`; the standard error of
        avg, `error`, and its part that drawing again would change, `chance`, or None
        for one response; `truncated`, `length` and `outcomes` of the responses.
    """
    correct, labels = verdicts_of(problems), labels_of(problems)
    rows = [row for rows in problems for row in rows]
    error, chance = intervals.standard_errors(correct)
    samples = correct.shape[1]
    scores = _scores([correct])
    majority = {
        str(k): dataclasses.asdict(intervals.score(estimators.majority_at_k(labels, k)))
        for k in draws(samples)
    }
    return {
        "problems": len(problems),
        "samples": samples,
        "avg": scores["avg"],
        "error": error,
        "chance": None if math.isnan(chance) else chance,
        "pass": scores["pass"],
        "best": scores["best"],
        "majority": majority,
        "truncated": float(np.mean([row["truncated"] for row in rows])),
        "length": float(np.mean([row["length"] for row in rows])),
        "outcomes": {
            name: float(np.mean([row["outcome"] == name for row in rows]))
            for name in OUTCOMES
        },
    }


def average(benchmarks):
    """Returns the plain means over benchmarks, as the papers' last column.

    Args:
        benchmarks: the rows of each problem of each benchmark, all with n responses.
    """
    return _scores([verdicts_of(problems) for problems in benchmarks])


def _scores(matrices):
    """Returns the mean scores of benchmarks, from what is right of each, [P, n]."""
    interval = lambda score, *k: dataclasses.asdict(
        intervals.average([score(correct, *k) for correct in matrices])
    )
    ks = draws(matrices[0].shape[1])
    return {
        "avg": interval(estimators.avg_at_n),
        "pass": {str(k): interval(estimators.pass_at_k, k) for k in ks},
        "best": {str(k): interval(estimators.best_at_k, k) for k in ks},
    }
