"""From drawn tokens to verdicts: on the host, each process its own rows."""

import dataclasses
from collections.abc import Callable

from maspo_jax import parallel
from maspo_jax.rewards import Verdict, Verifier
from maspo_jax.rewards import grade as verify

THINK, THOUGHT = "<think>", "</think>"
_TAIL = 16  # tokens at the end of a prompt that may spell THINK


@dataclasses.dataclass(frozen=True)
class Each:
    """A grader in the place of a `Verifier`: a function of one response and its gold.

    It is called in this process, one response after the other.
    """

    grader: Callable[[str, str], Verdict]

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def grade(self, responses, golds):
        """Returns one `Verdict` per pair, in order."""
        return [self.grader(*pair) for pair in zip(responses, golds, strict=True)]


def make_verifier(settings):
    """Returns what grades the responses of an experiment, a context manager.

    Args:
        settings: a `config.Grading`. Our own checker, its default, works in processes
            with a deadline.
    """
    if settings.grader is verify:
        return Verifier(settings.workers, settings.deadline)
    return Each(settings.grader)


def grade(verifier, tokenizer, problems, sequences):
    """Returns the verdict on each response of this process, in order.

    Where a prompt ends in `<think>`, its response begins inside the reasoning: what
    follows `</think>` is graded, and a response that never gets there has no answer.

    Args:
        verifier: a `rewards.Verifier`, or what `make_verifier` returns.
        tokenizer: of the responses.
        problems: those of this process, in order; each has the same number of
            neighboring responses.
        sequences: `Sequences` of all N rows, split over the processes by rows.
    """
    drawn = parallel.local((sequences.response, sequences.mask))
    texts = [tokenizer.decode(row[mask]) for row, mask in zip(*drawn, strict=True)]
    responses = len(texts) // len(problems)
    asked = parallel.local((sequences.prompt, sequences.prompt_mask))
    ends = [rows[::responses, -_TAIL:] for rows in asked]
    thinking = [
        tokenizer.decode(row[mask]).rstrip().endswith(THINK)
        for row, mask in zip(*ends, strict=True)
    ]
    texts = [
        text.partition(THOUGHT)[2] if thinking[row // responses] else text
        for row, text in enumerate(texts)
    ]
    golds = [problem.answer for problem in problems for _ in range(responses)]
    return verifier.grade(texts, golds)
