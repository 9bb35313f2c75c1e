"""Each response is graded against the answer to its own problem."""

import jax
import numpy as np
from conftest import mesh_of
from flax import nnx

from maspo_jax import parallel
from maspo_jax.data import arithmetic, templates
from maspo_jax.data.problems import Problem
from maspo_jax.evaluation import scoring
from maspo_jax.models.decoder import Decoder, DecoderConfig
from maspo_jax.rewards import Verdict
from maspo_jax.rollout.grading import grade
from maspo_jax.rollout.sampler import Decoding
from maspo_jax.types import Sequences

TOKENIZER = arithmetic.tokenizer()


class Recorder:
    """Stands for a verifier: notes what it is asked, and says "right" for one gold."""

    def __init__(self, right=None):
        self.right, self.asked = right, []

    def grade(self, texts, golds):
        self.asked += zip(texts, golds, strict=True)
        outcomes = ["correct" if gold == self.right else "wrong" for gold in golds]
        return [Verdict(outcome, None, "") for outcome in outcomes]


def test_responses_meet_their_own_answers_without_padding():
    texts = [f"{number}+1" for number in range(16)]
    rows = [TOKENIZER.encode(text) for text in texts]
    response = np.full((16, 6), TOKENIZER.encode("9")[0], np.int32)
    mask = np.zeros((16, 6), bool)
    for number, row in enumerate(rows):
        response[number, : len(row)], mask[number, : len(row)] = row, True
    sequences = parallel.spread(
        Sequences(response, mask, response, mask), mesh_of(4, 2)
    )
    problems = [Problem(str(n), "?", f"gold {n}") for n in range(4)]
    verifier = Recorder()
    grade(verifier, TOKENIZER, problems, sequences)
    assert verifier.asked == [
        (text, f"gold {number // 4}") for number, text in enumerate(texts)
    ]


def test_rows_that_only_fill_the_devices_do_not_count():
    config = DecoderConfig(TOKENIZER.size, width=16, depth=1)
    policy = jax.jit(lambda: Decoder(config, nnx.Rngs(0)))()
    problems = [Problem(str(n), f"{n}+1=?", f"gold {n}") for n in range(3)]
    numbers = scoring.accuracy(
        policy,
        problems,
        Recorder(right="gold 2"),  # the one that fills the other five devices
        template=templates.PLAIN,
        tokenizer=TOKENIZER,
        length=6,
        decoding=Decoding(responses=2, length=4, end=TOKENIZER.end, pad=TOKENIZER.pad),
        mesh=mesh_of(8, 1),
        key=jax.random.key(0),
    )
    assert numbers["accuracy"] == 1 / 3
