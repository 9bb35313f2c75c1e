"""Rewards and groups, between the verifier and the advantages. NumPy only."""

import numpy as np


def overlong_penalty(length, limit, buffer, factor=1.0):
    """Returns the soft penalty of responses that come close to the limit (DAPO).

    Zero up to limit - buffer, then linear down to -factor at the limit; added to
    the reward before the advantage. The paper takes limit=20480, buffer=4096.
    arXiv 2503.14476.

    Args:
        length: of each response, in tokens, any shape.
        limit: the longest response allowed, in tokens.
        buffer: in tokens.
        factor: the penalty at the limit.
    """
    if not 0 < buffer <= limit:
        raise ValueError(f"buffer={buffer}: must lie in (0, limit={limit}]")
    excess = np.asarray(length) - (limit - buffer)
    return np.minimum(0, -factor * excess / buffer)


def informative(accuracy):
    """Returns which groups have something to compare. [P, G] -> [P] bool.

    Dynamic sampling (DAPO, arXiv 2503.14476) keeps these and draws again for the
    others. Pass what the verifier said, not a shaped reward: a length penalty makes
    every group of wrong answers look informative. A group of one never is.
    """
    accuracy = np.asarray(accuracy)
    return accuracy.max(axis=1) != accuracy.min(axis=1)
