"""`maspo contamination`."""

import dataclasses
import json
from typing import Annotated

import tyro

from maspo_jax.cli.console import command
from maspo_jax.data.sources import contamination
from maspo_jax.data.sources.file import ProblemFile
from maspo_jax.settings import setting
from maspo_jax.storage import created, results_folder


@dataclasses.dataclass(frozen=True)
class Contamination:
    """Says how much of some benchmarks stands in a file of training problems.

    It prints a table and writes `contamination.md` and `contamination.json`.
    """

    training: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FILE")]
    """of training problems"""
    against: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FILE")]
    """of benchmark problems, one or more"""
    out: Annotated[str, tyro.conf.arg(metavar="DIR")] = "."
    """of the report"""
    words: int = setting(contamination.WORDS, "[2, inf)")
    """in the sequences that are looked for"""

    def run(self):
        """Looks, and writes the report."""
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


main = command(Contamination)
