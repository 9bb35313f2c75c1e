"""Token weights: the whole normalization of the loss, as data.

Each function maps the mask of the response tokens of one optimization batch,
[N, T] bool, to the weight of each token, [N, T] float32. The loss is a plain sum
over tokens, so a batch may be split in any way once its weights are known. A batch
without any token has weights of zero; a response without any does not count.
"""

import dataclasses

import jax.numpy as jnp

from maspo_jax.settings import setting


def token_mean(mask):
    """Every token counts the same; sums to one (DAPO, arXiv 2503.14476).

    Of a mask of NumPy it is NumPy's, and nothing is compiled.
    """
    return mask / mask.sum().clip(1)


def sequence_mean(mask):
    """Every response counts the same; sums to one (GRPO, arXiv 2402.03300)."""
    return only_token_mean(mask) / jnp.maximum(jnp.sum(jnp.any(mask, axis=-1)), 1)


def sequence_sum(mask):
    """Every token of the mean response counts once; sums to the mean length."""
    responses = jnp.sum(jnp.any(mask, axis=-1))
    return mask / jnp.maximum(responses, 1)


def only_token_mean(mask):
    """The mean over the tokens of a response, summed over responses.

    Sums to their number, so the step grows with the batch (OTM of DCPO as the
    paper states it, arXiv 2509.02333; its code is `token_mean`).
    """
    return mask / jnp.maximum(jnp.sum(mask, axis=-1, keepdims=True), 1)


@dataclasses.dataclass(frozen=True)
class SequenceSumOver:
    """`sequence_sum` over a constant length (Dr.GRPO, arXiv 2503.20783).

    Every token counts the same whatever the lengths in the batch. The constant has
    no default: it scales the learning rate.
    """

    length: float = setting(interval="(0, inf)")

    def __call__(self, mask):
        """Returns the weight of each token, [N, T], for a mask, [N, T] bool."""
        return sequence_sum(mask) / self.length
