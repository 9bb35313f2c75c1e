"""Checkpoints against the `transformers` library, and back again."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import mesh_of, noisy
from flax import nnx
from safetensors.numpy import load_file, save_file

from maspo_jax import distributed
from maspo_jax.models import sharding
from maspo_jax.models.attention import layout_of_mask
from maspo_jax.models.decoder import Decoder, DecoderConfig
from maspo_jax.models.huggingface import load
from maspo_jax.models.huggingface.save import export
from maspo_jax.rollout.generate import SamplingParams, sample
from maspo_jax.types import Prompts

SIZES = {
    "vocab_size": 40,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 56,
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": 128,
    "eos_token_id": 1,
    "pad_token_id": 0,
    "bos_token_id": None,
}
PLAIN = {"rope_type": "default", "rope_theta": 5000.0}
YARN = PLAIN | {
    "rope_type": "yarn",
    "factor": 4.0,
    "original_max_position_embeddings": 16,
}
LLAMA3 = PLAIN | {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
LINEAR = PLAIN | {"rope_type": "linear", "factor": 2.0}
CHECKPOINTS = {
    "qwen2-tied": ("qwen2", {"tie_word_embeddings": True}),
    "r1-distill": ("qwen2", {"tie_word_embeddings": False}),
    "qwen2-yarn": ("qwen2", {"tie_word_embeddings": False, "rope_parameters": YARN}),
    # The query and output matrices are not square.
    "qwen3-tied": ("qwen3", {"tie_word_embeddings": True, "head_dim": 10}),
    "qwen3-untied": ("qwen3", {"tie_word_embeddings": False, "head_dim": 10}),
    "llama": ("llama", {"tie_word_embeddings": False}),
    "llama3": ("llama", {"tie_word_embeddings": True, "rope_parameters": LLAMA3}),
    "llama-linear": ("llama", {"head_dim": 8, "rope_parameters": LINEAR}),
}
every_checkpoint = pytest.mark.parametrize("kind", CHECKPOINTS)
NEVER = 1000  # no token of theirs: nothing ends before its length
PROMPTS = np.random.default_rng(0).integers(2, 40, (4, 9), np.int32)
MASK = np.arange(9)[None] >= np.array([[0], [3], [7], [1]])


@pytest.fixture(scope="module")
def oracles():
    """The library, which tests of this file write checkpoints with and compare to."""
    pytest.importorskip("torch", reason="an oracle, from the extra `oracles`")
    return pytest.importorskip("transformers", reason="likewise")


@pytest.fixture(scope="module")
def written(oracles, tmp_path_factory):
    """Returns the folder and the model of a checkpoint written by the library."""
    import torch

    made = {}

    def write(kind):
        if kind not in made:
            family, options = CHECKPOINTS[kind]
            options = SIZES | {"rope_parameters": PLAIN} | options
            config = oracles.AutoConfig.for_model(family, **options)
            config._attn_implementation = "eager"
            torch.manual_seed(0)
            model = oracles.AutoModelForCausalLM.from_config(config).eval()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(0.2 * torch.randn_like(parameter))
            folder = tmp_path_factory.mktemp(kind)
            model.save_pretrained(folder, max_shard_size="20KB")
            made[kind] = folder, model
        return made[kind]

    return write


def loaded(folder, data=1, fsdp=1, **changes):
    config = load.Checkpoint(str(folder), **changes).config
    mesh = mesh_of(data, fsdp)
    skeleton = jax.eval_shape(lambda: Decoder(config, nnx.Rngs(0)))
    shardings = distributed.named_shardings(sharding.param_specs(skeleton, mesh), mesh)
    return load.load(folder, config, shardings)


@jax.jit
def logits_of(policy, tokens, mask):
    return policy.logits(policy(tokens, layout_of_mask(mask))[0])


def error_against(model, policy):
    """Returns how far the logits are from those of the library, relatively."""
    import torch

    with torch.no_grad():
        expected = model(
            input_ids=torch.from_numpy(PROMPTS.astype(np.int64)),
            attention_mask=torch.from_numpy(MASK.astype(np.int64)),
            position_ids=torch.from_numpy(
                np.array(layout_of_mask(MASK).positions, np.int64)
            ),
        ).logits.numpy()
    logits = np.asarray(logits_of(policy, jnp.asarray(PROMPTS), jnp.asarray(MASK)))
    difference = np.linalg.norm((logits - expected)[MASK])
    return difference / np.linalg.norm(expected[MASK])


@every_checkpoint
def test_logits_equal_those_of_the_library(written, kind):
    folder, model = written(kind)
    assert len(list(folder.glob("*.safetensors"))) > 1  # several files and an index
    assert error_against(model, loaded(folder)) <= 1e-5


@every_checkpoint
def test_greedy_tokens_equal_those_of_the_library(written, kind):
    import torch

    folder, model = written(kind)
    expected = model.generate(
        torch.from_numpy(PROMPTS.astype(np.int64)),
        attention_mask=torch.from_numpy(MASK.astype(np.int64)),
        do_sample=False,
        max_new_tokens=64,
        eos_token_id=NEVER,
    )[:, PROMPTS.shape[1] :].numpy()
    mesh = mesh_of(1, 1)
    prompts = distributed.shard_rows(Prompts(PROMPTS, MASK), mesh)
    decoding = SamplingParams(
        responses=1, length=64, eos_tokens=(NEVER,), pad=0, temperature=0.0
    )
    drawn = sample(loaded(folder), prompts, jax.random.key(0), decoding, mesh).sequences
    assert expected.shape == (4, 64)
    np.testing.assert_array_equal(np.asarray(drawn.response), expected)


def swap_halves(matrix):
    """Rotary pairs (0, 1), (2, 3) ... where the decoder has (0, E/2), (1, E/2 + 1)."""
    heads = matrix.reshape(2, 2, 3, -1)
    return heads.swapaxes(1, 2).reshape(matrix.shape)


FAULTS = {
    "a transposed square matrix": lambda name, value: (
        value.T.copy() if name.endswith("o_proj.weight") else value
    ),
    "a dropped bias": lambda name, value: (
        0 * value if name.endswith("k_proj.bias") else value
    ),
    "swapped halves": lambda name, value: (
        swap_halves(value) if name.endswith("k_proj.weight") else value
    ),
    "another theta": None,
    "none": lambda name, value: value,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_would_be_noticed(written, tmp_path, fault):
    folder, model = written("r1-distill")
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    if FAULTS[fault]:
        for file in tmp_path.glob("*.safetensors"):
            tensors = load_file(file)
            changed = {name: FAULTS[fault](name, tensors[name]) for name in tensors}
            save_file(changed, file)
    else:
        edit(tmp_path, "config.json", rope_parameters=PLAIN | {"rope_theta": 1e6})
    error = error_against(model, loaded(tmp_path))
    assert (error <= 1e-5) == (fault == "none"), error
    assert fault == "none" or error > 1e-3


def edit(folder, file, **changes):
    values = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(values | changes))


@every_checkpoint
@pytest.mark.parametrize("data, fsdp", [(8, 1), (2, 4)])
def test_shards_hold_what_one_device_does(written, kind, data, fsdp):
    folder, _ = written(kind)
    whole, split = loaded(folder), loaded(folder, data, fsdp)
    assert jax.tree.structure(whole) == jax.tree.structure(split)
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(split), strict=True):
        np.testing.assert_array_equal(one, other)
    sharded = [leaf for leaf in jax.tree.leaves(split) if "fsdp" in leaf.sharding.spec]
    assert bool(sharded) == (fsdp > 1)


@every_checkpoint
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_exported_opens_elsewhere_and_here(
    oracles, written, tmp_path, kind, dtype
):
    """load -> export -> load is bit-equal, and the library sees the same network."""
    policy = loaded(written(kind)[0], dtype=dtype)
    export(policy, tmp_path, longest=128, eos_tokens=(1,), pad=0, file_bytes=20_000)
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    again = loaded(tmp_path, dtype=dtype)
    assert again.config == policy.config
    for one, other in zip(jax.tree.leaves(policy), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(one, other)
    model = oracles.AutoModelForCausalLM.from_pretrained(tmp_path, dtype="float32")
    assert model.config.model_type == CHECKPOINTS[kind][0]
    assert model.generation_config.eos_token_id == [1]
    assert error_against(model.eval(), loaded(tmp_path)) <= 1e-5


@pytest.mark.parametrize("kind", ["qwen2-yarn", "llama3", "llama-linear"])
def test_longer_texts_leave_a_scaling_as_it_was(oracles, written, tmp_path, kind):
    source = shutil.copytree(written(kind)[0], tmp_path / "source")
    scaling = {**CHECKPOINTS[kind][1]["rope_parameters"]}
    scaling.pop("original_max_position_embeddings", None)
    edit(source, "config.json", rope_parameters=scaling, max_position_embeddings=16)
    policy = loaded(source)
    export(policy, tmp_path / "out", longest=640, eos_tokens=(1,), pad=0, source=source)
    assert loaded(tmp_path / "out").config == policy.config
    model = oracles.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert model.config.max_position_embeddings == 640
    assert error_against(model.eval(), policy) <= 1e-5


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrow_weights_are_widened_exactly(oracles, written, tmp_path, dtype):
    folder, model = written("qwen3-untied")
    narrow = type(model).from_pretrained(folder, dtype=dtype)
    narrow.save_pretrained(tmp_path)
    wide = type(model).from_pretrained(tmp_path, dtype="float32").eval()
    assert error_against(wide, loaded(tmp_path)) <= 1e-5


@pytest.fixture
def own(tmp_path):
    """A checkpoint written without the library."""
    config = DecoderConfig(vocabulary=24, qkv_bias=True, depth=2)
    policy = noisy(jax.jit(lambda: Decoder(config, nnx.Rngs(0)))())
    export(policy, tmp_path, longest=64, eos_tokens=(1,), pad=0)
    return tmp_path


def change_tensors(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: t.pop("model.norm.weight"), "lacks tensors: model.norm.weight"),
        (lambda t: t.update(extra=np.zeros(3)), "has unknown tensors: extra"),
        (
            lambda t: t.update({"model.norm.weight": np.zeros(3)}),
            r"model.norm.weight has the shape \(3,\), by its config.json .* \(64,\)",
        ),
        (
            lambda t: t.update({"lm_head.weight": np.zeros((24, 64), np.float32)}),
            "lm_head.weight differs from the embedding",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_refused_by_name(own, change, message):
    change_tensors(own, change)
    with pytest.raises(ValueError, match=message):
        loaded(own)


def test_a_head_that_copies_the_embedding_is_no_fault(own):
    change_tensors(
        own, lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"]})
    )
    assert loaded(own).head is None


def test_all_is_checked_before_any_weight_goes_to_its_shard(own, monkeypatch):
    change_tensors(own, lambda t: t.update({"lm_head.weight": np.zeros((24, 64))}))
    monkeypatch.setattr(load, "_piece", None)
    with pytest.raises(ValueError, match="lm_head.weight differs from the embedding"):
        loaded(own)
    config = load.Checkpoint(str(own)).config
    with pytest.raises(ValueError, match="lm_head.weight differs from the embedding"):
        load.verify(own, config)


def test_a_tensor_in_two_files_is_refused(own):
    save_file({"model.norm.weight": np.zeros(64)}, own / "more.safetensors")
    with pytest.raises(ValueError, match="model.norm.weight is set twice"):
        loaded(own)


def test_half_a_download_is_refused(written, own, tmp_path):
    folder, _ = written("llama")
    partial = tmp_path / "partial"
    shutil.copytree(folder, partial)
    sorted(partial.glob("*.safetensors"))[1].unlink()
    with pytest.raises(ValueError, match="half a download: .* names model-00002"):
        loaded(partial)
    weights = own / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match="is damaged or half a download"):
        loaded(own)
    weights.unlink()
    with pytest.raises(ValueError, match=r"holds no \*.safetensors"):
        loaded(own)
    (own / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match="it has no config.json"):
        loaded(own)


def test_a_name_that_is_nowhere_is_refused(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FileNotFoundError, match="is no folder here, and the Hugging"):
        _ = load.Checkpoint("nobody/nothing").folder


def test_whoever_may_see_the_folder_may_read_the_weights(own, tmp_path):
    export(loaded(own), tmp_path / "new", longest=64, eos_tokens=(1,), pad=0)
    modes = {file.name: file.stat().st_mode for file in (tmp_path / "new").iterdir()}
    assert len(set(modes.values())) == 1, modes


def test_export_refuses_a_folder_in_use(own):
    with pytest.raises(ValueError, match="is not empty"):
        export(loaded(own), own, longest=64, eos_tokens=(1,), pad=0)


def test_export_refuses_what_no_architecture_has(tiny_policy, tmp_path):
    with pytest.raises(ValueError, match="no architecture of Hugging Face has both"):
        export(tiny_policy, tmp_path / "new", longest=64, eos_tokens=(1,), pad=0)
    assert not (tmp_path / "new").exists()
