"""Keys: one stream per purpose, all from the seed of the experiment.

Folding the purpose in first keeps streams apart that fold in counts of their own:
layers at initialization, steps and rows when sampling.
"""

import jax

PURPOSES = ("initialization", "sampling", "evaluation", "resampling")


def key_for(purpose, seed):
    """Returns the key of one of `PURPOSES`."""
    return jax.random.fold_in(jax.random.key(seed), PURPOSES.index(purpose))
