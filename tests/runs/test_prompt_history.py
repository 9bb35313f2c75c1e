"""What is known of each problem, under a key that stays short."""

import numpy as np

from maspo_jax.data.sources import Problem
from maspo_jax.objectives.advantages import PromptStats
from maspo_jax.runs.prompt_history import PromptHistory

LONG = Problem("1", "How many? " * 1000, "2")
OTHER = Problem("1", "Another of the same number", "3")


def recorded():
    history = PromptHistory()
    seen = PromptStats(*np.array([[1, 2], [0.5, 0.25], [0.1, 0.2]], np.float32))
    history.record([LONG, OTHER], seen)
    return history


def test_what_was_recorded_is_found_again_also_from_a_checkpoint():
    history = recorded()
    for known in (history, PromptHistory(history.saved())):
        np.testing.assert_allclose(known.before([OTHER, LONG]).mean, [0.25, 0.5])
    assert all(len(key) == 32 for key in history.saved())


def test_a_visit_replaces_what_was_known_since_it_counts_the_ones_before():
    history = recorded()
    again = PromptStats(*np.array([[2, 3], [0.75, 0.5], [0.3, 0.4]], np.float32))
    history.record([LONG, OTHER], again)
    known = history.before([LONG, OTHER])
    for column, expected in zip(
        (known.visits, known.mean, known.deviation),
        ([2, 3], [0.75, 0.5], [0.3, 0.4]),
        strict=True,
    ):
        np.testing.assert_allclose(column, expected, rtol=1e-6)


def test_the_texts_of_an_earlier_checkpoint_are_recognized():
    saved = {f"{LONG.id}\n{LONG.question}": [3.0, 0.5, 0.1]}
    np.testing.assert_array_equal(PromptHistory(saved).before([LONG]).visits, [3])
