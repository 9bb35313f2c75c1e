"""From drawn tokens to verdicts: on the host, each process its own rows."""

import bisect
import dataclasses
import itertools
from collections.abc import Callable

import numpy as np

from maspo_jax.rewards import Verifier
from maspo_jax.rewards.declaration import verdict_of
from maspo_jax.rewards.extraction import THINK
from maspo_jax.types import Response, truncated

MEMORY = (1 << 30) // 3  # bytes of address space of one worker
_TAIL = 16  # tokens at the end of a prompt that may spell THINK


@dataclasses.dataclass(frozen=True)
class InProcessGrader:
    """A grader in the place of a `Verifier`: a function of one response and its gold.

    It is called in this process, one response after the other, and has to end by
    itself: those of `rewards.graders` look at a text of bounded length or on a budget.
    If it raises an exception, the verdict is an `error`, and the run goes on.
    """

    grader: Callable  # of (response, gold); see `rewards.declaration`

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def grade(self, responses, golds):
        """Returns one `Verdict` per pair, in order."""
        return [
            verdict_of(self.grader, *pair)
            for pair in zip(responses, golds, strict=True)
        ]


def make_verifier(settings):
    """Returns what grades the responses of an experiment, a context manager.

    Args:
        settings: a `config.Grading`. A grader that amends what our checker finds,
            such as its default, works in processes with a deadline.
    """
    amend = getattr(settings.grader, "amend", None)
    if amend is None:
        return InProcessGrader(settings.grader)
    # Each worker has the same room whatever their number, which so decides no verdict.
    memory = (settings.workers + 1) * MEMORY
    return Verifier(settings.workers, settings.deadline, memory, amend)


def texts_of(tokenizer, sequences):
    """Returns the text of each response of this process, in order.

    Where a prompt ends in `<think>`, its response begins inside the reasoning and gets
    that word back, so that the text says by itself what of it is an answer, here and in
    every file it is written to: see `rewards.extraction.strip_reasoning`.

    Args:
        tokenizer: of prompts and responses.
        sequences: the `Sequences` of this process, as NumPy.
    """
    ends = _kept(sequences.prompt[:, -_TAIL:], sequences.prompt_mask[:, -_TAIL:])
    drawn = _kept(sequences.response, sequences.response_mask)
    thinking = [
        end.rstrip().endswith(THINK) for end in _each_once(tokenizer.decode_batch, ends)
    ]
    texts = tokenizer.decode_batch(drawn)
    return [THINK * opens + text for opens, text in zip(thinking, texts, strict=True)]


def step_rewards(tokenizer, sequences, responses):
    """Returns what each token earned, [n, T] float32: a step on its last token.

    What a grader without steps said stands on the last token of the response. A step
    that ends within a token counts for it.

    Args:
        tokenizer: of the responses.
        sequences: the `Sequences` of this process, as NumPy.
        responses: the `Response`s to them, in order.
    """
    rewards = np.zeros(sequences.response.shape, np.float32)
    drawn = _kept(sequences.response, sequences.response_mask)
    for row, (tokens, response) in enumerate(zip(drawn, responses, strict=True)):
        last = len(tokens) - 1
        if last < 0:
            continue
        if not response.verdict.steps:
            rewards[row, last] = response.reward
        before = len(response.text) - len(tokenizer.decode(tokens))  # what was put back
        written = lambda index, seen=tokens: len(tokenizer.decode(seen[: index + 1]))
        for end, reward in response.verdict.steps:
            place = bisect.bisect_left(range(last), end - before, key=written)
            rewards[row, place] += reward
    return rewards


def _kept(tokens, mask):
    """Returns the tokens of each row that a mask keeps, lists of numbers."""
    return [row[kept].tolist() for row, kept in zip(tokens, mask, strict=True)]


def _each_once(function, rows):
    """Returns what a function of lists says of each row; equal neighbors are one."""
    groups = [(row, len([*same])) for row, same in itertools.groupby(rows)]
    values = function([row for row, _ in groups])
    counts = [count for _, count in groups]
    return [v for v, count in zip(values, counts, strict=True) for _ in range(count)]


def grade_responses(verifier, tokenizer, problems, sequences, eos_tokens):
    """Returns the `Response`s of this process to its problems, in order.

    Args:
        verifier: a `rewards.Verifier`, or what `make_verifier` returns, or another
            whose `grade` says None of what it leaves.
        tokenizer: of prompts and responses.
        problems: those of this process, each with as many neighboring rows.
        sequences: the `Sequences` of this process, as NumPy.
        eos_tokens: the tokens that end a response.
    """
    texts = texts_of(tokenizer, sequences)
    group = len(texts) // len(problems)
    golds = [problem.answer for problem in problems for _ in range(group)]
    verdicts = verifier.grade(texts, golds)
    lengths = sequences.response_mask.sum(axis=-1).tolist()
    cut_off = truncated(sequences, eos_tokens).tolist()
    return [
        Response(text, verdict, None if verdict is None else verdict.reward, *rest)
        for text, verdict, *rest in zip(texts, verdicts, lengths, cut_off, strict=True)
    ]
