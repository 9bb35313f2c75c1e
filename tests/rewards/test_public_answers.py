"""The checker on what the public reported of other checkers, and its neighbors."""

import json

import pytest
from conftest import SHARED

from maspo_jax.rewards import Verifier

CASES = SHARED / "reference" / "public_cases.jsonl"

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def cases():
    rows = [json.loads(line) for line in CASES.read_text("utf-8").splitlines()]
    return [row for row in rows if row["what"] == "checker"]


def test_every_case_is_graded_as_it_should_be(cases):
    with Verifier(workers=2, deadline=10.0) as verifier:  # no test of speed
        verdicts = verifier.grade(
            [case["input"]["response"] for case in cases],
            [case["input"]["gold"] for case in cases],
        )
    assert len(cases) > 250
    for case, verdict in zip(cases, verdicts, strict=True):
        expected, outcome = case["expected"], verdict.outcome
        if isinstance(expected, bool):
            expected, outcome = expected, outcome == "correct"
        assert outcome == expected, (case["kind"], case["input"], verdict)
