"""How much memory a decoder takes, by arithmetic on its shape.

Nothing is allocated or compiled. Bytes are those of the arrays themselves, on all
devices together: a device may pad the last axes of an array to whole tiles.
"""

import jax.numpy as jnp

from maspo_jax.models.attention import reads_at_once

FLOAT32 = 4  # bytes


def param_count(config):
    """Returns how many numbers the parameters of a decoder are.

    Args:
        config: the `DecoderConfig`.
    """
    layers = config.depth * layer_param_count(config)
    return layers + stem_count(config) + config.width  # and a norm


def layer_param_count(config):
    """Returns how many numbers the parameters of one layer of a decoder are.

    Args:
        config: the `DecoderConfig`.
    """
    width, head = config.width, config.head_width
    queries, shared = config.query_heads * head, config.key_value_heads * head
    attention = width * (queries + 2 * shared) + queries * width
    attention += (queries + 2 * shared) * config.qkv_bias + 2 * head * config.qk_norm
    return attention + 3 * width * config.feed_forward + 2 * width  # and two norms


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


def scores_bytes(config, rows, columns):
    """Returns the bytes of what one layer scores of whole rows at once, float32.

    None where rows are read in blocks, by a kernel or by `chunked`.

    Args:
        config: the `DecoderConfig`.
        rows: B.
        columns: S, tokens of a row.
    """
    if not reads_at_once(config.attention, columns):
        return 0
    return rows * config.query_heads * columns**2 * FLOAT32


def _width(dtype):
    return jnp.dtype(dtype).itemsize
