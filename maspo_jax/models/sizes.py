"""How much memory a decoder takes, by arithmetic on its shape.

Nothing is allocated or compiled. Bytes are those of the arrays themselves, on all
devices together: a device may pad the last axes of an array to whole tiles.
"""

import jax.numpy as jnp

FLOAT32 = 4  # bytes


def param_count(config):
    """Returns how many numbers the parameters of a decoder are.

    Args:
        config: the `DecoderConfig`.
    """
    width, head = config.width, config.head_width
    queries, shared = config.query_heads * head, config.key_value_heads * head
    attention = width * (queries + 2 * shared) + queries * width
    attention += (queries + 2 * shared) * config.qkv_bias + 2 * head * config.qk_norm
    block = attention + 3 * width * config.feed_forward + 2 * width  # and two norms
    return config.depth * block + stem_count(config) + width  # and a norm


def stem_count(config):
    """Returns how many parameters stand outside of the layers: embedding and head.

    Args:
        config: the `DecoderConfig`.
    """
    return config.vocabulary * config.width * (1 if config.tied_head else 2)


def param_bytes(config, dtype=None):
    """Returns the bytes of the parameters of a decoder.

    Args:
        config: the `DecoderConfig`.
        dtype: of the parameters; None for that of `config`. The sampler holds a copy
            in `config.product_dtype`.
    """
    return param_count(config) * _width(dtype or config.dtype)


def cache_bytes(config, rows, columns):
    """Returns the bytes of the keys and values of a `Cache`, in the dtype of products.

    Args:
        config: the `DecoderConfig`.
        rows: B.
        columns: C; of a sampler, prompt and response together, L + T.
    """
    heads = config.key_value_heads * config.head_width
    return 2 * config.depth * rows * columns * heads * _width(config.product_dtype)


def logits_bytes(config, rows):
    """Returns the bytes of the scores of all tokens for so many rows, float32.

    Args:
        config: the `DecoderConfig`.
        rows: hidden states that are scored at once, such as one of each row that the
            sampler draws.
    """
    return rows * config.vocabulary * FLOAT32


def _width(dtype):
    return jnp.dtype(dtype).itemsize
