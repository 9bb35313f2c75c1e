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
from maspo_jax.markdown import markdown_table
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
    parts = filter(None, (f"{text}\n", findings(reports)))
    (out / "contamination.md").write_text("\n".join(parts), "utf-8")
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
    rows = []
    for report in reports:
        counts = report.count(), report.count("equal"), report.count("same_answer")
        rows.append([report.benchmark, *map(str, (report.problems, *counts))])
    return [
        f"Benchmark problems found in `{training}`",
        "",
        markdown_table(
            "benchmark,problems,found,same text,same answer".split(","), rows
        ),
        f"Found: the same letters and digits, or at least "
        f"{contamination.SHARE:.0%} of its {words}-word sequences in one training "
        "question. A lower bound: rewordings and translations are not seen.",
    ]


def findings(reports):
    """Returns a table of the findings, an empty text where there are none."""
    same = {True: "same", False: "other"}
    rows = [
        [
            f.benchmark,
            f.training,
            f"{f.overlap:.0%}",
            same[f.equal],
            same[f.same_answer],
        ]
        for report in reports
        for f in report.findings
    ]
    heads = "benchmark problem,training problem,sequences,text,answer".split(",")
    return markdown_table(heads, rows, left=2) if rows else ""


if __name__ == "__main__":
    sys.exit(main())
