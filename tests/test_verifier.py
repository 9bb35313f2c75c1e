"""The verifier as a training loop uses it: real processes, real kills."""

import numpy as np

from maspo_jax.rewards import Verifier, grade, is_correct, rates


def test_scores_are_float32_in_order():
    golds = ["1/2", "4", "x+1", "7"]
    responses = [r"\boxed{0.5}", "The answer is 4.", r"\boxed{x+2}", "no idea"]
    with Verifier() as verifier:
        score = verifier.score(responses, golds)
    assert score.dtype == np.float32
    np.testing.assert_array_equal(score, [1, 1, 0, 0])


def test_undecided_pairs_are_proved_in_a_worker():
    response = r"\boxed{\sqrt{7+2\sqrt{10}}}"
    with Verifier(workers=1) as verifier:
        (verdict,) = verifier.grade([response], [r"\sqrt2+\sqrt5"])
    assert (verdict.outcome, verdict.rule) == ("correct", "proof")


def test_outcomes_are_counted():
    with Verifier() as verifier:
        verdicts = verifier.grade([r"\boxed{3}", r"\boxed{4}", ""], ["3", "3", "3"])
        assert verifier.counts["correct"] == 1
    assert rates(verdicts)["verifier/no_answer"] == 1 / 3
    assert sum(rates(verdicts).values()) == 1


def test_single_checks_need_no_verifier():
    assert is_correct(r"so \boxed{\frac{2}{4}}", r"\frac12")
    assert grade(r"\boxed{3}", "4").outcome == "wrong"
