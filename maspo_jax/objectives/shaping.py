"""What the length of a response does to its reward, before the advantage."""

import jax.numpy as jnp


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

    Returns:
        float32, of the shape of `length`.

    Raises:
        ValueError: the buffer is not within the limit.
    """
    if not 0 < buffer <= limit:
        raise ValueError(f"buffer={buffer}: must lie in (0, limit={limit}]")
    excess = jnp.asarray(length) - (limit - buffer)
    return jnp.minimum(0, -factor * excess / buffer).astype(jnp.float32)
