"""Prompts of different lengths, as the sampler takes them."""

import jax
import numpy as np

from maspo_jax.types import Prompts


def padded_prompts():
    """Returns 8 `Prompts` of 1 to 6 tokens below 24, padded on the left."""
    tokens = jax.random.randint(jax.random.key(2), (8, 6), 2, 24)
    mask = np.arange(6)[None] >= np.array([0, 3, 1, 5, 0, 2, 0, 4])[:, None]
    return Prompts(np.where(mask, tokens, 0).astype(np.int32), mask)
