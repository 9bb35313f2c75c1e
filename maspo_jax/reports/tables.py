"""The scores of an evaluation as Markdown, and its responses as text."""

import collections

NOTES = """\
Intervals are 95 %, over problems and responses: where another draw of problems of the
same kind, and of responses to them, would lie. "Drawing again" is one standard error of
avg over new responses to these very problems.

- **avg@n**: the share of right responses. **pass@k**: some of k responses is right,
  without bias (arXiv 2107.03374).
- **best@k**: k responses drawn with replacement from the n, as verl computes it and the
  papers' Pass@32 seems to be. It lies below pass@k: the two must not be compared.
- **majority@k**: the most frequent answer of k responses is right; ties share.
"""


def markdown(policy, results):
    """Returns the tables of an evaluation.

    Args:
        policy: a line that says what was evaluated, and how.
        results: a dict: `benchmarks`, from `results.of_benchmark` by name, and
            `average`, from `results.average`, or None for one benchmark.
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
            table(["benchmark", "problems", *heads], scores),
            table(["pass@k, k =", *ks], curves),
            table(["responses", "mean tokens", "cut off", *named], responses),
            NOTES,
        ]
    )


def table(heads, rows):
    """Returns a Markdown table, its first column left, the others right.

    Cells are filled up with spaces, so that columns stand below each other as text too.
    """
    widths = [max(3, *map(len, column)) for column in zip(heads, *rows, strict=True)]
    rules = [f"{'-' * (width - 1)}:" for width in widths]
    rules[0] = rules[0][::-1]
    lines = [
        [line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]
        for line in (heads, rules, *rows)
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _interval(found):
    mean, low, high = (100 * found[name] for name in ("mean", "low", "high"))
    return f"{mean:.1f} [{low:.1f}, {high:.1f}]"


def readable(problem, rows):
    """Yields the text of what was answered to a problem.

    All answers are counted and, where there are such, the first right and the first
    wrong response come in full, with the rule that decided.

    Args:
        problem: the `Problem`.
        rows: its rows, from `generations.read`.
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
            yield f"\n--- {name}: response {row['sample']}, {row['tokens']} tokens"
            yield f"{cut}; {row['outcome'].replace('_', ' ')} by rule: "
            yield f"{row['rule']}\n{row['response']}\n"
    yield "\n"
