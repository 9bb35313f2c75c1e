"""Says how much of some benchmarks stands in a file of training problems.

    maspo contamination TRAIN.jsonl --against BENCHMARK.jsonl ... [--out DIR]

It prints a table and writes `contamination.md` and `contamination.json`.
"""

import argparse
import dataclasses
import json
import sys

from maspo_jax.cli.console import fail
from maspo_jax.data.sources import contamination
from maspo_jax.data.sources.file import ProblemFile
from maspo_jax.storage import created, results_folder


def main(words=None):
    """Runs the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="maspo contamination")
    parser.add_argument("training", metavar="FILE", help="of training problems")
    parser.add_argument("--against", metavar="FILE", nargs="+", required=True)
    parser.add_argument("--out", metavar="DIR", default=".", help="of the report")
    parser.add_argument("--words", metavar="N", type=int, default=contamination.WORDS)
    options = parser.parse_args(words)
    if options.words < 2:
        parser.error(f"--words {options.words}: give at least 2")
    try:
        out = results_folder(options.out)
        reports = contamination.compare(
            ProblemFile(options.training),
            {path: ProblemFile(path) for path in options.against},
            options.words,
        )
        text = "\n".join(markdown(options.training, reports, options.words))
        print(text)
        with created(out):
            write(out, options, reports, text)
    except (ValueError, OSError) as error:
        return fail(error)
    return 0


def write(out, options, reports, text):
    """Writes the report into a folder: as Markdown and as JSON."""
    listed = "\n".join(findings(reports))
    (out / "contamination.md").write_text(f"{text}\n{listed}\n", "utf-8")
    records = [dataclasses.asdict(report) for report in reports]
    whole = {
        "training": options.training,
        "words": options.words,
        "share": contamination.SHARE,
        "benchmarks": records,
    }
    (out / "contamination.json").write_text(json.dumps(whole, indent=1) + "\n")


def markdown(training, reports, words):
    """Returns the lines of a table of benchmarks, and the method in a sentence."""
    lines = [
        f"Benchmark problems found in `{training}`",
        "",
        "| benchmark | problems | found | same text | same answer |",
        "|---|---:|---:|---:|---:|",
    ]
    for report in reports:
        name, found = report.benchmark, len(report.findings)
        lines.append(
            f"| {name} | {report.problems} | {found} | {report.count('equal')} | "
            f"{report.count('same_answer')} |"
        )
    lines += [
        "",
        f"Found: the same letters and digits, or at least "
        f"{contamination.SHARE:.0%} of its {words}-word sequences in one training "
        "question. A lower bound: rewordings and translations are not seen.",
    ]
    return lines


def findings(reports):
    """Yields the lines of a table of the findings, none where there are none."""
    if any(report.findings for report in reports):
        yield from (
            "",
            "| benchmark problem | training problem | sequences | text | answer |",
            "|---|---|---:|---|---|",
        )
    same = {True: "same", False: "other"}
    for report in reports:
        for f in report.findings:
            texts = same[f.equal], same[f.same_answer]
            cells = f.benchmark, f.training, f"{f.overlap:.0%}", *texts
            yield f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
