"""Architectures of Hugging Face checkpoints, as those of a `Decoder` and back.

One table says which tensor is which parameter. Their matrices are [outputs, inputs],
ours [inputs, outputs]; theirs have a name per layer, ours a leading depth axis.
"""

import math

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
ROPE = ("rope_parameters", "rope_scaling")  # of transformers 5, and of 4
ORIGINAL = "original_max_position_embeddings"  # of a scaling, before it
# Settings that change the network, with the only values the decoder has.
FIXED = {
    "hidden_act": ("silu",),
    "use_sliding_window": (False, None),
    "attention_bias": (False, None),
    "mlp_bias": (False, None),
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
    _refuse_quantized(values)
    for name, known in FIXED.items():
        value = values.get(name, known[-1])
        if value not in known or (type(value) is int and False in known):  # 0 is none
            raise ValueError(
                f"{name}={values[name]!r}: the decoder has only {known[0]!r}"
            )
    heads, width = _size(values, "num_attention_heads"), _size(values, "hidden_size")
    depth = _size(values, "num_hidden_layers")
    kinds = values.get("layer_types") or []
    if not isinstance(kinds, list) or any(kind != "full_attention" for kind in kinds):
        raise ValueError(
            f"layer_types={kinds}: sliding windows and other kinds of attention cannot "
            "be read"
        )
    if kinds and len(kinds) != depth:
        raise ValueError(
            f"layer_types has {len(kinds)} entries and num_hidden_layers={depth}: "
            "restore config.json, or fetch it again"
        )
    _size(values, "max_position_embeddings", 1)  # which an export goes by
    theta, scaling = _read_rope(values)
    return DecoderConfig(
        vocabulary=_size(values, "vocab_size"),
        width=width,
        depth=depth,
        query_heads=heads,
        key_value_heads=_size(values, "num_key_value_heads", heads),
        head_width=_size(values, "head_dim", width // heads),
        feed_forward=_size(values, "intermediate_size"),
        rope_theta=theta,
        rope_scaling=scaling,
        norm_epsilon=_needed({"rms_norm_eps": 1e-6, **values}, "rms_norm_eps"),
        tied_head=_flag(values, "tie_word_embeddings", False),
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


def _number(values, name, usual):
    return usual if values.get(name) is None else _needed(values, name)


def _needed(values, name):
    """Returns a positive number."""
    number = values[name]
    if type(number) not in (int, float):
        kind = type(number).__name__
        raise ValueError(f"{name}={number!r}: must be a number, not {kind!r}")
    if not 0 < number < math.inf:
        raise ValueError(f"{name}={number!r}: must be above 0 and finite")
    return float(number)


def _flag(values, name, usual):
    flag = usual if values.get(name) is None else values[name]
    if type(flag) is not bool:
        raise ValueError(f"{name}={flag!r}: must be true or false")
    return flag


def _refuse_quantized(values):
    for name in ("quantization_config", "compression_config"):
        given = values.get(name)
        if given is not None:
            how = given
            if isinstance(given, dict):
                how = given.get("quant_method") or ", ".join(given)
            raise ValueError(
                f"{name}: the weights are quantized ({how}), which cannot be read; "
                "take the checkpoint that is not, or write them in bfloat16 first"
            )


def _read_rope(values):
    """Returns theta and the scaling, of transformers 4 (`rope_scaling`) or 5.

    The library lets a `rope_scaling` beside `rope_parameters` win, theta included; what
    config.json says of both may only be the same.
    """
    found = {
        name: _read_rope_of(_rope_values(values, name), values)
        for name in ROPE
        if values.get(name)
    }
    if len(set(found.values())) > 1:
        raise ValueError(
            "rope_scaling and rope_parameters say different things: put the scaling "
            "into rope_parameters, with its rope_theta, and leave rope_scaling out"
        )
    return next(iter(found.values()), None) or _read_rope_of({}, values)


def _read_rope_of(rope_values, values):
    theta = _number(
        rope_values, "rope_theta", _number(values, "rope_theta", ROPE_THETA)
    )
    kind = rope_values.get("rope_type") or rope_values.get("type") or "default"
    if rope_values.get("partial_rotary_factor", 1.0) != 1.0:
        raise ValueError("partial_rotary_factor: only whole heads can be rotated")
    if kind not in list(_SCALINGS):
        raise ValueError(f"rope_type={kind!r}: only {', '.join(_SCALINGS)} can be read")
    try:
        return theta, _SCALINGS[kind](rope_values, values)
    except KeyError as error:
        raise ValueError(f"rope_type={kind!r} without {error}") from error
    except ValueError as error:
        raise ValueError(f"rope_type={kind!r}: {error}") from error


def _rope_values(values, name):
    found = values.get(name) or {}
    if not isinstance(found, dict):
        raise ValueError(f"{name}={found!r}: must be an object")
    nested = [key for key, value in found.items() if isinstance(value, dict)]
    if nested:
        raise ValueError(
            f"{name} differs by kind of layer ({', '.join(nested)}): the decoder has "
            "one for all layers"
        )
    return found


def fix_original_length(values):
    """Writes the original length of a scaling into the contents of a `config.json`.

    Where it is left out it is `max_position_embeddings`, and a checkpoint whose texts
    may become longer would be another network.
    """
    _, scaling = _read_rope(values)
    if isinstance(scaling, rope.Llama3 | rope.Yarn):
        for name in ROPE:
            if values.get(name):
                values[name][ORIGINAL] = scaling.original_length


def _read_yarn(rope_values, values):
    factor = _needed(rope_values, "factor")
    scale = _number(rope_values, "attention_factor", None)
    mscales = ("mscale", "mscale_all_dim")
    # A zero stands for none, as in the library.
    if scale is None and all(rope_values.get(name) for name in mscales):
        one, two = (
            rope.magnitude(factor, _needed(rope_values, name)) for name in mscales
        )
        scale = one / two
    return rope.Yarn(
        factor=factor,
        original_length=_original_length(rope_values, values),
        fast_turns=_number(rope_values, "beta_fast", 32.0),
        slow_turns=_number(rope_values, "beta_slow", 1.0),
        scale=scale,
        rounded=_flag(rope_values, "truncate", True),
    )


def _original_length(rope_values, values):
    name = ORIGINAL if rope_values.get(ORIGINAL) else "max_position_embeddings"
    return _size({name: {**values, **rope_values}[name]}, name)


_SCALINGS = {
    "default": lambda rope_values, values: None,
    "linear": lambda rope_values, values: rope.Linear(_needed(rope_values, "factor")),
    "llama3": lambda rope_values, values: rope.Llama3(
        factor=_needed(rope_values, "factor"),
        low_turns=_needed(rope_values, "low_freq_factor"),
        high_turns=_needed(rope_values, "high_freq_factor"),
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
