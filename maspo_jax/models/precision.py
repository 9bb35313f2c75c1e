"""How exactly matrix products are computed, and parameters in the dtype of products."""

import jax
import jax.numpy as jnp


def precision_of(dtype):
    """Returns the precision to ask of products of arrays of a dtype.

    Accelerators multiply float32 in one pass of bfloat16 or TF32 unless asked: the
    log-probability of a token would be off by about 0.01 nats. A policy that need not
    be that exact computes in bfloat16, which is what those passes are for.
    """
    wide = jnp.dtype(dtype) == jnp.float32
    return jax.lax.Precision.HIGHEST if wide else jax.lax.Precision.DEFAULT


def cast(tree, dtype):
    """Returns parameters in the dtype of matrix products; those that are stay.

    All of them, scales and biases too: one left in float32 would promote the stream
    of hidden states that it touches, and every product behind it.
    """
    return jax.tree.map(lambda leaf: leaf.astype(dtype), tree)
