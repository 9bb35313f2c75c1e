"""Parameters of Hugging Face checkpoints, as those of a `Decoder` and back.

One table says which tensor is which parameter. Their matrices are [outputs, inputs],
ours [inputs, outputs]; theirs have a name per layer, ours a leading depth axis.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from maspo_jax.models.decoder import Decoder, DecoderConfig

# Path in the decoder -> (name of the tensor, whether it is a transposed matrix).
TABLE = {
    "embedding": ("model.embed_tokens.weight", False),
    "blocks/attention_norm/scale": ("model.layers.*.input_layernorm.weight", False),
    "blocks/attention/query/kernel": ("model.layers.*.self_attn.q_proj.weight", True),
    "blocks/attention/query/bias": ("model.layers.*.self_attn.q_proj.bias", False),
    "blocks/attention/key/kernel": ("model.layers.*.self_attn.k_proj.weight", True),
    "blocks/attention/key/bias": ("model.layers.*.self_attn.k_proj.bias", False),
    "blocks/attention/value/kernel": ("model.layers.*.self_attn.v_proj.weight", True),
    "blocks/attention/value/bias": ("model.layers.*.self_attn.v_proj.bias", False),
    "blocks/attention/output/kernel": ("model.layers.*.self_attn.o_proj.weight", True),
    "blocks/attention/query_norm/scale": (
        "model.layers.*.self_attn.q_norm.weight",
        False,
    ),
    "blocks/attention/key_norm/scale": (
        "model.layers.*.self_attn.k_norm.weight",
        False,
    ),
    "blocks/feed_forward_norm/scale": (
        "model.layers.*.post_attention_layernorm.weight",
        False,
    ),
    "blocks/feed_forward/gate/kernel": ("model.layers.*.mlp.gate_proj.weight", True),
    "blocks/feed_forward/up/kernel": ("model.layers.*.mlp.up_proj.weight", True),
    "blocks/feed_forward/down/kernel": ("model.layers.*.mlp.down_proj.weight", True),
    "norm/scale": ("model.norm.weight", False),
    "head/kernel": ("lm_head.weight", True),
}


def read_config(values, dtype="float32"):
    """Returns the `DecoderConfig` of a checkpoint's `config.json`.

    Args:
        values: its contents, a dict.
        dtype: of the parameters as they will be held.

    Raises:
        ValueError: the checkpoint needs what the decoder has not.
    """
    family = values.get("model_type")
    if family not in ("qwen2", "qwen3"):
        raise ValueError(f"model_type={family!r}: only qwen2 and qwen3 can be read")
    rope = values.get("rope_parameters") or {}
    kind = rope.get("rope_type", "default")
    if values.get("rope_scaling") or kind != "default":
        raise ValueError(
            f"rope scaling ({values.get('rope_scaling') or kind!r}) cannot be read"
        )
    if values.get("use_sliding_window"):
        raise ValueError("use_sliding_window=True: sliding windows cannot be read")
    if values.get("hidden_act", "silu") != "silu":
        raise ValueError(f"hidden_act={values['hidden_act']!r}: only silu can be read")
    heads = values["num_attention_heads"]
    return DecoderConfig(
        vocabulary=values["vocab_size"],
        width=values["hidden_size"],
        depth=values["num_hidden_layers"],
        query_heads=heads,
        key_value_heads=values["num_key_value_heads"],
        head_width=values.get("head_dim") or values["hidden_size"] // heads,
        feed_forward=values["intermediate_size"],
        rope_theta=float(rope.get("rope_theta") or values["rope_theta"]),
        norm_epsilon=values["rms_norm_eps"],
        qkv_bias=family == "qwen2",
        qk_norm=family == "qwen3",
        tied_head=values.get("tie_word_embeddings", False),
        dtype=dtype,
    )


def from_tensors(config, tensors):
    """Returns the `Decoder` that holds the tensors of a checkpoint.

    Args:
        config: its `DecoderConfig`.
        tensors: {name: array}, all of the checkpoint.

    Raises:
        ValueError: a tensor is missing, is not known, or has another shape.
    """
    skeleton = jax.eval_shape(lambda: Decoder(config, nnx.Rngs(0)))
    unread = set(tensors)
    if config.tied_head:
        unread.discard("lm_head.weight")  # written by some as a copy

    def load(path, leaf):
        name, transposed = TABLE[_path(path)]
        layers = range(config.depth) if "*" in name else [""]
        names = [name.replace("*", str(layer)) for layer in layers]
        missing = [name for name in names if name not in tensors]
        if missing:
            raise ValueError(f"the checkpoint has no tensor {missing[0]}")
        unread.difference_update(names)
        parts = [np.asarray(tensors[name]) for name in names]
        value = np.stack(parts) if "*" in name else parts[0]
        value = value.swapaxes(-1, -2) if transposed else value
        if value.shape != leaf.shape:
            raise ValueError(
                f"tensor {name} gives {_path(path)} the shape {value.shape}; the "
                f"configuration asks for {leaf.shape}"
            )
        return jnp.asarray(value, leaf.dtype)

    policy = jax.tree_util.tree_map_with_path(load, skeleton)
    if unread:
        raise ValueError(f"the checkpoint has unknown tensors: {sorted(unread)[:5]}")
    return policy


def to_tensors(policy):
    """Returns {name: NumPy array}: a `Decoder` as the tensors of a checkpoint."""
    tensors = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(policy):
        name, transposed = TABLE[_path(path)]
        value = np.asarray(leaf)
        value = value.swapaxes(-1, -2) if transposed else value
        if "*" in name:
            for layer, part in enumerate(value):
                tensors[name.replace("*", str(layer))] = part
        else:
            tensors[name] = value
    return tensors


def _path(path):
    """Returns a path as the table has it, without the name of the variable's value."""
    return jax.tree_util.keystr(path[:-1], simple=True, separator="/")
