"""Attention: a function of (query, key, value, layout), chosen in one place.

layout_of_mask(mask) --> RowLayout ----> reference | chunked | splash | cudnn
layout_of_decoding(lengths) -> DecodeLayout -> decode, which reads a cache, too
"""

from maspo_jax.models.attention.choice import (
    IMPLEMENTATIONS,
    AttentionName,
    check_attention,
    choose_attention,
    name_chosen,
    reads_at_once,
    target_platform,
)
from maspo_jax.models.attention.chunked import chunked
from maspo_jax.models.attention.cudnn import cudnn
from maspo_jax.models.attention.decode import decode, whole_blocks
from maspo_jax.models.attention.layout import (
    DecodeLayout,
    RowLayout,
    layout_of_decoding,
    layout_of_mask,
    layout_of_segments,
)
from maspo_jax.models.attention.reference import reference
from maspo_jax.models.attention.splash import splash

__all__ = [
    "IMPLEMENTATIONS",
    "AttentionName",
    "DecodeLayout",
    "RowLayout",
    "check_attention",
    "choose_attention",
    "chunked",
    "cudnn",
    "decode",
    "layout_of_decoding",
    "layout_of_mask",
    "layout_of_segments",
    "name_chosen",
    "reads_at_once",
    "reference",
    "splash",
    "target_platform",
    "whole_blocks",
]
