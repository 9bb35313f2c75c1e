"""Faults of scores, intervals, comparisons and of what an evaluation keeps."""

from support.faults import Fault

ESTIMATORS, INTERVALS = "statistics/test_estimators.py", "statistics/test_intervals.py"
COMPARISON = "statistics/test_comparison.py"
RESULTS, FILES = (
    "evaluation/test_evaluation_results.py",
    "evaluation/test_benchmarks.py",
)
DRAWN = "evaluation/test_drawn.py"
FAULTS = [
    Fault(
        "pass@k draws with replacement",
        "statistics/estimators.py",
        "*(1 - k / i for i in range(n, 0, -1))",
        "*(1 - k / n for i in range(n, 0, -1))",
        (ESTIMATORS,),
    ),
    Fault(
        "the first of tied answers wins",
        "statistics/estimators.py",
        "np.mean((counts[:, 0] == most) * (most > 0) / tied)",
        "np.mean((counts[:, 0] == most) * (most > 0))",
        (ESTIMATORS,),
    ),
    Fault(
        "no answer is an answer in a vote",
        "statistics/estimators.py",
        "vote = np.where(labels < 0, 0, 1 + np.searchsorted(answers, labels))",
        "vote = 1 + np.searchsorted(answers, np.maximum(labels, 0))",
        (ESTIMATORS,),
    ),
    Fault(
        "every problem draws the same subsets",
        "statistics/estimators.py",
        "return np.array([_majority(row, subsets()) for row in rows])",
        "one = subsets()\n    return np.array([_majority(row, one) for row in rows])",
        (ESTIMATORS,),
    ),
    Fault(
        "the variance of scores divides by their number",
        "statistics/intervals.py",
        "variance = float(values.var(ddof=1)) / count",
        "variance = float(values.var()) / count",
        (INTERVALS,),
    ),
    Fault(
        "both ends of an interval are swapped",
        "statistics/intervals.py",
        "(near, wilson) if mean < 0.5 else (wilson, near)",
        "(wilson, near) if mean < 0.5 else (near, wilson)",
        (INTERVALS,),
    ),
    Fault(
        "an interval is one-sided",
        "statistics/intervals.py",
        "special.stdtrit(freedom, (1 + confidence) / 2)",
        "special.stdtrit(freedom, confidence)",
        (INTERVALS,),
    ),
    Fault(
        "a mean of benchmarks is as uncertain as their sum",
        "statistics/intervals.py",
        "math.hypot(*(part.high - part.mean for part in parts)) / len(parts)",
        "math.hypot(*(part.high - part.mean for part in parts))",
        (INTERVALS,),
    ),
    Fault(
        "the p-value is one-sided",
        "statistics/comparison.py",
        "np.sum(np.abs(flipped) >= abs(weighted.sum()) - 1e-12)",
        "np.sum(flipped >= weighted.sum() - 1e-12)",
        (COMPARISON,),
    ),
    Fault(
        "problems of a comparison are not paired",
        "statistics/comparison.py",
        "differences = mine - theirs\n",
        "differences = np.sort(mine) - np.sort(theirs)\n",
        (COMPARISON,),
    ),
    Fault(
        "a difference has the sign of the other policy",
        "statistics/comparison.py",
        "mean = up.mean - down.mean",
        "mean = down.mean - up.mean",
        (COMPARISON,),
    ),
    Fault(
        "Holm's correction is Bonferroni's",
        "statistics/comparison.py",
        "factors = np.arange(len(order), 0, -1)",
        "factors = np.full(len(order), len(order))",
        (COMPARISON,),
    ),
    Fault(
        "corrected p-values come back in their order of size",
        "statistics/comparison.py",
        "corrected[order] = np.maximum.accumulate(",
        "corrected[:] = np.maximum.accumulate(",
        (COMPARISON,),
    ),
    Fault(
        "a wrong answer is another for every space",
        "evaluation/scores.py",
        'answer = "".join(row["answer"].split())',
        'answer = row["answer"]',
        (RESULTS,),
    ),
    Fault(
        "pass@k leaves out all responses",
        "evaluation/scores.py",
        "return sorted({*powers, samples})",
        "return sorted({*powers})",
        (RESULTS,),
    ),
    Fault(
        "tables show shares for percentages",
        "reports/tables.py",
        'mean, low, high = (100 * found[name] for name in ("mean", "low", "high"))',
        'mean, low, high = (found[name] for name in ("mean", "low", "high"))',
        (RESULTS,),
    ),
    Fault(
        "an evaluation goes on within a group",
        "evaluation/responses.py",
        "kept = (len(ends) - 1) // group * group",
        "kept = len(ends) - 1",
        (FILES,),
    ),
    Fault(
        "what is left of a line stays in the file",
        "evaluation/responses.py",
        "            file.truncate(ends[kept])\n",
        "            pass\n",
        (FILES,),
    ),
    Fault(
        "responses of a batch are numbered from the first",
        "evaluation/generate.py",
        "sample = int(first[prompt]) + index % plan.responses",
        "sample = index % plan.responses",
        (DRAWN,),
    ),
    Fault(
        "responses belong to the problem before",
        "evaluation/generate.py",
        "prompt = own.start + index // plan.responses",
        "prompt = own.start + (index - 1) // plan.responses",
        (DRAWN,),
    ),
    Fault(
        "what fills the last batch up is written",
        "evaluation/generate.py",
        "lines = lines[: total - done]  # without what filled the batch up",
        "lines = lines[:]",
        (DRAWN,),
    ),
    Fault(
        "right responses of the batch before are forgotten",
        "evaluation/generate.py",
        "right += int(kept[:, 0].sum())",
        "right = int(kept[:, 0].sum())",
        (DRAWN,),
    ),
    Fault(
        "a run is evaluated with its oldest checkpoint",
        "evaluation/policies.py",
        "step = saved[-1] if step is None else step",
        "step = saved[0] if step is None else step",
        ("evaluation/test_policies.py::test_a_policy_alone_is_read_bit_equal",),
    ),
    Fault(
        "the sum that tells policies apart forgets places",
        "evaluation/policies.py",
        "bits.astype(jnp.uint32) * (2 * place + 1)",
        "bits.astype(jnp.uint32)",
        (
            "evaluation/test_policies.py::"
            "test_other_parameters_and_another_order_are_seen",
        ),
    ),
]
