"""Keys: one stream per purpose, all from the seed of the experiment.

Folding the purpose in first keeps streams apart that fold in counts of their own:
layers at initialization, steps and rows when sampling.
"""

import jax
import numpy as np

PURPOSES = ("initialization", "sampling", "evaluation", "resampling")


def key_for(purpose, seed, *counts):
    """Returns the key of one of `PURPOSES`, or one folded from it.

    Args:
        purpose: one of `PURPOSES`.
        seed: of the experiment, below 2^32.
        *counts: folded in, one after another.
    """
    numbers = PURPOSES.index(purpose), *counts
    return _folded(np.uint32(seed), np.array(numbers, np.uint32))


@jax.jit
def _folded(seed, numbers):
    """One program for what else are several; a loop, which compiles sooner."""
    fold = lambda key, number: (jax.random.fold_in(key, number), None)
    return jax.lax.scan(fold, jax.random.key(seed), numbers)[0]
