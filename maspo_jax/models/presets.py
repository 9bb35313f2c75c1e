"""Sizes of the checkpoints that the papers train, known without fetching them."""

import functools

from maspo_jax.models.decoder import DecoderConfig

_qwen2 = functools.partial(
    DecoderConfig, head_width=128, qkv_bias=True, rope_theta=1e4, tied_head=False
)

DEEPSEEK_R1_DISTILL_QWEN_1_5B = _qwen2(
    vocabulary=151936,
    width=1536,
    depth=28,
    query_heads=12,
    key_value_heads=2,
    feed_forward=8960,
)
DEEPSEEK_R1_DISTILL_QWEN_7B = _qwen2(
    vocabulary=152064,
    width=3584,
    depth=28,
    query_heads=28,
    key_value_heads=4,
    feed_forward=18944,
)
DEEPSEEK_R1_DISTILL_QWEN_14B = _qwen2(
    vocabulary=152064,
    width=5120,
    depth=48,
    query_heads=40,
    key_value_heads=8,
    feed_forward=13824,
    rope_theta=1e6,
    norm_epsilon=1e-5,
)
BY_NAME = {  # on the hub of Hugging Face
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": DEEPSEEK_R1_DISTILL_QWEN_1_5B,
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B": DEEPSEEK_R1_DISTILL_QWEN_7B,
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B": DEEPSEEK_R1_DISTILL_QWEN_14B,
}
