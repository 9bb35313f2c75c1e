"""Streams of prompts and of demonstrations, with sizes for tests."""

import itertools

from maspo_jax.data import pipeline
from maspo_jax.data.prompts import templates
from maspo_jax.data.sources import Chains, arithmetic

SOURCE = Chains(size=10)
TOKENIZER = arithmetic.tokenizer()
L, T = 16, 50


def ask(source=SOURCE, template=templates.PLAIN, tokenizer=TOKENIZER, **changes):
    sizes = {"batch": 4, "length": L, "seed": 0} | changes
    return pipeline.prompts(source, template, tokenizer, **sizes)


def demonstrate(
    source=SOURCE, template=templates.PLAIN, tokenizer=TOKENIZER, **changes
):
    sizes = {"batch": 4, "prompt_length": L, "response_length": T, "seed": 0} | changes
    return pipeline.demonstrations(source, template, tokenizer, **sizes)


def take(iterator, count):
    """Returns the next batches as plain values that compare equal or do not."""
    return list(itertools.islice(iterator, count))
