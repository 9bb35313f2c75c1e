"""`maspo contamination`."""

import dataclasses
import json
from typing import Annotated

import tyro

from maspo_jax.cli.console import command
from maspo_jax.data.sources import ProblemFile, contamination
from maspo_jax.markdown import markdown_table
from maspo_jax.settings import setting
from maspo_jax.storage import created, results_folder


@dataclasses.dataclass(frozen=True)
class Contamination:
    """Counts the benchmark problems that a file of training problems contains.

    Found is a problem with the same letters and digits as a training question, or most
    of whose word n-grams stand in one. Prints a table and writes contamination.md and
    contamination.json.
    """

    training: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FILE")]
    """file of training problems"""
    against: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FILE [FILE ...]")]
    """files of benchmark problems"""
    out: Annotated[str, tyro.conf.arg(metavar="DIR")] = "."
    """folder for the report"""
    words: int = setting(contamination.WORDS, "[2, inf)")
    """n-gram length in words"""

    def run(self):
        """Looks, and writes the report."""
        if not self.against:
            raise ValueError("--against: give one or more files of benchmark problems")
        out = results_folder(self.out)
        reports = contamination.compare(
            ProblemFile(self.training),
            {path: ProblemFile(path) for path in self.against},
            self.words,
        )
        text = "\n".join(markdown(self.training, reports, self.words))
        print(text)
        with created(out):
            write(out, self, reports, text)


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


main = command(Contamination)
