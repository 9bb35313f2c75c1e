r"""The answer checker beside math-verify 0.9: accuracy per kind, and speed.

    python experiments/benchmarks/answer_checker.py --cases checker_cases.jsonl \
        --outputs areal_r1_tails.jsonl.gz qwen_math_cot_100.jsonl.gz \
        --problems math_train.jsonl.gz math500.jsonl

Both run in this process, one after the other, on the same cases; math-verify is left
out where it is not installed. Speed is measured on references from the problem files,
at the end of an 8,000-character response: as they stand (gold), written differently
(rewritten) and changed (wrong). Writes `accuracy.md` and `speed.md`.

Result: experiments/results/answer_checker. The rules of the checker were made with
the cases at hand, so their score is a floor to hold and no estimate for unseen
answers. Estimates: of 619 pairs it had never been run on (most of
`tests/answer_pairs.tsv`) it got 594 right, math-verify 491; of 1,058 later ones, when
first run on them, 990 and one wrong answer accepted, math-verify 848 and 24.
"""

import argparse
import gzip
import importlib.util
import json
import os
import pathlib
import random
import time

from maspo_jax.rewards import Verdict, Verifier
from maspo_jax.rewards.audit import audit, read_cases, table

RESULTS = pathlib.Path(__file__).parents[1] / "results" / "answer_checker"
PROSE = "We compute the next term and find that $x_{3} = \\frac{1}{2}$ holds. "
CHARACTERS = 8_000  # of reasoning before an answer
SAMPLE = 300  # references timed


