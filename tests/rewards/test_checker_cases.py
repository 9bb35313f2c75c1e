"""The checker on recorded answers: thousands of cases with expected verdicts."""

import gzip
import json
import pathlib
import resource

import pytest
from conftest import SHARED

from maspo_jax.rewards import Verifier
from maspo_jax.rewards.audit import audit, read_cases, report, table

CASES = SHARED / "reference" / "checker_cases.jsonl"
OUTPUTS = SHARED / "data" / "checker_cases"
CANARIES = pathlib.Path("/tmp")

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def results():
    with Verifier() as verifier:
        yield audit(read_cases(CASES), verifier.check)


def test_nearly_every_benign_case_is_right(results):
    benign = [r for r in results if r.case["kind"] not in ("hostile", "arguable")]
    right = sum(result.correct for result in benign)
    positives = sum(not result.correct and not result.expected for result in benign)
    assert right >= 0.99 * len(benign), report(benign)
    assert positives <= 1, report(benign)


def test_every_kind_is_nearly_right(results):
    for kind, cases, right, _, _ in table(results):
        if kind != "arguable":
            assert right >= 0.95 * cases, report(results)


def test_hostile_cases_are_refused_in_time_and_do_nothing(results):
    hostile = [result for result in results if result.case["kind"] == "hostile"]
    assert hostile
    for result in hostile:
        assert result.verdict.outcome != "correct", result.case["id"]
        assert result.verdict.outcome != "error", result.verdict
        assert result.seconds < 2, result.case["id"]
    assert not list(CANARIES.glob("maspocanary*"))


def test_hostile_cases_stay_within_memory():
    hostile = [case for case in read_cases(CASES) if case["kind"] == "hostile"]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Verifier(workers=2, memory=1 << 30) as verifier:
        verifier.grade([c["response"] for c in hostile], [c["gold"] for c in hostile])
        pool = verifier._service._pool
        pids = [pool.zygote.pid, *(worker.pid for worker in pool.workers)]
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert sum(map(peak, pids)) < 1 << 20  # kilobytes
        assert grown < 1 << 19


def peak(pid):
    """Returns the largest resident size of a process so far, in kilobytes."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def test_arguable_cases_never_fail_but_are_answered(results):
    arguable = [result for result in results if result.case["kind"] == "arguable"]
    assert {result.verdict.outcome for result in arguable} <= {
        "correct", "wrong", "no_answer", "unparsed",
    }  # fmt: skip


@pytest.mark.parametrize(
    "name, field, noise",
    [("areal_r1_tails", "response_tail", 0), ("qwen_math_cot_100", "response", 9)],
)
def test_graded_outputs_of_models(name, field, noise):
    """All but the labels that are wrong: eight times "4:30 p.m.", and 10{,}000."""
    with gzip.open(OUTPUTS / f"{name}.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    with Verifier() as verifier:
        score = verifier.score([r[field] for r in rows], [r["answer"] for r in rows])
    wrong = [r["id"] for r, s in zip(rows, score, strict=True) if bool(s) != r["label"]]
    assert len(wrong) <= noise, wrong
