"""Grades a file of cases and says where the checker and the file disagree.

A case is a JSON object with `gold`, `response` (or `response_parts`, a list of
[text, times] to be joined), `expected` (true, false or "no_answer"), `kind`.
Cases of kind "arguable" are graded and never counted.
"""

import collections
import dataclasses
import gzip
import json
import time
import zlib

from maspo_jax.rewards.verdict import Verdict

UNSCORED = "arguable"


@dataclasses.dataclass(frozen=True)
class CheckedCase:
    """One case, what the checker said and how many seconds it took."""

    case: dict
    verdict: Verdict
    seconds: float

    @property
    def expected(self):
        """Whether the case should earn the reward."""
        return self.case["expected"] is True

    @property
    def correct(self):
        """Whether the reward is the expected one."""
        return (self.verdict.outcome == "correct") == self.expected


def read_cases(path):
    """Returns the cases of a JSON lines file, plain or .gz, responses joined.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no whole .gz, or a line is no case; the message names it.
    """
    opened = gzip.open if str(path).endswith(".gz") else open
    try:
        with opened(path, "rb") as lines:
            return [
                _case(line, f"{path}:{number}")
                for number, line in enumerate(lines, start=1)
                if line.strip()
            ]
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise ValueError(f"{path}: not a whole gzip file: {error}") from error


def _case(line, place):
    try:
        case = json.loads(line)
        parts = case.pop("response_parts", ())
        case["response"] = case.get("response") or "".join(t * n for t, n in parts)
        missing = [name for name in ("gold", "expected") if name not in case]
    except UnicodeDecodeError as error:
        raise ValueError(f"{place}: not UTF-8 text") from error
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"{place}: not a case: {error}") from None
    if missing:
        raise ValueError(f"{place}: a case without {' and '.join(missing)}")
    return case


def audit(cases, grade):
    """Returns a `CheckedCase` per case; `grade` is called on one case at a time."""
    results = []
    for case in cases:
        started = time.perf_counter()
        verdict = grade(case["response"], case["gold"])
        results.append(CheckedCase(case, verdict, time.perf_counter() - started))
    return results


def table(results):
    """Returns rows of (kind, cases, correct, false positives, false negatives)."""
    kinds = collections.defaultdict(list)
    for result in results:
        kinds[result.case.get("kind", "all")].append(result)
    rows = [_row(kind, kinds[kind]) for kind in sorted(kinds)]
    scored = [r for r in results if r.case.get("kind") != UNSCORED]
    return [*rows, _row("scored", scored)]


def _row(kind, results):
    wrong = [result for result in results if not result.correct]
    missed = sum(result.expected for result in wrong)
    correct = len(results) - len(wrong)
    return kind, len(results), correct, len(wrong) - missed, missed


def report(results):
    """Returns the table, the misses and the speed as text."""
    lines = [f"{'kind':24}{'cases':>7}{'right':>7}{'FP':>5}{'FN':>5}"]
    for kind, cases, correct, positives, negatives in table(results):
        lines.append(f"{kind:24}{cases:7}{correct:7}{positives:5}{negatives:5}")
    for result in results:
        if not result.correct and result.case.get("kind") != UNSCORED:
            case, verdict = result.case, result.verdict
            lines.append(
                f"{case.get('id', '')} {case.get('kind', '')}: expected "
                f"{case['expected']}, {verdict.outcome} by {verdict.rule}: "
                f"gold {case['gold']!r:.80}, answer {verdict.answer!r:.80}"
            )
    return "\n".join([*lines, speed(results)])


def speed(results):
    """Returns checks per second and the median, 99th percentile and maximum."""
    times = sorted(result.seconds for result in results)
    if not times:
        return "no cases"
    median, high = times[len(times) // 2], times[int(len(times) * 0.99)]
    return (
        f"{len(times) / sum(times):.0f} checks/s, p50 {1e3 * median:.2f} ms, "
        f"p99 {1e3 * high:.2f} ms, max {1e3 * times[-1]:.0f} ms"
    )
