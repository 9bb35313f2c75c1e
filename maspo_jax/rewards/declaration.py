r"""What a grader says of itself, so that nothing else has to know it by name.

A grader is a callable of two texts, (response, gold), that returns a `Verdict`, a
bool or a finite number. It is given the response without its reasoning, see
`extraction.strip_reasoning`. It may state, as attributes:

    reads   the forms of answers that it finds in a response, such as `BOX`; a grader
            that names none is trusted with any
    takes   a function of a reference answer: whether the grader can check it at all;
            one without takes every problem
    amend   a function (verdict, gold) -> verdict that has the last word on what the
            answer checker finds: the grader then runs in `Verifier`, with its workers
            and deadline; one without is called in the process that asks
    steps   True if it rewards parts of a response: it is given the whole response,
            reasoning included, and returns a `Verdict` with `steps`

On a function they are stated by the decorator `grader`, on a class by its body.
"""

import math

import numpy as np

from maspo_jax.rewards.extraction import strip_reasoning
from maspo_jax.rewards.verdict import Verdict

# Forms of answers, by what marks them in a response. A template asks for one of them,
# so `data.prompts.templates` has the same three: neither room may import the other, and
# no room below both is about answers. A test keeps them equal.
BOX = "\\boxed{}"
ANSWER_LINE = "Answer:"
HASHES = "####"

ROUNDING = 1e-6  # 0.7 + 0.2 + 0.1 is less than 1, and full marks all the same


def grader(*, reads=(), takes=None, amend=None, steps=False):
    """Returns a decorator that states what a grader reads, takes, amends and rewards.

    Args:
        reads: tuple of forms of answers, `BOX` for example.
        takes: function of a reference answer that returns a bool.
        amend: function (verdict, gold) -> verdict; see this module's docstring.
        steps: whether it rewards parts of the whole response.

    Raises:
        TypeError: `reads` is one text; write a tuple.
        ValueError: it amends, and so is never asked for steps.
    """
    if steps and amend is not None:
        raise ValueError("steps=True beside amend: what amends is not given the text")
    if isinstance(reads, str):
        raise TypeError(f"reads={reads!r}: must be a tuple, such as ({reads!r},)")

    def declare(function):
        function.reads, function.amend, function.steps = tuple(reads), amend, steps
        if takes is not None:
            function.takes = takes
        return function

    return declare


def name_of(grader):
    """Returns the name of a function, or of the class of any other grader."""
    return getattr(grader, "__name__", type(grader).__name__)


def takes(grader, gold):
    """Whether a grader can check responses against a reference answer."""
    declared = getattr(grader, "takes", None)
    return declared is None or bool(declared(gold))


def as_verdict(returned):
    """Returns the `Verdict` that stands for what a grader returned.

    A reward of 1 and more, to `ROUNDING`, is `correct`, a smaller one `wrong`.

    Raises:
        TypeError: it is no `Verdict`, bool or number.
        ValueError: it is a number that is not finite.
    """
    if isinstance(returned, Verdict):
        return returned
    if not isinstance(returned, bool | int | float | np.bool_ | np.number):
        raise TypeError(
            f"returned {returned!r:.60}: must be a Verdict, a bool or a number"
        )
    reward = float(returned)
    if not math.isfinite(reward):
        raise ValueError(f"returned {reward}: must be finite")
    outcome = "correct" if reward >= 1 - ROUNDING else "wrong"
    return Verdict(outcome, None, f"reward {reward:g}", reward)


def asked(grader, response, gold):
    """Returns the `Verdict` of a grader on a response; without steps, on its answer.

    Raises:
        TypeError, ValueError: it returned something else, or steps that it has not
            declared or that end behind the response.
    """
    steps = getattr(grader, "steps", False)
    text = response if steps else strip_reasoning(response)
    verdict = as_verdict(grader(text, gold))
    if verdict.steps and not steps:
        raise TypeError("returned steps: declare them, @rewards.grader(steps=True)")
    if verdict.steps and verdict.steps[-1][0] > len(text):
        raise ValueError(
            f"returned a step that ends at {verdict.steps[-1][0]} of {len(text)} "
            "characters"
        )
    return verdict


def verdict_of(grader, response, gold):
    """Returns the `Verdict` of a grader on a response.

    A fault of the grader is an outcome of its own.
    """
    try:
        return asked(grader, response, gold)
    except Exception as fault:  # one response must not end a run: it is counted
        return faulted(None, fault)


def faulted(answer, fault):
    """Returns the `Verdict` on an answer whose check raised an exception."""
    return Verdict("error", answer, f"{type(fault).__name__}: {fault}")
