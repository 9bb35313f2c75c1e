"""Evaluations and comparisons as Markdown tables, and responses as text."""

import collections

from maspo_jax.markdown import markdown_table
from maspo_jax.statistics.comparison import ALPHA

EVALUATION_NOTES = """\
Intervals are 95 %, over problems and responses: where another draw of problems of the
same kind, and of responses to them, would lie. "Drawing again" is one standard error of
avg over new responses to these very problems.

- **avg@n**: the share of right responses. **pass@k**: some of k responses is right,
  without bias (arXiv 2107.03374).
- **best@k**: k responses drawn with replacement from the n, as verl computes it and the
  papers' Pass@32 seems to be. It lies below pass@k: the two must not be compared.
- **majority@k**: the most frequent answer of k responses is right; ties share.
"""
COMPARISON_NOTES = f"""\
A - B with its 95 % interval, on the problems both answered. p: how often flipping the
signs of the differences at random gives as large a mean. Corrected: by Holm's method
for the benchmarks of one table, so that all of them called real are real, with 95 %
confidence. The row of means is a test of its own and not corrected, and neither table
is corrected for there being another. Real: corrected below {ALPHA}. Detectable: the
smallest true difference that is found (p below {ALPHA}, uncorrected) with 80 %
probability; a smaller one takes more problems or responses; none: fewer than 6 problems
have no p below {ALPHA}. Where few problems differ, p may be above it although the
interval leaves out 0: p counts, the interval is approximate there.
"""


def evaluation_markdown(policy, results):
    """Returns the tables of an evaluation.

    Args:
        policy: a line that says what was evaluated, and how.
        results: a dict: `benchmarks`, from `scores.of_benchmark` by name, and
            `average`, from `scores.average`, or None for one benchmark.
    """
    benchmarks, average = results["benchmarks"], results["average"]
    n = next(iter(benchmarks.values()))["samples"]
    scores = [
        [
            name,
            str(found["problems"]),
            _interval(found["avg"]),
            "" if found["chance"] is None else f"±{100 * found['chance']:.1f}",
            _interval(found["pass"][str(n)]),
            _interval(found["best"][str(n)]),
            _interval(found["majority"][str(n)]),
        ]
        for name, found in benchmarks.items()
    ]
    if average:
        row = _interval(average["avg"]), "", _interval(average["pass"][str(n)])
        scores.append(["mean", "", *row, _interval(average["best"][str(n)]), ""])
    heads = f"avg@{n},drawing again,pass@{n},best@{n},majority@{n}".split(",")
    ks = [*next(iter(benchmarks.values()))["pass"]]
    curves = [
        [name, *(_interval(found["pass"][k]) for k in ks)]
        for name, found in (benchmarks | ({"mean": average} if average else {})).items()
    ]
    outcomes = [*next(iter(benchmarks.values()))["outcomes"]]
    responses = [
        [
            name,
            f"{found['length']:.1f}",
            f"{found['truncated']:.1%}",
            *(f"{found['outcomes'][outcome]:.1%}" for outcome in outcomes),
        ]
        for name, found in benchmarks.items()
    ]
    named = [outcome.replace("_", " ") for outcome in outcomes]
    return "\n".join(
        [
            f"# {policy}\n",
            markdown_table(["benchmark", "problems", *heads], scores),
            markdown_table(["pass@k, k =", *ks], curves),
            markdown_table(["responses", "mean tokens", "cut off", *named], responses),
            EVALUATION_NOTES,
        ]
    )


def _interval(found):
    mean, low, high = (100 * found[name] for name in ("mean", "low", "high"))
    return f"{mean:.1f} [{low:.1f}, {high:.1f}]"


def comparison_markdown(names, compared):
    """Returns the tables of a comparison.

    Args:
        names: of the two evaluations.
        compared: what `evaluation.compare_folders` returned.
    """
    parts = [f"# A: {names[0]}, B: {names[1]}\n"]
    if compared["differing"]:
        parts.append(f"They differ in {'; '.join(compared['differing'])}.\n")
    heads = ["problems", "A", "B", "A - B", "p", "corrected", "detectable", "real"]
    for score, found in compared["scores"].items():
        rows = [[name, *_differences(row)] for name, row in found.items()]
        parts.append(markdown_table([score, *heads], rows))
    parts.append(COMPARISON_NOTES)
    return "\n".join(parts)


def _differences(row):
    percent = lambda name: f"{100 * row[name]:.1f}"
    signed = lambda name: f"{100 * row[name]:+.1f}"
    better = "A is better" if row["difference"] > 0 else "B is better"
    return [
        str(row["problems"]),
        percent("mine"),
        percent("theirs"),
        f"{signed('difference')} [{signed('low')}, {signed('high')}]",
        f"{row['p_value']:.4f}",
        f"{row['corrected']:.4f}",
        "none" if row["detectable"] is None else percent("detectable"),
        better if row["corrected"] < ALPHA else "not told apart",
    ]


def readable(problem, rows):
    """Yields the text of what was answered to a problem.

    All answers are counted and, where there are such, the first right and the first
    wrong response come in full, with the rule that decided.

    Args:
        problem: the `Problem`.
        rows: its rows, from `responses.read_responses`.
    """
    right = [row for row in rows if row["outcome"] == "correct"]
    wrong = [row for row in rows if row["outcome"] != "correct"]
    yield f"{'=' * 72}\n{problem.id}: right {len(right)} of {len(rows)}\n\n"
    yield f"{problem.question}\n\nreference: {problem.answer}\n"
    counts = collections.Counter((row["outcome"], row["answer"]) for row in rows)
    for (outcome, answer), count in counts.most_common():
        answer = "" if answer is None else f" {answer}"
        yield f"  {count} x {outcome.replace('_', ' ')}{answer}\n"
    for name, chosen in (("right", right[:1]), ("wrong", wrong[:1])):
        for row in chosen:
            cut = ", cut off" if row["truncated"] else ""
            yield f"\n--- {name}: response {row['sample']}, {row['length']} tokens"
            yield f"{cut}; {row['outcome'].replace('_', ' ')} by rule: "
            yield f"{row['rule']}\n{row['response']}\n"
    yield "\n"
