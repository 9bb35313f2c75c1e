"""Attention on NVIDIA GPUs by the kernels of cuDNN: scores never leave the chip.

They take rows that begin in the first column and their lengths, so tokens are moved to
the left before and back after; a mask would have to be as large as the scores. Hence
rows of one text only, and bfloat16 only. Their backward pass adds in no fixed order
unless XLA_FLAGS=--xla_gpu_deterministic_ops=true.
"""

import jax
import jax.numpy as jnp


def cudnn(query, key, value, layout, implementation="cudnn"):
    """Does what `reference` does, on a GPU, for rows that hold one text each.

    Args:
        query: [B, S, H, E] bfloat16.
        key: [B, K, S, E], each head shared by H / K query heads.
        value: [B, K, S, E].
        layout: the `RowLayout`; its rows are not `packed`.
        implementation: of `jax.nn.dot_product_attention`; "xla" for tests.

    Returns:
        [B, S, H, E]; zero at a position that sees nothing, such as padding.
    """
    real = layout.segments > 0
    order, back = _tokens_first(real)
    # Of a row of nothing but padding the first column is read; it holds zeros.
    lengths = jnp.maximum(jnp.sum(real, axis=-1, dtype=jnp.int32), 1)

    def align(x):
        """Moves tokens to the left; padding is zero, and so is its gradient."""
        return _move(jnp.where(real[:, :, None, None], x, 0), order, back)

    mixed = jax.nn.dot_product_attention(
        align(query),
        align(key.swapaxes(1, 2)),
        align(value.swapaxes(1, 2)),
        is_causal=True,
        query_seq_lengths=lengths,
        key_value_seq_lengths=lengths,
        implementation=implementation,
    )
    return jnp.where(real[:, :, None, None], _move(mixed, back, order), 0)


def _tokens_first(real):
    """Returns the permutation of columns that moves tokens to the left, and back.

    Args:
        real: [B, S] bool, false on padding.

    Returns:
        [B, S] int32, where each column of the aligned row comes from, and the inverse.
    """
    tokens = jnp.cumsum(real, axis=-1, dtype=jnp.int32)
    padding = jnp.cumsum(~real, axis=-1, dtype=jnp.int32)
    back = jnp.where(real, tokens, tokens[:, -1:] + padding) - 1
    column = jnp.broadcast_to(jnp.arange(back.shape[-1])[None], back.shape)
    order = jnp.put_along_axis(back, back, column, axis=-1, inplace=False)
    return order, back


@jax.custom_vjp
def _move(x, order, back):
    """Permutes the columns of each row. [B, S, H, E], [B, S] and its inverse."""
    return jnp.take_along_axis(x, order[:, :, None, None], axis=1)


def _forward(x, order, back):
    return _move(x, order, back), (order, back)


def _backward(orders, cotangent):
    """A gather as well, where the transpose of one would be a sum."""
    order, back = orders
    return _move(cotangent, back, order), None, None


_move.defvjp(_forward, _backward)
