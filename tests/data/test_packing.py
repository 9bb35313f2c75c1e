"""Solutions packed into rows."""

import json

import chex
import numpy as np
import pytest

from maspo_jax.data import pipeline
from maspo_jax.data.prompts import templates
from maspo_jax.data.prompts.tokenizer import ByteTokenizer
from maspo_jax.data.sources import arithmetic


@pytest.mark.parametrize(
    "tokenizer, length",
    [(arithmetic.tokenizer(), 64), (ByteTokenizer(), 96)],
    ids=["pads with 0", "pads with 256"],
)
def test_packed_rows_hold_every_solution_whole_and_resume_anywhere(tokenizer, length):
    """First fit: nothing is cut, nothing is lost, and scores are those of solutions."""
    source = arithmetic.Chains(numbers=3, direct=0.3, size=40)
    rows = 4

    def stream():
        return iter(
            pipeline.packed_demonstrations(
                source, templates.PLAIN, tokenizer, rows=rows, length=length, seed=3
            )
        )

    wanted = {
        (problem.question, problem.solution)
        for problem in map(source.__getitem__, range(40))
    }
    seen, batches, states, reader = set(), [], [], stream()
    for _ in range(12):
        batch = next(reader)
        batches.append(batch)
        states.append(reader.get_state())
        tokens = np.concatenate([batch.prompt, batch.response], axis=1)
        scored = np.concatenate([0 * batch.prompt, batch.response_mask], axis=1).astype(
            bool
        )
        assert tokens.shape == batch.segment.shape == (rows, length)
        assert (tokens[batch.segment == 0] == tokenizer.pad_token_id).all()
        for row in range(rows):
            for text in range(1, batch.segment[row].max() + 1):
                inside = batch.segment[row] == text
                asked = tokenizer.decode(tokens[row][inside & ~scored[row]])
                answered = tokenizer.decode(tokens[row][inside & scored[row]])
                assert (asked, answered) in wanted
                assert tokens[row][inside][-1] == tokenizer.eos_token_id
                seen.add((asked, answered))
    assert seen == wanted
    assert max(batch.segment.max() for batch in batches) > 1
    for number in (0, 4, 10):
        again = stream()
        again.set_state(json.loads(json.dumps(states[number])))
        chex.assert_trees_all_equal(next(again), batches[number + 1])


def test_the_order_of_packed_texts_depends_on_the_seed():
    def first(seed):
        stream = pipeline.packed_demonstrations(
            arithmetic.Chains(numbers=3, size=40),
            templates.PLAIN,
            arithmetic.tokenizer(),
            rows=4,
            length=64,
            seed=seed,
        )
        return next(iter(stream))

    chex.assert_trees_all_equal(first(0), first(0))
    assert (first(0).response != first(1).response).any()


def test_a_text_longer_than_a_row_is_refused():
    with pytest.raises(ValueError, match="its row has .* the row length is 20"):
        pipeline.check_fits(
            arithmetic.Chains(numbers=6),
            templates.PLAIN,
            arithmetic.tokenizer(),
            prompt_length=1,
            row_length=20,
        )
