"""Other graders: what each accepts and refuses, by its own rules."""

import pytest

from maspo_jax.rewards import graders
from maspo_jax.rewards.verdict import OUTCOMES

# grader, gold, response, outcome
ROWS = [
    (graders.dapo, "34", "work\nAnswer: 34", "correct"),
    (graders.dapo, "34", "work\nAnswer: $x = 34$", "correct"),
    (graders.dapo, "1234", "Answer: 1,234", "correct"),
    (graders.dapo, "34", r"\boxed{34}", "no_answer"),
    (graders.dapo, "34", "Answer: 34" + " " * 400, "no_answer"),
    (graders.dapo, "0.25", r"Answer: \frac14", "wrong"),
    (graders.dapo, "so #### 42", "Answer: 42", "correct"),
    (graders.dapo, r"so \boxed{42}", "Answer: 42", "correct"),
    (graders.dapo, "#### 42", "Answer: 43", "wrong"),
    (graders.gsm8k, "1200", "so\n#### 1,200", "correct"),
    (graders.gsm8k, "#### 72", "#### 72.", "correct"),
    (graders.gsm8k, "72", "The answer is 72", "no_answer"),
    (graders.gsm8k, "72", "####", "no_answer"),
    (graders.gsm8k, "72", "#### 72.0", "wrong"),
    (graders.hendrycks, r"\frac{1}{2}", r"\boxed{\dfrac12}", "correct"),
    (graders.hendrycks, r"\frac{1}{2}", r"\boxed{1/2}", "correct"),
    (graders.hendrycks, r"\frac{1}{2}", r"\boxed{0.5}", "correct"),
    (graders.hendrycks, r"\sqrt{2}", r"\boxed{x = \sqrt2}", "correct"),
    (graders.hendrycks, "5", r"\boxed{5\text{ cm}}", "correct"),
    (graders.hendrycks, r"\frac{2}{4}", r"\boxed{\frac{1}{2}}", "wrong"),
    (graders.hendrycks, "1000", r"\boxed{1,000}", "wrong"),
    (graders.hendrycks, "5", "5", "no_answer"),
    (graders.prime, "20000", r"\boxed{20001}", "correct"),
    (graders.prime, "0.5", r"\boxed{50}", "correct"),
    (graders.prime, "0.5", r"\boxed{0.6}", "wrong"),
    (graders.prime, "(1,2)", r"\boxed{(1.00001,2)}", "correct"),
    (graders.prime, "x+1", r"\boxed{1+x}", "correct"),
    (graders.prime, "2", r"\boxed{[__import__('os').getcwd()]}", "unparsed"),
    (graders.prime, "2", "2", "no_answer"),
    (graders.Tolerant(0.01), "1.00", r"\boxed{1.009}", "correct"),
    (graders.Tolerant(0.01), "1.00", r"\boxed{1.011}", "wrong"),
    (graders.Tolerant(0.01), "4.5e33", r"\boxed{4.48 \times 10^{33}}", "correct"),
    (graders.Tolerant(0.01), "x", r"\boxed{y}", "wrong"),
    (graders.Tolerant(0.01), "0", r"\boxed{0.001}", "wrong"),
]
EVERY = [
    graders.dapo,
    graders.gsm8k,
    graders.hendrycks,
    graders.prime,
    graders.Tolerant(),
]


@pytest.mark.parametrize("grader, gold, response, outcome", ROWS)
def test_every_rule(grader, gold, response, outcome):
    assert grader(response, gold).outcome == outcome


@pytest.mark.parametrize("grader", EVERY, ids=lambda g: getattr(g, "__name__", str(g)))
@pytest.mark.parametrize(
    "response",
    ["", "\\", "{", r"\boxed{", r"\boxed{\frac}", "Answer:", "####", r"\boxed{\sqrt}",
     r"\boxed{\text{}", r"Answer: \text{", r"\boxed{\frac1}", r"\boxed{2^{2^{99}}}"],
)  # fmt: skip
def test_no_text_breaks_a_grader(grader, response):
    assert grader(response, r"\frac12").outcome in OUTCOMES
