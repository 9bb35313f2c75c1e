"""Architectures of Hugging Face checkpoints, as those of a `Decoder` and back.

One table says which tensor is which parameter. Their matrices are [outputs, inputs],
ours [inputs, outputs]; theirs have a name per layer, ours a leading depth axis.
"""

from maspo_jax.models import rope
from maspo_jax.models.decoder import DecoderConfig
from maspo_jax.models.huggingface.architecture import (
    FAMILIES,
    ORIGINAL,
    ROPE,
    read_fields,
    read_rope,
)

CLASSES = {
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "llama": "LlamaForCausalLM",
}


def read_config(values, dtype="float32", **settings):
    """Returns the `DecoderConfig` of a checkpoint's `config.json`.

    Args:
        values: its contents, a dict.
        dtype: of the parameters as they will be held.
        **settings: other fields of the `DecoderConfig` that no checkpoint has, such
            as `compute_dtype`.

    Raises:
        ValueError: the checkpoint needs what the decoder has not, or a size is
            missing.
    """
    return DecoderConfig(**read_fields(values), dtype=dtype, **settings)


def write_config(config):
    """Returns the contents of a `config.json` for a `DecoderConfig`.

    Raises:
        ValueError: no family has this combination of options.
    """
    options = {"qkv_bias": config.qkv_bias, "qk_norm": config.qk_norm}
    family = next((name for name, has in FAMILIES.items() if has == options), None)
    if family is None:
        raise ValueError(
            "qkv_bias=True and qk_norm=True: no architecture of Hugging Face has both"
        )
    return {
        "architectures": [CLASSES[family]],
        "model_type": family,
        "vocab_size": config.vocabulary,
        "hidden_size": config.width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.query_heads,
        "num_key_value_heads": config.key_value_heads,
        "head_dim": config.head_width,
        "intermediate_size": config.feed_forward,
        "hidden_act": "silu",
        "rms_norm_eps": config.norm_epsilon,
        "rope_theta": config.rope_theta,
        "rope_scaling": _write_rope(config.rope_scaling),
        "tie_word_embeddings": config.tied_head,
    }


def fix_original_length(values):
    """Writes the original length of a scaling into the contents of a `config.json`.

    Where it is left out it is `max_position_embeddings`, and a checkpoint whose texts
    may become longer would be another network.
    """
    _, scaling = read_rope(values)
    if isinstance(scaling, rope.Llama3 | rope.Yarn):
        for name in ROPE:
            if values.get(name):
                values[name][ORIGINAL] = scaling.original_length


def _write_rope(scaling):
    match scaling:
        case None:
            return None
        case rope.Linear():
            return {"rope_type": "linear", "factor": scaling.factor}
        case rope.Llama3():
            return {
                "rope_type": "llama3",
                "factor": scaling.factor,
                "low_freq_factor": scaling.low_turns,
                "high_freq_factor": scaling.high_turns,
                ORIGINAL: scaling.original_length,
            }
        case rope.Yarn():
            return {
                "rope_type": "yarn",
                "factor": scaling.factor,
                "beta_fast": scaling.fast_turns,
                "beta_slow": scaling.slow_turns,
                "attention_factor": scaling.scale,
                "truncate": scaling.rounded,
                ORIGINAL: scaling.original_length,
            }
