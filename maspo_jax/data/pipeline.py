"""Endless batches of problems, in an order that can be saved and restored.

    source -> shuffle -> repeat -> batch -> template, tokenizer -> padding

Each epoch has a new order, fixed by the seed. The position of an iterator is its
`get_state()`, a small dictionary for JSON; after `set_state` on an iterator of the
same pipeline, in this process or another, the same batches follow.

Every host of a pod reads the same stream; which rows are its own is decided where
arrays are placed on devices.
"""

from collections.abc import Sequence
from functools import partial

import grain
import numpy as np

from maspo_jax.data.prompts.chat import THINK, THOUGHT
from maspo_jax.data.prompts.templates import Template
from maspo_jax.data.prompts.tokenizer import FileTokenizer, Tokenizer
from maspo_jax.data.sources.file import Problem, Source
from maspo_jax.types import Prompts, Sequences

# One thread prepares the next batches while the devices work on this one. Sources are
# in memory and tokenizing holds the interpreter's lock: more threads would not help.
READ = grain.ReadOptions(num_threads=1, prefetch_buffer_size=2)


def prompts(
    source: Source,
    template: Template,
    tokenizer: Tokenizer,
    *,
    batch: int,
    length: int,
    seed: int,
) -> grain.IterDataset:
    """Returns an endless dataset of (list of P problems, `Prompts`).

    Args:
        source: the problems; every one comes once per epoch.
        template: how a question is asked.
        tokenizer: how it is written.
        batch: P. Batches run across the end of an epoch, so a batch may be larger
            than the source: it then holds some problems more than once.
        length: L. A longer prompt is an error, never cut.
        seed: of the order, at least 0 and below 2**32.
    """

    def collate(problems: Sequence[Problem]):
        return list(problems), ask(problems, template, tokenizer, length)

    return _batches(source, tokenizer, batch, seed, collate)


def demonstrations(
    source: Source,
    template: Template,
    tokenizer: Tokenizer,
    *,
    batch: int,
    prompt_length: int,
    response_length: int,
    seed: int,
) -> grain.IterDataset:
    """Returns an endless dataset of `Sequences`: problems with worked solutions.

    The arguments are those of `prompts`, with N = batch, L = prompt_length and
    T = response_length. Every problem needs a solution of fewer than T tokens.
    """
    collate = partial(
        demonstrate,
        template=template,
        tokenizer=tokenizer,
        prompt_length=prompt_length,
        response_length=response_length,
    )
    return _batches(source, tokenizer, batch, seed, collate)


def packed_demonstrations(
    source: Source,
    template: Template,
    tokenizer: Tokenizer,
    *,
    rows: int,
    length: int,
    seed: int,
) -> grain.IterDataset:
    """Returns an endless dataset of `Sequences` whose rows hold several solutions each.

    Texts go whole into the first row that has room for them; what fits in none begins
    the next batch.

    Args:
        source: the problems; each needs a solution.
        template: how a question is asked.
        tokenizer: how it is written.
        rows: N.
        length: of a row, L + T; no text may be longer.
        seed: of the order, at least 0 and below 2**32.
    """

    def write(problem: Problem):
        asked, answered = (
            _prompt(problem, template, tokenizer),
            _response(problem, tokenizer),
        )
        _refuse_misfit(problem, "row", len(asked) + len(answered), length)
        scored = np.repeat([0, 1], [len(asked), len(answered)])
        tokens = np.array([*asked, *answered], np.int32)
        return {"tokens": tokens, "scored": scored.astype(np.int32)}

    def collate(packed):
        tokens, scored, segment = (
            np.stack([row[name] for row in packed])
            for name in ("tokens", "scored", "tokens_segment_ids")
        )
        tokens = np.where(segment > 0, tokens, tokenizer.pad_token_id).astype(np.int32)
        return Sequences(
            prompt=tokens[:, :1],
            prompt_mask=segment[:, :1] > 0,
            response=tokens[:, 1:],
            response_mask=scored[:, 1:] > 0,
            segment=segment.astype(np.int32),
        )

    texts = _shuffled(source, tokenizer, rows, seed).map(write).to_iter_dataset(READ)
    packed = grain.experimental.FirstFitPackIterDataset(
        texts,
        length_struct={"tokens": length, "scored": length},
        num_packing_bins=rows,
        shuffle_bins=False,
    )
    return packed.batch(rows, batch_fn=collate)


def ask(
    problems: Sequence[Problem], template: Template, tokenizer: Tokenizer, length: int
) -> Prompts:
    """Returns the `Prompts` [P, L] of P problems, in order, L = length."""
    rows = [_prompt(problem, template, tokenizer) for problem in problems]
    for problem, row in zip(problems, rows, strict=True):
        _refuse_misfit(problem, "prompt", len(row), length)
    mask = np.arange(length) >= length - _sizes(rows)
    return Prompts(_place(rows, mask, tokenizer.pad_token_id), mask)


def demonstrate(
    problems: Sequence[Problem],
    template: Template,
    tokenizer: Tokenizer,
    prompt_length: int,
    response_length: int,
) -> Sequences:
    """Returns the `Sequences` of N problems answered by their own solutions."""
    asked = ask(problems, template, tokenizer, prompt_length)
    rows = [_response(problem, tokenizer) for problem in problems]
    for problem, row in zip(problems, rows, strict=True):
        _refuse_misfit(problem, "response", len(row), response_length)
    mask = np.arange(response_length) < _sizes(rows)
    response = _place(rows, mask, tokenizer.pad_token_id)
    return Sequences(asked.tokens, asked.mask, response, mask)