def main():
    """Prints and writes every table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", help="JSON lines with expected verdicts")
    parser.add_argument("--outputs", nargs="*", default=[], help="graded outputs")
    parser.add_argument("--problems", nargs="*", default=[], help="JSON lines to time")
    parser.add_argument("--out", type=pathlib.Path, default=RESULTS)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    peer = math_verify()
    with Verifier() as verifier:
        graders = {"ours": verifier.check} | ({"math-verify": peer} if peer else {})
        if options.cases:
            cases = read_cases(options.cases)
            cases += [case for path in options.outputs for case in outputs(path)]
            write(options.out / "accuracy.md", accuracy(cases, graders))
        if options.problems:
            golds = references(options.problems)
            text = speed(golds, graders, verifier) + throughput(verifier, golds)
            write(options.out / "speed.md", text)


def write(path, text):
    """Writes a table and shows it."""
    path.write_text(text)
    print(text)


def math_verify():
    """Returns math-verify as a function of (response, gold), or None."""
    if importlib.util.find_spec("math_verify") is None:
        return None
    from math_verify import parse, verify

    def check(response, gold):
        try:
            correct = verify(parse(f"\\boxed{{{gold}}}"), parse(response))
        except Exception as fault:
            return Verdict("error", None, repr(fault))
        return Verdict("correct" if correct else "wrong", None, "math-verify")

    return check


def outputs(path):
    """Returns a file of outputs of models, with published grades, as cases."""
    name = pathlib.Path(path).name.partition(".")[0]
    with gzip.open(path, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    return [
        {
            "id": row["id"],
            "kind": f"graded {name}",
            "gold": row["answer"],
            "response": row.get("response") or row["response_tail"],
            "expected": row["label"],
        }
        for row in rows
    ]


def accuracy(cases, graders):
    """Returns one row per kind: cases, then correct, false positives and negatives."""
    safe = [case for case in cases if case["kind"] != "hostile"]
    graded = {name: audit(safe, grade) for name, grade in graders.items()}
    published = [case for case in safe if case["kind"].startswith("graded")]
    scored = {
        name: [r for r in results if r.case not in published]
        for name, results in graded.items()
    }
    names = "".join(f" {name} | FP | FN |" for name in graders)
    lines = [f"| kind | cases |{names}", "|---|--:|" + "--:|" * 3 * len(graders)]
    tables = [table(results) for results in graded.values()]
    for rows in [*zip(*(t[:-1] for t in tables), strict=True)]:
        lines.append(row_of(rows))
    lines.append(row_of([table(results)[-1] for results in scored.values()]))
    lines += ["", "| | checks/s | p50 ms | p99 ms | max ms |", "|---|--:|--:|--:|--:|"]
    lines += [f"| {name} | {times(results)} |" for name, results in scored.items()]
    lines += ["", "Where ours and the file disagree:", ""]
    for result in graded["ours"]:
        if not result.correct:
            case, verdict = result.case, result.verdict
            lines.append(
                f"- {case['id']} ({case['kind']}): expected {case['expected']}, "
                f"`{verdict.answer}` for `{case['gold']}` is {verdict.outcome}"
            )
    return "\n".join(lines) + "\n"


def row_of(rows):
    """Returns the table row of one kind, from the row of each grader."""
    kind, count = rows[0][:2]
    cells = [
        f"{100 * correct / n:.1f}% | {fp} | {fn}" for _, n, correct, fp, fn in rows
    ]
    return f"| {kind} | {count} | {' | '.join(cells)} |"


def times(results):
    """Returns checks per second, median, 99th percentile and maximum as cells."""
    seconds = sorted(result.seconds for result in results)
    middle, high = seconds[len(seconds) // 2], seconds[int(len(seconds) * 0.99)]
    cells = [f"{1e3 * value:.2f}" for value in (middle, high, seconds[-1])]
    return " | ".join([f"{len(seconds) / sum(seconds):,.0f}", *cells])


def references(paths):
    """Returns up to `SAMPLE` answers of problem files, drawn with a fixed seed."""
    answers = []
    for path in paths:
        opened = gzip.open(path, "rt") if path.endswith(".gz") else open(path)
        with opened as lines:
            answers += [str(json.loads(line)["answer"]) for line in lines]
    return random.Random(0).sample(sorted(set(answers)), SAMPLE)


def rewritten(gold):
    """Writes an answer differently where one of a few rules applies."""
    if "\\frac{" in gold:
        return gold.replace("\\frac{", "\\dfrac{ ").replace("}{", " }{ ")
    if gold.lstrip("-").isdigit():
        return f"\\frac{{{2 * int(gold)}}}{{2}}"
    parts = gold.split(", ")
    if len(parts) > 1 and all(part.lstrip("-").isdigit() for part in parts):
        return ", ".join(reversed(parts))
    return f"{{{gold}}}"


def changed(gold):
    """Returns a wrong answer: the last digit moved, or a term added."""
    for position in reversed(range(len(gold))):
        if gold[position].isdigit():
            digit = str((int(gold[position]) + 1) % 10)
            return gold[:position] + digit + gold[position + 1 :]
    return gold + "+1"


def processor_seconds(verifier):
    """Returns the processor time spent so far, here and in a verifier's workers."""
    pool = verifier._service._pool
    pids = [pool.zygote.pid, *(worker.pid for worker in pool.workers)] if pool else []
    ticks = 0
    for pid in pids:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def speed(golds, graders, verifier):
    """Returns checks per second of each grader on each form of the answers."""
    reasoning = PROSE * (CHARACTERS // len(PROSE))
    load = os.getloadavg()[0]
    lines = [
        f"{len(golds)} references behind {CHARACTERS:,} characters, in one process; "
        f"load of the machine {load:.1f} on {os.cpu_count()} cores.",
        "",
        "| answers | grader | right | per processor second | per second | p50 ms | "
        "p99 ms | max ms |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for form, spell in {"gold": str, "rewritten": rewritten, "wrong": changed}.items():
        cases = [
            {
                "gold": gold,
                "response": f"{reasoning}\\boxed{{{spell(gold)}}}.",
                "expected": form != "wrong",
            }
            for gold in golds
        ]
        for name, grade in graders.items():
            grade(r"\boxed{2\sin x\cos x}", r"\sin 2x")  # imports, starts workers
            spent = -processor_seconds(verifier)
            results = audit(cases, grade)
            spent += processor_seconds(verifier)
            correct = sum(result.correct for result in results)
            rate = f"{len(results) / spent:,.0f}"
            lines.append(f"| {form} | {name} | {correct} | {rate} | {times(results)} |")
    return "\n".join(lines) + "\n"


def throughput(verifier, golds):
    """One large batch: 8,192 responses of about 4,000 tokens, 1% of them hostile."""
    reasoning = PROSE * (16_000 // len(PROSE))
    hostile = ["9^{9^{9^{9}}}", "((9!)!)!", "\\sin(10^{10^{10}})", "(x+y+z)^{60}"]
    pairs = []
    for number in range(8_192):
        gold = golds[number // 8 % len(golds)]
        answer = (gold, changed(gold), rewritten(gold))[number % 3]
        if number % 100 == 0:
            answer = hostile[number // 100 % len(hostile)] + f"+{number}"
        pairs.append((f"{reasoning} {number} \\boxed{{{answer}}}", gold))
    responses, references = zip(*pairs, strict=True)
    started = time.perf_counter()
    score = verifier.score(responses, references)
    seconds = time.perf_counter() - started
    return (
        f"\nOne batch of {len(score):,} responses of {len(responses[0]):,} characters, "
        f"1% of them hostile, on two workers: {seconds:.1f} s.\n"
    )


if __name__ == "__main__":
    main()
