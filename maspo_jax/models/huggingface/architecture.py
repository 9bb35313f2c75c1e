"""What `config.json` of a checkpoint says of its network. Loads no JAX, no weights.

    config.json --read_fields--> fields of a `DecoderConfig`

Every field that the decoder goes by is read or refused by its name.
"""

import math
import pathlib

from maspo_jax import hub
from maspo_jax.models import rope
from maspo_jax.storage import read_json_object

FAMILIES = {
    "qwen2": {"qkv_bias": True, "qk_norm": False},
    "qwen3": {"qkv_bias": False, "qk_norm": True},
    "llama": {"qkv_bias": False, "qk_norm": False},
}
ROPE_THETA = 10000.0  # of all three, where a configuration does not say
ROPE = ("rope_parameters", "rope_scaling")  # of transformers 5, and of 4
ORIGINAL = "original_max_position_embeddings"  # of a scaling, before it
# Settings that change the network, with the only values the decoder has.
FIXED = {
    "hidden_act": ("silu",),
    "use_sliding_window": (False, None),
    "attention_bias": (False, None),
    "mlp_bias": (False, None),
    "partial_rotary_factor": (1.0, None),
    "attn_logit_softcapping": (None,),  # of Gemma 2
    "final_logit_softcapping": (None,),
}
# Of the weights, or of those that they were cast from: `dtype`, or `torch_dtype`.
DTYPES = ("float32", "bfloat16", "float16", "float64")


def is_run(folder):
    """Whether the `config.json` of a folder is that of a run, and no checkpoint's."""
    return "class" in read_json_object(pathlib.Path(folder) / "config.json")


def check_folder(name, revision=None):
    """Checks `config.json` of a checkpoint: a folder, or a name on the hub.

    Returns:
        How many tokens its policy knows.

    Raises:
        ValueError: it is an adapter, or needs what the decoder has not.
        FileNotFoundError: there is no such folder, or no `config.json` in it.
    """
    folder = pathlib.Path(hub.folder_of(name, revision))
    refuse_adapter(folder)
    return read_file(folder / "config.json")["vocabulary"]


def read_file(file):
    """Returns the fields that a `config.json` says, as `read_fields` does."""
    try:
        return read_fields(read_json_object(file))
    except ValueError as error:
        if str(error).startswith(str(file)):
            raise
        raise ValueError(f"{file}: {error}") from error


def refuse_adapter(folder):
    """Refuses a folder with an adapter, which is no policy without its base."""
    file = folder / "adapter_config.json"
    if file.is_file():
        base = read_json_object(file).get("base_model_name_or_path")
        raise ValueError(
            f"{folder} is an adapter of {base} (adapter_config.json), not a whole "
            "checkpoint: merge it first (merge_and_unload of PEFT) and give that folder"
        )


def read_fields(values):
    """Returns the fields of a `DecoderConfig` that the contents of a `config.json` say.

    Args:
        values: its contents, a dict.

    Raises:
        ValueError: the checkpoint needs what the decoder has not, or a size is
            missing.
    """
    family = values.get("model_type")
    if family is None:
        raise ValueError(
            f"model_type is missing: it has to be one of {', '.join(FAMILIES)}; "
            "restore config.json, or fetch it again"
        )
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
    theta, scaling = read_rope(values)
    vocabulary = _size(values, "vocab_size")
    groups = _size(values, "num_key_value_heads", heads)
    if heads % groups:
        raise ValueError(
            f"num_attention_heads={heads} is not a multiple of "
            f"num_key_value_heads={groups}: restore config.json, or fetch it again"
        )
    _check_dtype(values)
    _check_ends(values, vocabulary)
    return dict(
        vocabulary=vocabulary,
        width=width,
        depth=depth,
        query_heads=heads,
        key_value_heads=groups,
        head_width=_size(values, "head_dim", width // heads),
        feed_forward=_size(values, "intermediate_size"),
        rope_theta=theta,
        rope_scaling=scaling,
        norm_epsilon=_needed({"rms_norm_eps": 1e-6, **values}, "rms_norm_eps"),
        tied_head=_flag(values, "tie_word_embeddings", False),
        **FAMILIES[family],
    )


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


def read_rope(values):
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
    outer = _number(values, "rope_theta", None)
    theta = _number(rope_values, "rope_theta", outer or ROPE_THETA)
    if outer not in (None, theta):
        raise ValueError(
            f"rope_theta={outer:g} stands beside another in rope_parameters or "
            f"rope_scaling, {theta:g}: leave the wrong one out"
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


def _check_dtype(values):
    for name in ("dtype", "torch_dtype"):
        given = values.get(name)
        if given is not None and given not in (
            *DTYPES,
            *(f"torch.{d}" for d in DTYPES),
        ):
            raise ValueError(f"{name}={given!r}: must be one of {', '.join(DTYPES)}")


def _check_ends(values, vocabulary):
    given = values.get("eos_token_id")
    ends = given if isinstance(given, list) else [given]
    for end in ends:
        if given is not None and (type(end) is not int or not 0 <= end < vocabulary):
            raise ValueError(
                f"eos_token_id={given!r}: must be a token below vocab_size="
                f"{vocabulary}, or a list of some"
            )


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
