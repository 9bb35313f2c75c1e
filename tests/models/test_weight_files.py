"""Files of a checkpoint that contradict each other, or hold something else."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from maspo_jax.models.decoder import Decoder, DecoderConfig
from maspo_jax.models.huggingface import load
from maspo_jax.models.huggingface.save import export


@pytest.fixture
def split(tmp_path):
    """A checkpoint in several files and an index."""
    config = DecoderConfig(vocabulary=24, qkv_bias=True, depth=2)
    policy = jax.jit(lambda: Decoder(config, nnx.Rngs(0)))()
    export(policy, tmp_path, longest=64, eos_tokens=(1,), pad=0, file_bytes=20_000)
    return tmp_path


def verify(folder):
    """Checks a checkpoint as every command does before it reads the weights."""
    load.verify(folder, load.Checkpoint(str(folder)).config)


def test_what_was_exported_fits(split):
    assert len(list(split.glob("*.safetensors"))) > 1
    verify(split)


def test_no_file_is_larger_than_asked_for(split):
    for file in split.glob("*.safetensors"):
        sizes = [tensor.nbytes for tensor in load_file(file).values()]
        assert sum(sizes) <= 20_000 or len(sizes) == 1


@pytest.mark.parametrize("row", [0, 11, 23])
def test_a_head_beside_a_tied_one_is_compared_whole(tmp_path, monkeypatch, row):
    """A few rows at a time; one of them differs."""
    monkeypatch.setattr(load, "_ROWS", 10)
    policy = jax.jit(lambda: Decoder(DecoderConfig(24, qkv_bias=True), nnx.Rngs(0)))()
    export(policy, tmp_path, longest=64, eos_tokens=(1,), pad=0)
    tensors = load_file(tmp_path / "model.safetensors")
    head = tensors["model.embed_tokens.weight"].copy()
    save_file(tensors | {load.HEAD: head}, tmp_path / "model.safetensors")
    verify(tmp_path)
    head[row] += 1
    save_file(tensors | {load.HEAD: head}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="differs from the embedding"):
        verify(tmp_path)


@pytest.mark.parametrize(
    "tensor, value", [("extra", 1.0), ("model.norm.weight", 2.0)], ids=str
)
def test_what_the_index_does_not_place_is_refused(split, tensor, value):
    index = json.loads((split / load.INDEX).read_text())["weight_map"]
    file = next(file for file in index.values() if file != index["model.norm.weight"])
    tensors = load_file(split / file)
    save_file(tensors | {tensor: np.full(64, value, np.float32)}, split / file)
    with pytest.raises(ValueError, match=f"{file} holds {tensor}, which .*index.json"):
        verify(split)


@pytest.mark.parametrize(
    "index",
    ["{}", "[]", '{"weight_map": []}', '{"weight_map": {"a": 1}}'],
)
def test_an_index_that_places_nothing_is_refused(split, index):
    (split / load.INDEX).write_text(index)
    with pytest.raises(ValueError, match=r"index.json (has|holds) no .*fetch it again"):
        verify(split)


@pytest.mark.parametrize("text", ["[]", '{"model_type": "qwen2", "layer_types": 5}'])
def test_a_configuration_that_is_none_is_refused_by_name(split, text):
    (split / "config.json").write_text(text)
    with pytest.raises(ValueError, match="config.json"):
        _ = load.Checkpoint(str(split)).config


def test_what_a_checkpoint_is_asked_to_be_its_decoder_is(split):
    """Whatever both have a setting for; each is one that is not the usual."""
    asked = {
        "dtype": "bfloat16",
        "compute_dtype": "float32",
        "attention": "chunked",
        "remat": "dots",
    }
    known = {field.name for field in dataclasses.fields(DecoderConfig)}
    own = {field.name for field in dataclasses.fields(load.Checkpoint)}
    assert asked.keys() == known & own
    config = load.Checkpoint(str(split), **asked).config
    assert {name: getattr(config, name) for name in asked} == asked
