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
