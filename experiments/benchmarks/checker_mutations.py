r"""The answer checker on spoiled answers and on answers shown differently.

    python experiments/benchmarks/checker_mutations.py --problems FILE ... \
        --cases ../shared/reference/checker_cases.jsonl --sample 2000

Every reference of the files, or a sample of them, goes through every rule of
`tests/support/mutations`: no spoiled one may be accepted, and every other should be.
math-verify grades the same pairs where it is installed; `--peer-sample` says on how
many of the references. Writes `mutations.md`; ends with status 1 if a spoiled answer
was accepted.

Result: experiments/results/answer_checker/mutations.md.
"""

import argparse
import collections
import datetime
import importlib.metadata
import importlib.util
import pathlib
import platform
import random
import sys
import time

from maspo_jax.data.sources import ProblemFile
from maspo_jax.rewards import Verifier
from maspo_jax.rewards.audit import read_cases

ROOT = pathlib.Path(__file__).parents[2]
RESULTS = ROOT / "experiments" / "results" / "answer_checker"
EXAMPLES = 5  # of a rule that are listed


def main():
    """Grades every pair and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", nargs="*", default=[], help="files of problems")
    parser.add_argument("--cases", help="JSON lines with `gold`")
    parser.add_argument("--sample", type=int, help="references to draw; all without")
    parser.add_argument("--peer-sample", type=int, default=200, help="for math-verify")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=pathlib.Path, default=RESULTS)
    options = parser.parse_args()
    spoiled, kept = rules()
    found = references(options)
    golds = random.Random(options.seed).sample(
        found, min(options.sample or len(found), len(found))
    )
    peers = set(golds[: options.peer_sample]) if math_verify() else set()
    started = time.perf_counter()
    with Verifier(deadline=2.0) as verifier:
        bad = table(shown(spoiled, golds, boxed), verifier, peers)
        good = table(shown(kept, golds, str), verifier, peers)
    seconds = time.perf_counter() - started
    text = report(options, len(found), len(golds), len(peers), bad, good, seconds)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "mutations.md").write_text(text)
    print(text)
    return 1 if any(row["ours"] for row in bad.values()) else 0


def rules():
    """Returns the rules that spoil and the rules that keep, by name."""
    sys.path.insert(0, str(ROOT / "tests"))
    from support.mutations import keeping, spoiling, writing

    del writing  # registers its rules with those of `spoiling`
    return spoiling.RULES, keeping.RULES


def references(options):
    """Returns the distinct references of all files, sorted."""
    golds = {p.answer for path in options.problems for p in ProblemFile(path)}
    if options.cases:
        golds |= {case["gold"] for case in read_cases(options.cases)}
    return sorted(golds)


def boxed(text):
    """Returns a response that states an answer."""
    return rf"So we get \boxed{{{text}}}."


def shown(rules, golds, frame):
    """Returns {rule: [(gold, response)]} wherever a rule applies."""
    pairs = {name: [] for name in rules}
    for gold in golds:
        for name, rule in rules.items():
            text = rule(gold)
            if text is not None:
                pairs[name].append((gold, frame(text)))
    return pairs


def table(pairs, verifier, peers):
    """Returns per rule how often it applied, and who accepted how many."""
    peer = math_verify()
    rows = {}
    for name, cases in pairs.items():
        golds, responses = [gold for gold, _ in cases], [text for _, text in cases]
        verdicts = verifier.grade(responses, golds)
        right = [verdict.outcome == "correct" for verdict in verdicts]
        theirs = [(g, r) for g, r in cases if g in peers]
        rows[name] = {
            "cases": cases,
            "right": right,
            "ours": sum(right),
            "tried": len(theirs),
            "theirs": sum(peer(r, g) for g, r in theirs) if peer else 0,
        }
    return rows


def math_verify():
    """Returns math-verify as a function of (response, gold) to bool, or None."""
    if importlib.util.find_spec("math_verify") is None:
        return None
    from math_verify import parse, verify

    def check(response, gold):
        try:
            return bool(verify(parse(f"\\boxed{{{gold}}}"), parse(response)))
        except Exception:
            return False

    return check


def report(options, found, drawn, peers, bad, good, seconds):
    """Returns the page: how it was made, two tables, and examples."""
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("sympy", "math-verify")
        if importlib.util.find_spec(name.replace("-", "_"))
    )
    lines = [
        f"{datetime.date.today()}, Python {platform.python_version()}, {versions}; "
        f"seed {options.seed}: {drawn:,} of {found:,} distinct references, "
        f"{peers:,} of them for math-verify; {seconds:.0f} s.",
        "",
        *section("Spoiled answers that are accepted", bad, False),
        *section("Answers shown differently that are accepted", good, True),
    ]
    return "\n".join(lines) + "\n"


def section(title, rows, expected):
    """Returns the lines of a table and of examples of what went wrong."""
    lines = [f"## {title}", "", "| rule | applied | ours | | math-verify | of |"]
    lines += ["|---|--:|--:|--:|--:|--:|"]
    total = collections.Counter()
    for name, row in rows.items():
        applied = len(row["cases"])
        total.update(a=applied, o=row["ours"], t=row["theirs"], n=row["tried"])
        lines.append(line(name, applied, row["ours"], row["theirs"], row["tried"]))
    lines.append(line("**all**", total["a"], total["o"], total["t"], total["n"]))
    lines += ["", "Where ours is not as the rule has it:", ""]
    for name, row in rows.items():
        cases = zip(row["cases"], row["right"], strict=True)
        wrong = [case for case, right in cases if right != expected]
        lines += [f"- {name}: `{g}` <- `{r}`" for g, r in map(inline, wrong[:EXAMPLES])]
    return [*lines, ""]


def line(name, applied, ours, theirs, tried):
    """Returns one row of a table."""
    share = f"{100 * ours / applied:.2f}%" if applied else ""
    return f"| {name} | {applied} | {ours} | {share} | {theirs} | {tried} |"


def inline(case):
    """Returns a gold and a response on one line each."""
    return tuple(" ".join(text.split()).replace("`", "'")[:120] for text in case)


if __name__ == "__main__":
    sys.exit(main())
