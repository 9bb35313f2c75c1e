"""Endless batches of problems, in an order that can be saved and restored.

    source -> shuffle -> repeat -> batch -> render

Each epoch has a new order, fixed by the seed. The position of an iterator is its
`get_state()`, a small dictionary for JSON; after `set_state` on an iterator of the
same pipeline, in this process or another, the same batches follow.

Every host of a pod reads the same stream; which rows are its own is decided where
arrays are placed on devices.
"""

from collections.abc import Iterable, Sequence
from functools import partial

import grain
import jax
import numpy as np

from maspo_jax.data.prompts import render
from maspo_jax.data.prompts.templates import Template
from maspo_jax.data.prompts.tokenizer import Tokenizer
from maspo_jax.data.sources.problem import Problem, Source, problems_to_check
from maspo_jax.types import Sequences

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
        return list(problems), render.render_prompts(
            problems, template, tokenizer, length
        )

    return _batches(source, tokenizer, batch, seed, collate)


class ProblemStream:
    """Takes problems off a dataset of `prompts`, a whole batch of P or fewer at a time.

    What is left of a batch comes with the next: no problem is passed over.
    """

    def __init__(self, dataset: grain.IterDataset):
        self._iterator = iter(dataset)
        self._held = None  # the batch that was begun: problems, `Prompts`
        self._before = None  # the position before it
        self._taken = 0  # of it

    def take(self, count: int):
        """Returns the next problems, a list, and their `Prompts`.

        Args:
            count: how many, at least 1.
        """
        problems, parts = [], []
        while len(problems) < count:
            if self._held is None:
                self._read()
            known, prompts = self._held
            some = slice(self._taken, self._taken + count - len(problems))
            problems += known[some]
            parts.append(jax.tree.map(lambda rows, s=some: rows[s], prompts))
            self._taken += len(known[some])
            if self._taken == len(known):
                self._held = None
        return problems, jax.tree.map(lambda *rows: np.concatenate(rows), *parts)

    def _read(self):
        self._before = self._iterator.get_state()
        self._held, self._taken = next(self._iterator), 0

    def prepare(self):
        """Reads a batch ahead, if none is begun. The position stays.

        A batch that cannot be read is left to whoever takes it.
        """
        if self._held is None:
            try:
                self._read()
            except Exception:
                self._iterator.set_state(self._before)

    def get_state(self):
        """Returns the position, plain data; between batches that of the dataset."""
        if self._held is None:
            return self._iterator.get_state()
        if self._taken == 0:  # read ahead
            return self._before
        return {"batch": self._before, "taken": self._taken}

    def set_state(self, state):
        """Goes to a position that `get_state` returned."""
        begun = state if "taken" in state else {"batch": state, "taken": 0}
        self._iterator.set_state(begun["batch"])
        self._held = None
        if begun["taken"]:
            self.take(begun["taken"])


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
        render.render_demonstrations,
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
        prompt = render.prompt_tokens(problem, template, tokenizer)
        response = render.response_tokens(problem, tokenizer)
        render.check_length(problem, "row", len(prompt) + len(response), length)
        scored = np.repeat([0, 1], [len(prompt), len(response)])
        tokens = np.array([*prompt, *response], np.int32)
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


def check_fits(
    source: Source,
    template: Template,
    tokenizer: Tokenizer,
    *,
    prompt_length: int,
    response_length: int | None = None,
    row_length: int | None = None,
) -> None:
    """Refuses a source with a problem that does not fit, before anything is compiled.

    Of a uniform source, only the first problems are looked at.

    Args:
        source: the problems.
        template: how a question is asked.
        tokenizer: how it is written.
        prompt_length: L, which every prompt has to fit.
        response_length: T, which every solution with its end token has to fit;
            None where solutions are not used.
        row_length: which a prompt and its solution together have to fit where they
            are packed into rows; the other two do not count then.

    Raises:
        ValueError: a problem, named, does not fit, has no solution or an empty prompt;
            or the source is empty.
    """
    lengths = {"prompt": prompt_length, "response": response_length, "row": row_length}
    parts = [part for part, length in lengths.items() if length is not None]
    if row_length is not None:
        parts = ["row"]
    found = longest(source, template, tokenizer, parts)
    for part, (size, problem) in found.items():
        render.check_length(problem, part, size, lengths[part])


def longest(
    source: Source, template: Template, tokenizer: Tokenizer, parts: Iterable[str]
) -> dict[str, tuple[int, Problem]]:
    """Returns how many tokens the longest texts of a source have, and whose they are.

    Of a uniform source, only the first problems are looked at.

    Args:
        source: the problems.
        template: how a question is asked.
        tokenizer: how it is written.
        parts: "prompt", "response" (a solution with its end token) or "row", a prompt
            and its solution.

    Raises:
        ValueError: a problem, named, has no solution where it is asked for, or an
            empty prompt; or the source is empty.
    """
    check_not_empty(source)
    # Refused now, if they cannot be found.
    _ = tokenizer.eos_tokens, tokenizer.pad_token_id
    found, solved = {}, {"response", "row"} & set(parts)
    for problem in problems_to_check(source):
        if solved:
            render.check_reasoning(problem, template)
        size = {"prompt": len(render.prompt_tokens(problem, template, tokenizer))}
        if solved:
            size["response"] = len(render.response_tokens(problem, tokenizer))
            size["row"] = size["prompt"] + size["response"]
        for part in parts:
            if part not in found or size[part] > found[part][0]:
                found[part] = size[part], problem
    return found


def _batches(source, tokenizer, batch, seed, collate) -> grain.IterDataset:
    endless = _shuffled(source, tokenizer, batch, seed)
    # There is no remainder, but counting it would overflow the endless length.
    batches = endless.batch(batch, drop_remainder=True, batch_fn=collate)
    return batches.to_iter_dataset(READ)


def _shuffled(source, tokenizer, batch, seed) -> grain.MapDataset:
    """Returns the problems of a source without end, in a new order every epoch."""
    check_not_empty(source)
    if batch < 1:
        raise ValueError(f"batch={batch}: give at least 1")
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed={seed}: give at least 0 and less than 2**32")
    # Read now, so that a tokenizer that is not there fails here and not in a thread.
    _ = tokenizer.eos_tokens, tokenizer.pad_token_id
    return grain.MapDataset.source(source).seed(seed).shuffle().repeat()


def check_not_empty(source: Source) -> None:
    """Refuses a source without a problem."""
    if len(source) == 0:
        raise ValueError(f"{source!r} is empty: a pipeline needs at least one problem")
