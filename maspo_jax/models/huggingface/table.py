"""Where each parameter of the decoder stands in a checkpoint of Hugging Face."""

import jax

_LAYER = "model.layers.*."
# Path in the decoder -> (name of the tensor, whether it is a transposed matrix).
TABLE = {
    "embedding": ("model.embed_tokens.weight", False),
    "blocks/attention_norm/scale": (_LAYER + "input_layernorm.weight", False),
    "blocks/attention/query/kernel": (_LAYER + "self_attn.q_proj.weight", True),
    "blocks/attention/query/bias": (_LAYER + "self_attn.q_proj.bias", False),
    "blocks/attention/key/kernel": (_LAYER + "self_attn.k_proj.weight", True),
    "blocks/attention/key/bias": (_LAYER + "self_attn.k_proj.bias", False),
    "blocks/attention/value/kernel": (_LAYER + "self_attn.v_proj.weight", True),
    "blocks/attention/value/bias": (_LAYER + "self_attn.v_proj.bias", False),
    "blocks/attention/output/kernel": (_LAYER + "self_attn.o_proj.weight", True),
    "blocks/attention/query_norm/scale": (_LAYER + "self_attn.q_norm.weight", False),
    "blocks/attention/key_norm/scale": (_LAYER + "self_attn.k_norm.weight", False),
    "blocks/feed_forward_norm/scale": (
        _LAYER + "post_attention_layernorm.weight",
        False,
    ),
    "blocks/feed_forward/gate/kernel": (_LAYER + "mlp.gate_proj.weight", True),
    "blocks/feed_forward/up/kernel": (_LAYER + "mlp.up_proj.weight", True),
    "blocks/feed_forward/down/kernel": (_LAYER + "mlp.down_proj.weight", True),
    "norm/scale": ("model.norm.weight", False),
    "head/kernel": ("lm_head.weight", True),
}

# What tells the families apart. DeepSeek-R1-Distill-Qwen is of the family qwen2.


def path_of(path):
    """Returns a path as the table has it, without the name of the variable's value."""
    return jax.tree_util.keystr(path[:-1], simple=True, separator="/")
