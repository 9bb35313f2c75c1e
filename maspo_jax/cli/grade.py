r"""Grades one answer, or a file of cases, and says which rule decided.

maspo grade '\frac12' --response response.txt
echo 'so \boxed{0.5}' | maspo grade '\frac12'
maspo grade --audit cases.jsonl
"""

import argparse
import math
import sys

from maspo_jax.cli.console import fail
from maspo_jax.rewards import Verifier
from maspo_jax.rewards.audit import audit, read_cases, report


def main(arguments=None):
    """Runs the command line; returns 0 for a correct answer, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="maspo grade")
    parser.add_argument("gold", nargs="?", help="the reference answer")
    parser.add_argument("--response", metavar="FILE", help="instead of standard input")
    parser.add_argument("--audit", metavar="FILE.jsonl", help="of cases, or its .gz")
    parser.add_argument("--deadline", type=float, default=1.0, help="seconds a check")
    options = parser.parse_args(arguments)
    if (options.gold is None) == (options.audit is None):
        parser.error("give a reference answer or --audit, one of the two")
    if not 0 < options.deadline < math.inf:
        return fail(f"--deadline {options.deadline}: give seconds, more than 0")
    option, read = ("--audit", read_cases) if options.audit else ("--response", _text)
    path = options.audit or options.response
    try:
        given = read(path)
    except OSError as error:
        return fail(f"{option} {path}: {error.strerror or error}; correct the path")
    except ValueError as error:  # it names the path
        return fail(f"{option} {error}; correct the file")
    with Verifier(workers=1, deadline=options.deadline) as verifier:
        if options.audit:
            print(report(audit(given, verifier.check)))
            return 0
        verdict = verifier.check(given, options.gold)
    print(f"{verdict.outcome}: {verdict.rule}")
    print(f"answer: {verdict.answer}")
    return 0 if verdict.outcome == "correct" else 1


def _text(path):
    if path is None:
        return sys.stdin.read()
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


if __name__ == "__main__":
    sys.exit(main())
