"""What is done about responses that come close to the limit, or are cut off (DAPO)."""

import dataclasses

import jax.numpy as jnp

from maspo_jax.settings import setting


@dataclasses.dataclass(frozen=True)
class OverlongPenalty:
    """Takes from the reward of responses that come close to the limit.

    Nothing up to limit - buffer tokens, then linearly more, up to `factor` at the
    limit; before the advantage. The paper takes buffer=4096 of a limit of 20480.
    arXiv 2503.14476.
    """

    buffer: int = setting(interval="[1, inf)")  # tokens before the limit, its begin
    factor: float = setting(1.0, "[0, inf)")  # what it takes at the limit

    def __call__(self, length, limit):
        """Returns what is added to the reward, float32 of the shape of `length`.

        Args:
            length: of each response, in tokens, any shape.
            limit: the longest response allowed, in tokens.

        Raises:
            ValueError: the buffer exceeds the limit.
        """
        if self.buffer > limit:
            raise ValueError(f"buffer={self.buffer}: must not exceed the limit={limit}")
        excess = jnp.asarray(length) - (limit - self.buffer)
        penalty = jnp.minimum(0, -self.factor * excess / self.buffer)
        return penalty.astype(jnp.float32)


@dataclasses.dataclass(frozen=True)
class OverlongFilter:
    """Keeps responses that were cut off at the limit out of the loss.

    arXiv 2503.14476.
    """

    in_group: bool = True  # whether the others of the group are still compared with it

    def __call__(self, mask, cut_off):
        """Returns which tokens are trained, and which are compared, [N, T] bool each.

        Args:
            mask: [N, T] bool, the tokens of responses.
            cut_off: [N] bool, responses that were cut off.
        """
        finished = mask & ~cut_off[:, None]
        return finished, mask if self.in_group else finished
