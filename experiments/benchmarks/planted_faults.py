r"""How many faults of the package its own tests notice.

    python experiments/benchmarks/planted_faults.py

Each of `tests/support/faults` is put alone into a copy of this checkout, where the
tests it names run until one fails; before that, all of these tests have to pass there.
Prints a line for each fault, writes the table, and ends with status 1 if less than 95%
are noticed, or one of the review that first planted faults is missed. `--only` takes
words of names, and writes nothing; `--jobs` so many copies are tried at a time.

Result: experiments/results/planted_faults.md.
"""

import argparse
import datetime
import importlib.metadata
import multiprocessing
import pathlib
import platform
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parents[2]
RESULTS = ROOT / "experiments" / "results" / "planted_faults.md"
NEEDED = 0.95  # share of the faults
sys.path.insert(0, str(ROOT / "tests"))

from support import faults  # noqa: E402
from support.faults import planting  # noqa: E402


def main(words=None):
    """Plants every fault and writes the table. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], help="words of names")
    parser.add_argument("--limit", type=int, default=180, help="seconds for a fault")
    parser.add_argument("--jobs", type=int, default=1, help="copies at a time")
    parser.add_argument("--out", type=pathlib.Path, default=RESULTS)
    options = parser.parse_args(words)
    chosen = [
        fault
        for fault in faults.everything()
        if not options.only or any(word in fault.name for word in options.only)
    ]
    if not chosen or options.jobs < 1:
        parser.error("give --jobs of 1 or more, and --only words that names have")
    begun = time.perf_counter()
    planting.preload()
    tests = list(dict.fromkeys(test for fault in chosen for test in fault.tests))
    parts = [tests[first :: options.jobs] for first in range(options.jobs)]
    with (
        tempfile.TemporaryDirectory() as folder,
        multiprocessing.get_context("fork").Pool(
            options.jobs, take_copy, (folder,)
        ) as pool,
    ):
        limit = options.limit * len(chosen)
        wholes = pool.starmap(whole, [(part, limit) for part in parts if part], 1)
        for outcome in wholes:
            if outcome.noticed or "passed" not in outcome.output:
                print(outcome.output)
                print("these tests do not pass without any fault", file=sys.stderr)
                return 2
        seconds = sum(outcome.seconds for outcome in wholes)
        print(f"{len(tests)} tests and files pass in {seconds:.0f} s", flush=True)
        tries = [(fault, options.limit) for fault in chosen]
        outcomes = pool.starmap(tried, tries, 1)
    rows = list(zip(chosen, outcomes, strict=True))
    text = report(rows, seconds, (time.perf_counter() - begun) / 60, options.jobs)
    print(text.splitlines()[2])
    if not options.only:
        options.out.write_text(text, "utf-8")
    return 0 if enough(rows) else 1


def take_copy(folder):
    """Makes the copy of the checkout that this process plants its faults in."""
    global COPY
    COPY = pathlib.Path(folder, str(multiprocessing.current_process().pid))
    planting.copy_tree(ROOT, COPY)


def whole(tests, limit):
    """Returns the `Outcome` of tests without a fault."""
    return planting.run_tests(COPY, tests, limit)


def tried(fault, limit):
    """Returns the `Outcome` of one fault, having said it."""
    with planting.planted(fault, COPY):
        outcome = planting.run_tests(COPY, fault.tests, limit)
    print(f"{outcome.seconds:5.0f} s  {fault.name}: {outcome.by}", flush=True)
    return outcome


def enough(rows):
    """Returns whether the tests notice what they have to."""
    noticed = [outcome.noticed for _, outcome in rows]
    reviewed = [outcome.noticed for fault, outcome in rows if fault.review]
    return sum(noticed) >= NEEDED * len(noticed) and all(reviewed)


def report(rows, baseline, minutes, jobs):
    """Returns the page: how it was made, and a line for each fault."""
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("jax", "pytest")
    )
    noticed = sum(outcome.noticed for _, outcome in rows)
    reviewed = sum(bool(fault.review) for fault, _ in rows)
    lines = [
        "# Faults planted in the package, and the tests that notice them",
        "",
        f"**{noticed} of {len(rows)} noticed** ({noticed / len(rows):.1%}), "
        f"{reviewed} of them those of the review that first planted faults. "
        f"{datetime.date.today()}, Python {platform.python_version()}, {versions}, "
        f"{platform.machine()}; {minutes:.0f} minutes, {jobs} at a time; "
        f"the same tests without a fault take {baseline:.0f} s of one. "
        "`python experiments/benchmarks/planted_faults.py` makes this table anew.",
        "",
        "| fault | file | noticed by | s |",
        "|---|---|---|--:|",
    ]
    for fault, outcome in rows:
        name = f"{fault.name} ({fault.review})" if fault.review else fault.name
        by = outcome.by.removeprefix("tests/").replace("|", "\\|")
        by = f"`{by}`" if outcome.noticed else f"**{by}**"
        lines.append(f"| {name} | {fault.file} | {by} | {outcome.seconds:.0f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