def check(
    source: Source,
    template: Template,
    tokenizer: Tokenizer,
    *,
    prompt_length: int,
    response_length: int | None = None,
    row_length: int | None = None,
    rows: int | None = None,
) -> None:
    """Refuses a source with an item that does not fit, before anything is compiled.

    Args:
        source: the problems.
        template: how a question is asked.
        tokenizer: how it is written.
        prompt_length: L, which every prompt has to fit.
        response_length: T, which every solution with its end token has to fit;
            None where solutions are not used.
        row_length: which a prompt and its solution together have to fit where they
            are packed into rows; the other two do not count then.
        rows: check only so many problems, for sources made on the spot.
    """
    _refuse_empty(source)
    _ = (
        tokenizer.eos_tokens,
        tokenizer.pad_token_id,
    )  # refused now if they cannot be found
    lengths = {"prompt": prompt_length, "response": response_length, "row": row_length}
    longest = {}  # part -> (number of tokens, problem)
    for index in range(min(len(source), rows or len(source))):
        problem = source[index]
        if response_length is not None or row_length is not None:
            _refuse_open_reasoning(problem, template)
        tokens = {"prompt": _prompt(problem, template, tokenizer)}
        if response_length is not None:
            tokens["response"] = _response(problem, tokenizer)
        if row_length is not None:
            tokens = {"row": [*tokens["prompt"], *_response(problem, tokenizer)]}
        for part, row in tokens.items():
            if part not in longest or len(row) > longest[part][0]:
                longest[part] = len(row), problem
    for part, (size, problem) in longest.items():
        _refuse_misfit(problem, part, size, lengths[part])


def _batches(source, tokenizer, batch, seed, collate) -> grain.IterDataset:
    endless = _shuffled(source, tokenizer, batch, seed)
    # There is no remainder, but counting it would overflow the endless length.
    batches = endless.batch(batch, drop_remainder=True, batch_fn=collate)
    return batches.to_iter_dataset(READ)


def _shuffled(source, tokenizer, batch, seed) -> grain.MapDataset:
    """Returns the problems of a source without end, in a new order every epoch."""
    _refuse_empty(source)
    if batch < 1:
        raise ValueError(f"batch={batch}: give at least 1")
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed={seed}: give at least 0 and less than 2**32")
    # Read now, so that a tokenizer that is not there fails here and not in a thread.
    _ = tokenizer.eos_tokens, tokenizer.pad_token_id
    return grain.MapDataset.source(source).seed(seed).shuffle().repeat()


def _prompt(problem: Problem, template: Template, tokenizer: Tokenizer) -> list[int]:
    tokens = _encode(problem, template.render(problem.question), tokenizer)
    if not tokens:  # a row without any token would attend to nothing
        raise ValueError(f"problem {problem.id!r} has an empty prompt: leave it out")
    # A chat template writes the begin token itself, if its policy knows one.
    plain = isinstance(tokenizer, FileTokenizer) and isinstance(template, Template)
    begin = [*tokenizer.begin] if plain else []
    return tokens if tokens[: len(begin)] == begin else [*begin, *tokens]


def _response(problem: Problem, tokenizer: Tokenizer) -> list[int]:
    if problem.solution is None:
        raise ValueError(
            f"problem {problem.id!r} has no solution to learn from: use a file with "
            "solutions for the warm-up, or start from a pretrained policy without one"
        )
    return [*_encode(problem, problem.solution, tokenizer), tokenizer.eos_token_id]


def _encode(problem: Problem, text: str, tokenizer: Tokenizer) -> list[int]:
    try:
        return tokenizer.encode(text)
    except ValueError as error:
        raise ValueError(f"problem {problem.id!r}: {error}") from error


def _refuse_empty(source: Source) -> None:
    if len(source) == 0:
        raise ValueError(f"{source!r} is empty: a pipeline needs at least one problem")


def _refuse_misfit(problem: Problem, part: str, size: int, length: int) -> None:
    if size > length:
        raise ValueError(
            f"problem {problem.id!r} does not fit: its {part} has {size} tokens, the "
            f"{part} length is {length}. Raise the length to at least {size}, or leave "
            "the problem out"
        )


def _refuse_open_reasoning(problem: Problem, template: Template) -> None:
    """Refuses a solution that never ends the reasoning which its prompt begins.

    Whatever a policy that learned from it wrote would be graded as no answer.
    """
    begun = template.render(problem.question).rstrip().endswith(THINK)
    if begun and THOUGHT not in (problem.solution or THOUGHT):
        raise ValueError(
            f"problem {problem.id!r}: the template ends a prompt in {THINK}, but the "
            f"solution has no {THOUGHT} before its answer: a policy would learn never "
            "to answer. Add it to the solutions, ask with a template that does not "
            "begin the reasoning, or leave the warm-up out"
        )


def _sizes(rows: list[list[int]]) -> np.ndarray:
    """Returns the number of tokens of every row as a column, [N, 1]."""
    return np.array([len(row) for row in rows])[:, None]


def _place(rows: list[list[int]], mask: np.ndarray, pad: int) -> np.ndarray:
    """Returns the rows' tokens where the mask is true, in order, and pad elsewhere."""
    tokens = np.full(mask.shape, pad, np.int32)
    tokens[mask] = np.concatenate(rows)
    return tokens
