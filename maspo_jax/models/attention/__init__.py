"""Attention: a function of (query, key, value, layout), chosen in one place.

layout_of_mask(mask) --> RowLayout ----> reference | chunked
layout_of_decoding(...) -> DecodeLayout -> decode
"""

import functools
import logging

import jax

from maspo_jax.models.attention.chunked import chunked
from maspo_jax.models.attention.layout import (
    DecodeLayout,
    RowLayout,
    first_columns,
    layout_of_decoding,
    layout_of_mask,
    layout_of_segments,
)
from maspo_jax.models.attention.reference import decode, reference

__all__ = [
    "DecodeLayout",
    "RowLayout",
    "choose_attention",
    "chunked",
    "decode",
    "first_columns",
    "layout_of_decoding",
    "layout_of_mask",
    "layout_of_segments",
    "reference",
]

IMPLEMENTATIONS = {"reference": reference, "chunked": chunked}
LONG = 1024  # tokens of a row; longer ones are read in blocks
logger = logging.getLogger(__name__)


def choose_attention(name, layout, dtype):
    """Returns the attention function for a call of the decoder, and logs it once.

    Args:
        name: "auto", or which of `IMPLEMENTATIONS` reads whole rows.
        layout: of the call, a `RowLayout` or a `DecodeLayout`.
        dtype: of queries and keys.
    """
    if isinstance(layout, DecodeLayout):
        return decode
    length = layout.segments.shape[-1]
    if name == "auto":
        name = "chunked" if length > LONG else "reference"
    _log(name, length, str(dtype), jax.default_backend())
    return IMPLEMENTATIONS[name]


@functools.cache
def _log(name, length, dtype, backend):
    logger.info(
        "attention: %s, for rows of %d tokens in %s on %s", name, length, dtype, backend
    )
