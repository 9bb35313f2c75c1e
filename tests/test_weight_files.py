"""Files of a checkpoint that contradict each other, or hold something else."""

import jax
import pytest
from flax import nnx

from maspo_jax.models import pretrained
from maspo_jax.models.decoder import Decoder, DecoderConfig
from maspo_jax.models.export import export


@pytest.fixture
def split(tmp_path):
    """A checkpoint in several files and an index."""
    config = DecoderConfig(vocabulary=24, qkv_bias=True, depth=2)
    policy = jax.jit(lambda: Decoder(config, nnx.Rngs(0)))()
    export(policy, tmp_path, longest=64, ends=(1,), pad=0, file_bytes=20_000)
    return tmp_path


def verify(folder):
    """Checks a checkpoint as every command does before it reads the weights."""
    pretrained.verify(folder, pretrained.Checkpoint(str(folder)).config)


def test_what_was_exported_fits(split):
    assert len(list(split.glob("*.safetensors"))) > 1
    verify(split)


@pytest.mark.parametrize(
    "index",
    ["{}", "[]", '{"weight_map": []}', '{"weight_map": {"a": 1}}'],
)
def test_an_index_that_places_nothing_is_refused(split, index):
    (split / pretrained.INDEX).write_text(index)
    with pytest.raises(ValueError, match=r"index.json (has|holds) no .*fetch it again"):
        verify(split)


@pytest.mark.parametrize("text", ["[]", '{"model_type": "qwen2", "layer_types": 5}'])
def test_a_configuration_that_is_none_is_refused_by_name(split, text):
    (split / "config.json").write_text(text)
    with pytest.raises(ValueError, match="config.json"):
        _ = pretrained.Checkpoint(str(split)).config
