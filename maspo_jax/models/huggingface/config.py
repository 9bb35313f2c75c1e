"""Architectures of Hugging Face checkpoints, as those of a `Decoder` and back.

One table says which tensor is which parameter. Their matrices are [outputs, inputs],
ours [inputs, outputs]; theirs have a name per layer, ours a leading depth axis.
"""

from maspo_jax.models import rope
from maspo_jax.models.decoder import DecoderConfig

FAMILIES = {
    "qwen2": {"qkv_bias": True, "qk_norm": False},
    "qwen3": {"qkv_bias": False, "qk_norm": True},
    "llama": {"qkv_bias": False, "qk_norm": False},
}
ROPE_THETA = 10000.0  # of all three, where a configuration does not say
CLASSES = {
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "llama": "LlamaForCausalLM",
}
ORIGINAL = "original_max_position_embeddings"  # of a scaling, before it
# Settings that change the network, with the only values the decoder has.
FIXED = {
    "hidden_act": ("silu",),
    "use_sliding_window": (False, None),
    "attention_bias": (False, None),
    "mlp_bias": (False, None),
    "quantization_config": (None,),
    "partial_rotary_factor": (1.0, None),
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
    family = values.get("model_type")
    if family not in list(FAMILIES):  # which need not be a text
        raise ValueError(
            f"model_type={family!r}: only {', '.join(FAMILIES)} can be read"
        )
    for name, known in FIXED.items():
        if values.get(name, known[-1]) not in known:
            raise ValueError(
                f"{name}={values[name]!r}: the decoder has only {known[0]!r}"
            )
    kinds = values.get("layer_types") or []
    if not isinstance(kinds, list) or any(kind != "full_attention" for kind in kinds):
        raise ValueError(
            f"layer_types={kinds}: sliding windows and other kinds of attention cannot "
            "be read"
        )
    theta, scaling = _read_rope(values)
    heads, width = _size(values, "num_attention_heads"), _size(values, "hidden_size")
    return DecoderConfig(
        vocabulary=_size(values, "vocab_size"),
        width=width,
        depth=_size(values, "num_hidden_layers"),
        query_heads=heads,
        key_value_heads=_size(values, "num_key_value_heads", heads),
        head_width=_size(values, "head_dim", width // heads),
        feed_forward=_size(values, "intermediate_size"),
        rope_theta=theta,
        rope_scaling=scaling,
        norm_epsilon=float(values.get("rms_norm_eps", 1e-6)),
        tied_head=values.get("tie_word_embeddings", False),
        dtype=dtype,
        **FAMILIES[family],
        **settings,
    )


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


def _size(values, name, usual=None):
    size = usual if values.get(name) is None else values[name]
    if type(size) is not int or size < 1:
        raise ValueError(f"{name}={size!r}: must be a whole number above 0")
    return size


def _read_rope(values):
    """Returns theta and the scaling, of transformers 4 (`rope_scaling`) or 5."""
    rope_values = _rope_values(values)
    theta = rope_values.get("rope_theta") or values.get("rope_theta") or ROPE_THETA
    kind = rope_values.get("rope_type") or rope_values.get("type") or "default"
    if rope_values.get("partial_rotary_factor", 1.0) != 1.0:
        raise ValueError("partial_rotary_factor: only whole heads can be rotated")
    if kind not in list(_SCALINGS):
        raise ValueError(f"rope_type={kind!r}: only {', '.join(_SCALINGS)} can be read")
    try:
        return float(theta), _SCALINGS[kind](rope_values, values)
    except KeyError as error:
        raise ValueError(f"rope_type={kind!r} without {error}") from error
    except TypeError as error:
        raise ValueError(f"rope_type={kind!r}: {error}") from error


def _rope_values(values):
    name = "rope_parameters" if values.get("rope_parameters") else "rope_scaling"
    found = values.get(name) or {}
    if not isinstance(found, dict):
        raise ValueError(f"{name}={found!r}: must be an object")
    return found


def fix_original_length(values):
    """Writes the original length of a scaling into the contents of a `config.json`.

    Where it is left out it is `max_position_embeddings`, and a checkpoint whose texts
    may become longer would be another network.
    """
    _, scaling = _read_rope(values)
    if isinstance(scaling, rope.Llama3 | rope.Yarn):
        _rope_values(values)[ORIGINAL] = scaling.original_length


def _read_yarn(rope_values, values):
    scale, factor = rope_values.get("attention_factor"), rope_values["factor"]
    mscales = [rope_values.get(name) for name in ("mscale", "mscale_all_dim")]
    if scale is None and all(mscales):
        one, two = (rope.magnitude(factor, mscale) for mscale in mscales)
        scale = one / two
    return rope.Yarn(
        factor=float(factor),
        original_length=_original_length(rope_values, values),
        fast_turns=float(rope_values.get("beta_fast") or 32),
        slow_turns=float(rope_values.get("beta_slow") or 1),
        scale=scale,
        rounded=rope_values.get("truncate", True),
    )


def _original_length(rope_values, values):
    return rope_values.get(ORIGINAL) or values["max_position_embeddings"]


_SCALINGS = {
    "default": lambda rope_values, values: None,
    "linear": lambda rope_values, values: rope.Linear(float(rope_values["factor"])),
    "llama3": lambda rope_values, values: rope.Llama3(
        factor=float(rope_values["factor"]),
        low_turns=float(rope_values["low_freq_factor"]),
        high_turns=float(rope_values["high_freq_factor"]),
        original_length=_original_length(rope_values, values),
    ),
    "yarn": _read_yarn,
}


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
