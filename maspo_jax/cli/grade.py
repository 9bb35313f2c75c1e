"""`maspo grade`."""

import dataclasses
import sys
from typing import Annotated

import tyro

from maspo_jax import api
from maspo_jax.cli.console import command
from maspo_jax.settings import setting


@dataclasses.dataclass(frozen=True)
class Grade:
    r"""Grades one answer, or a file of cases, and says which rule decided.

        echo 'so \boxed{0.5}' | maspo grade '\frac12'

    The exit status is 0 for a correct answer, 1 for any other outcome, 2 for an error.
    With --audit it is 0 however many cases are missed.
    """

    gold: Annotated[
        tyro.conf.Positional[str],
        tyro.conf.arg(metavar="[GOLD]", help_behavior_hint="(or --audit)"),
    ] = ""
    """reference answer"""
    response: Annotated[
        str | None,
        tyro.conf.arg(metavar="FILE", help_behavior_hint="(default: standard input)"),
    ] = None
    """file with the response"""
    audit: Annotated[
        str | None,
        tyro.conf.arg(metavar="FILE", help_behavior_hint="(instead of GOLD)"),
    ] = None
    """file of cases, .jsonl or .jsonl.gz, to grade them all and list the misses"""
    deadline: float = setting(1.0, "(0, inf)")
    """seconds after which a check is given up"""

    def run(self):
        """Grades, and prints the verdict. Returns the exit status."""
        if (not self.gold) == (self.audit is None):
            raise ValueError("give a reference answer or --audit, one of the two")
        if self.audit:
            return self.run_audit()
        response = _given("--response", self.response, _text)
        verdict = api.grade(response, self.gold, deadline=self.deadline)
        print(f"{verdict.outcome}: {verdict.rule}")
        if verdict.answer is not None:
            print(f"answer: {verdict.answer}")
        return 0 if verdict.outcome == "correct" else 1

    def run_audit(self):
        """Checks every case of a file, and prints a table and the misses."""
        from maspo_jax.rewards import Verifier
        from maspo_jax.rewards.audit import audit, read_cases, report

        cases = _given("--audit", self.audit, read_cases)
        with Verifier(workers=1, deadline=self.deadline) as verifier:
            print(report(audit(cases, verifier.check)))


def _given(option, path, read):
    """Returns what a file holds; a file that is at fault is said of its option."""
    try:
        return read(path)
    except OSError as error:
        raise ValueError(
            f"{option} {path}: {error.strerror or error}; correct the path"
        ) from error
    except ValueError as error:  # it names the path
        raise ValueError(f"{option} {error}; correct the file") from error


def _text(path):
    if path is None:
        return sys.stdin.read()
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


main = command(Grade)
