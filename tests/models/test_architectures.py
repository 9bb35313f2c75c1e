"""What a `config.json` says becomes a decoder, or is refused."""

import copy

import pytest

from maspo_jax.models.huggingface import config

VALUES = {
    "model_type": "qwen2",
    "vocab_size": 40,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 56,
    "max_position_embeddings": 128,
    "rope_theta": 5000.0,
}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"model_type": "mamba"}, "model_type='mamba': only qwen2"),
        ({"rope_scaling": {"type": "dynamic"}}, "rope_type='dynamic'"),
        ({"rope_scaling": {"type": "yarn"}}, "rope_type='yarn' without 'factor'"),
        ({"use_sliding_window": True}, "use_sliding_window=True"),
        ({"layer_types": ["sliding_attention"]}, "sliding windows"),
        ({"hidden_act": "gelu"}, "hidden_act='gelu'"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"hidden_size": None}, "hidden_size=None: must be a whole number"),
        ({"num_attention_heads": 0}, "num_attention_heads=0: must be a whole number"),
        ({"num_key_value_heads": "2"}, "num_key_value_heads='2': must be a whole"),
        ({"head_dim": 0}, "head_dim=0: must be a whole number"),
        ({"rope_parameters": "yarn"}, "rope_parameters='yarn': must be an object"),
        ({"rope_scaling": ["yarn"]}, r"rope_scaling=\['yarn'\]: must be an object"),
        ({"rope_scaling": {"type": ["yarn"]}}, r"rope_type=\['yarn'\]: only"),
        (
            {"rope_scaling": {"type": "linear", "factor": []}},
            "rope_type='linear': .* not 'list'",
        ),
        ({"model_type": []}, r"model_type=\[\]: only qwen2"),
    ],
)
def test_checkpoints_that_need_more_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        config.read_config(VALUES | change)


def test_an_unused_sliding_window_is_no_hindrance():
    values = VALUES | {"use_sliding_window": False, "sliding_window": 4096}
    assert config.read_config(values).depth == 3


SCALINGS = {
    "default": {},
    "linear": {"factor": 2.0},
    "yarn": {"factor": 4.0, "original_max_position_embeddings": 16},
}


@pytest.mark.parametrize("family", config.FAMILIES)
@pytest.mark.parametrize("kind", SCALINGS)
@pytest.mark.parametrize("place", ["rope_scaling", "rope_parameters"])
def test_a_theta_that_is_not_given_is_that_of_the_library(family, kind, place):
    pytest.importorskip("torch", reason="an oracle, from the extra `oracles`")
    transformers = pytest.importorskip("transformers", reason="likewise")
    given = {name: value for name, value in VALUES.items() if name != "rope_theta"}
    given |= {"model_type": family, place: {"rope_type": kind} | SCALINGS[kind]}
    # The library writes into what it is given.
    oracle = transformers.AutoConfig.for_model(**copy.deepcopy(given))
    expected = oracle.rope_parameters["rope_theta"]
    assert config.read_config(given).rope_theta == expected
    asked = given | {"rope_theta": 5000.0}
    assert config.read_config(asked).rope_theta == 5000.0


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
LINEAR = {"rope_type": "linear", "factor": 2.0}


@pytest.mark.parametrize("scaling", [YARN, LINEAR, {"rope_type": "default"}])
def test_a_scaling_that_parameters_contradict_is_refused(scaling):
    """The library goes by the scaling, and by no theta of the parameters."""
    parameters = {"rope_type": "default", "rope_theta": 500.0}
    values = {key: value for key, value in VALUES.items() if key != "rope_theta"}
    values |= {"rope_parameters": parameters, "rope_scaling": scaling}
    with pytest.raises(ValueError, match="^rope_scaling and rope_parameters say diff"):
        config.read_config(values)


def test_a_scaling_said_twice_is_one():
    twice = {"rope_parameters": YARN, "rope_scaling": {**YARN, "type": "yarn"}}
    once = config.read_config(VALUES | {"rope_scaling": YARN})
    assert config.read_config(VALUES | twice) == once
    assert once.rope_theta == 5000.0 and once.rope_scaling.factor == 4.0
    for nothing in (None, {}):
        beside = {"rope_parameters": YARN, "rope_scaling": nothing}
        assert config.read_config(VALUES | beside) == once


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {
                "rope_parameters": {
                    "full_attention": LINEAR,
                    "sliding_attention": LINEAR,
                }
            },
            r"^rope_parameters differs by kind of layer \(full_attention, sliding",
        ),
        ({"rope_scaling": {"a": LINEAR}}, "^rope_scaling differs by kind of layer"),
        (
            {"layer_types": ["full_attention"]},
            "^layer_types has 1 .*layers=3",
        ),
        (
            {"tie_word_embeddings": "true"},
            "^tie_word_embeddings='true': must be",
        ),
        ({"tie_word_embeddings": 1}, "^tie_word_embeddings=1: must be true or false"),
        ({"rms_norm_eps": "1e-6"}, "^rms_norm_eps='1e-6': must be a number, not 'str'"),
        ({"rms_norm_eps": None}, "^rms_norm_eps=None: must be a number"),
        ({"rms_norm_eps": 0.0}, "^rms_norm_eps=0.0: must be above 0"),
        ({"rope_theta": "1e6"}, "^rope_theta='1e6': must be a number"),
        ({"rope_theta": True}, "^rope_theta=True: must be a number"),
        ({"rope_scaling": LINEAR | {"factor": "4"}}, "'linear': factor='4': must be a"),
        ({"rope_scaling": YARN | {"truncate": "no"}}, "'yarn': truncate='no': must be"),
        (
            {"rope_scaling": YARN | {"beta_fast": "32"}},
            "'yarn': beta_fast='32': must",
        ),
        (
            {"rope_scaling": YARN | {"original_max_position_embeddings": "16"}},
            "'yarn': original_max_position_embeddings='16': must be a whole number",
        ),
        ({"max_position_embeddings": "128"}, "^max_position_embeddings='128': must be"),
        ({"attention_bias": 0}, "^attention_bias=0: the decoder has only False"),
        ({"use_sliding_window": "false"}, "^use_sliding_window='false'"),
        (
            {"quantization_config": {"quant_method": "awq", "bits": 4}},
            r"^quantization_config: the weights are quantized \(awq\), .* bfloat16",
        ),
        (
            {"quantization_config": {"quant_method": "fp8"}},
            r"the weights are quantized \(fp8\)",
        ),
        ({"quantization_config": {"load_in_4bit": True}}, r"ed \(load_in_4bit\)"),
        (
            {"compression_config": {"quant_method": "x"}},
            "^compression_config: the",
        ),
    ],
)
def test_fields_of_a_wrong_kind_are_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        config.read_config(VALUES | change)


def test_fields_that_say_nothing_have_their_defaults():
    plain = config.read_config(VALUES)
    for name in ("tie_word_embeddings", "layer_types", "quantization_config"):
        assert config.read_config(VALUES | {name: None}) == plain
    assert config.read_config(VALUES | {"layer_types": ["full_attention"] * 3}) == plain
    assert config.read_config(VALUES | {"rope_theta": 5000}) == plain
