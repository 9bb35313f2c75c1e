"""What a prompt is, and a demonstration: problems as padded rows of tokens.

    [bos] question in its template          solution [eos]
    `- prompt, left-padded to L -----´      `- response, right-padded to T -´

The begin token is the one that the tokenizer's own file puts before a text; a chat
template writes it itself, so none is added there. A row that does not fit is an
error that names its problem: nothing is ever cut.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from maspo_jax.data.prompts.chat import THINK, THOUGHT
from maspo_jax.data.prompts.templates import Template
from maspo_jax.data.prompts.tokenizer import Tokenizer
from maspo_jax.data.sources.problem import Problem

if TYPE_CHECKING:
    from maspo_jax.types import Prompts, Sequences


def render_prompts(
    problems: Sequence[Problem], template: Template, tokenizer: Tokenizer, length: int
) -> "Prompts":
    """Returns the `Prompts` [P, L] of P problems, in order.

    Args:
        problems: P of them.
        template: a `Template` or a `ChatTemplate`: how a question is asked.
        tokenizer: how it is written.
        length: L, in tokens.

    Raises:
        ValueError: a prompt is empty, cannot be written, or is longer than L.
    """
    from maspo_jax.types import Prompts  # loads JAX, which to look at text needs not

    rows = [prompt_tokens(problem, template, tokenizer) for problem in problems]
    for problem, row in zip(problems, rows, strict=True):
        check_length(problem, "prompt", len(row), length)
    mask = np.arange(length) >= length - _lengths(rows)
    return Prompts(_place(rows, mask, tokenizer.pad_token_id), mask)


def render_demonstrations(
    problems: Sequence[Problem],
    template: Template,
    tokenizer: Tokenizer,
    prompt_length: int,
    response_length: int,
) -> "Sequences":
    """Returns the `Sequences` of N problems answered by their own solutions.

    Args:
        problems: N of them, each with a solution.
        template: a `Template` or a `ChatTemplate`: how a question is asked.
        tokenizer: how question and solution are written.
        prompt_length: L, in tokens.
        response_length: T, in tokens, the end token included.

    Raises:
        ValueError: a problem has no solution, or a part of it does not fit.
    """
    from maspo_jax.types import Sequences

    prompts = render_prompts(problems, template, tokenizer, prompt_length)
    rows = [response_tokens(problem, tokenizer) for problem in problems]
    for problem, row in zip(problems, rows, strict=True):
        check_length(problem, "response", len(row), response_length)
    mask = np.arange(response_length) < _lengths(rows)
    response = _place(rows, mask, tokenizer.pad_token_id)
    return Sequences(prompts.tokens, prompts.mask, response, mask)


def prompt_tokens(
    problem: Problem, template: Template, tokenizer: Tokenizer
) -> list[int]:
    """Returns the tokens of a prompt, its begin token included, without padding."""
    text = template.render(problem.question)
    if not _holds(text, problem.question):
        raise ValueError(
            f"problem {problem.id!r}: the template leaves its question out, or changes "
            f"it: {text[-60:]!r} ends its prompt. Correct the chat template, or ask "
            "with a templates.Template instead"
        )
    tokens = _encode(problem, text, tokenizer)
    if not tokens:  # a row without any token would attend to nothing
        raise ValueError(f"problem {problem.id!r} has an empty prompt: leave it out")
    # Only a template that leaves the begin token to the tokenizer says `add_bos`.
    bos = list(tokenizer.bos_tokens) if getattr(template, "add_bos", False) else []
    return tokens if tokens[: len(bos)] == bos else [*bos, *tokens]


def _holds(prompt: str, question: str) -> bool:
    """Returns whether a question is in its prompt, whatever the blanks, or as JSON."""
    if question.strip() in prompt:
        return True
    bare = "".join(prompt.split())
    quoted = (json.dumps(question, ensure_ascii=only)[1:-1] for only in (True, False))
    forms = (question, *quoted)
    return any("".join(form.split()) in bare for form in forms)


def response_tokens(problem: Problem, tokenizer: Tokenizer) -> list[int]:
    """Returns the tokens of a problem's own solution, its end token included."""
    if problem.solution is None:
        raise ValueError(
            f"problem {problem.id!r} has no solution to learn from: use a file with "
            "solutions for supervised fine-tuning, or start from a pretrained policy "
            "with sft=None"
        )
    return [*_encode(problem, problem.solution, tokenizer), tokenizer.eos_token_id]


def check_length(problem: Problem, part: str, size: int, length: int) -> None:
    """Refuses a part of a problem, such as its prompt, of more than `length` tokens."""
    if size > length:
        raise ValueError(
            f"problem {problem.id!r} does not fit: its {part} has {size} tokens, the "
            f"{part} length is {length}. Raise the length to at least {size}, or leave "
            "the problem out"
        )


def check_reasoning(problem: Problem, template: Template) -> None:
    """Refuses a solution that never ends the reasoning which its prompt begins.

    Whatever a policy that learned from it wrote would be graded as no answer.
    """
    opened = template.render(problem.question).rstrip().endswith(THINK)
    if opened and THOUGHT not in (problem.solution or THOUGHT):
        raise ValueError(
            f"problem {problem.id!r}: the template ends a prompt in {THINK}, but the "
            f"solution has no {THOUGHT} before its answer: a policy would learn never "
            "to answer. Add it to the solutions, ask with a template that does not "
            "begin the reasoning, or leave sft out"
        )


def _encode(problem: Problem, text: str, tokenizer: Tokenizer) -> list[int]:
    try:
        return tokenizer.encode(text)
    except ValueError as error:
        raise ValueError(f"problem {problem.id!r}: {error}") from error


def _lengths(rows: list[list[int]]) -> np.ndarray:
    """Returns the number of tokens of every row as a column, [N, 1]."""
    return np.array([len(row) for row in rows])[:, None]


def _place(rows: list[list[int]], mask: np.ndarray, pad: int) -> np.ndarray:
    """Returns the rows' tokens where the mask is true, in order, and pad elsewhere."""
    tokens = np.full(mask.shape, pad, np.int32)
    tokens[mask] = np.concatenate(rows)
    return tokens
