"""What others have reported of checkpoints: read as transformers does, or refused."""

import json

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from conftest import SHARED, mesh_of, noisy, run
from flax import nnx
from safetensors.numpy import load_file, save_file

from maspo_jax import distributed
from maspo_jax.cli import evaluate
from maspo_jax.data.prompts import ByteTokenizer, tokenizer_files
from maspo_jax.models import sharding
from maspo_jax.models.attention import layout_of_mask
from maspo_jax.models.decoder import Decoder, DecoderConfig
from maspo_jax.models.huggingface import architecture, load
from maspo_jax.models.huggingface.save import export

FILE = SHARED / "reference" / "public_cases.jsonl"
LINES = FILE.read_text("utf-8").splitlines() if FILE.is_file() else []
CASES = [
    pytest.param(case, id=f"{number}-{case['kind']}")
    for number, case in enumerate(map(json.loads, LINES), 1)
    if case["what"] in ("checkpoint", "evaluation")
]
PROJECTION = "model.layers.1.self_attn.q_proj.weight"
NORM = "model.layers.0.input_layernorm.weight"
TOKENS = np.random.default_rng(0).integers(2, 250, (2, 60), np.int32)
# What the refusal of a kind has to say.
SAYS = {
    "rope_scaling_beside_parameters": ("config.json", "rope_scaling", "leave"),
    "nested_rope_parameters": ("config.json", "rope_parameters", "full_attention"),
    "eight_bit_weights": ("_proj.weight", "F8_E4M3", "quantized", "bfloat16"),
    "quantized_message": ("config.json", "quantized (gptq)", "take the checkpoint"),
    "loose_config": ("config.json", "layer_types", "num_hidden_layers=2"),
    "nan_weights": ("model.safetensors", NORM, "NaN or infinity", "fetch it again"),
}


@pytest.fixture
def folder(tmp_path):
    """A checkpoint of the family qwen2, or llama, with a tokenizer of bytes."""

    def write(family="qwen2"):
        config = DecoderConfig(
            vocabulary=258,
            width=24,
            depth=2,
            query_heads=4,
            key_value_heads=2,
            head_width=6,
            feed_forward=56,
            qkv_bias=family == "qwen2",
            tied_head=False,
        )
        policy = noisy(jax.jit(lambda: Decoder(config, nnx.Rngs(0)))())
        folder = tmp_path / family
        export(policy, folder, longest=128, eos_tokens=(257,), pad=256)
        tokenizer_files.write_tokenizer(ByteTokenizer(), folder)
        return folder

    return write


def edit(folder, changes):
    """Changes config.json; `rope_theta` is where a change says it is."""
    values = json.loads((folder / "config.json").read_text())
    if "rope_parameters" in changes:
        del values["rope_theta"], values["rope_scaling"]
    (folder / "config.json").write_text(json.dumps(values | changes))


def change_tensors(folder, change):
    file = folder / "model.safetensors"
    tensors = load_file(file)
    save_file(change(tensors), file)


def in_type(dtype, *parts):
    """Casts the tensors whose names have one of the parts, all for no part."""
    return lambda tensors: {
        name: value.astype(dtype)
        if not parts or any(p in name for p in parts)
        else value
        for name, value in tensors.items()
    }


def spoiled(value):
    def change(tensors):
        tensors[NORM][3] = value
        return tensors

    return change


def loaded(folder):
    config = load.Checkpoint(str(folder)).config
    mesh = mesh_of(1, 1)
    shapes = load.skeleton(config)
    places = distributed.named_shardings(sharding.param_specs(shapes, mesh), mesh)
    return load.load(folder, config, places)


def assert_logits_equal(folder):
    torch = pytest.importorskip("torch", reason="an oracle, from the extra `oracles`")
    transformers = pytest.importorskip("transformers", reason="likewise")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
    with torch.no_grad():
        tokens = torch.from_numpy(TOKENS.astype(np.int64))
        expected = model.eval()(input_ids=tokens).logits.numpy()
    policy, layout = loaded(folder), layout_of_mask(jnp.ones(TOKENS.shape, bool))
    ours = np.asarray(policy.logits(policy(jnp.asarray(TOKENS), layout)[0]))
    error = np.linalg.norm(ours - expected) / np.linalg.norm(expected)
    assert error <= 1e-5


@pytest.mark.skipif(not CASES, reason="the cases are not beside this checkout")
@pytest.mark.parametrize("case", CASES)
def test_every_public_case_is_as_expected(case, folder, tmp_path):
    given = case["input"]
    changes = given.get("config.json", {})
    path = folder(changes.get("model_type", "qwen2"))
    edit(path, changes)
    if case["kind"] == "eight_bit_weights":
        eight = "F8_E4M3" in given["model.safetensors"]
        dtype = ml_dtypes.float8_e4m3fn if eight else np.float16
        change_tensors(path, in_type(dtype, *["_proj.weight"] * eight))
    if case["kind"] == "nan_weights":
        change_tensors(path, spoiled(np.nan))
        check_command(path, tmp_path)
    words = SAYS.get(case["kind"])
    if not case["fails"]:
        assert_logits_equal(path)
        return
    with pytest.raises(ValueError) as caught:
        loaded(path)
    assert [word for word in words if word not in str(caught.value)] == []
    assert "\n" not in str(caught.value)


def check_command(path, tmp_path):
    """A policy that could only be silent is no policy of score 0."""
    problems = tmp_path / "some.jsonl"
    problems.write_text(json.dumps({"problem": "1+1=?", "answer": "2"}))
    short = ("--prompt-length", 80, "--response-length", 4)
    status, output = run(
        evaluate, path, problems, "--samples", 2, "--out", tmp_path / "o", *short
    )
    assert status == 2 and NORM in output.splitlines()[-1]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_weights_that_are_not_finite_are_refused(folder, value, dtype):
    path = folder()
    change_tensors(path, lambda t: in_type(dtype)(spoiled(value)(t)))
    with pytest.raises(ValueError, match=f"{NORM} holds NaN or infinity"):
        loaded(path)


@pytest.mark.parametrize(
    "dtype, name",
    [
        (ml_dtypes.float8_e5m2, "F8_E5M2"),
        (ml_dtypes.float8_e4m3fn, "F8_E4M3"),
        (np.int8, "I8"),
        (np.uint8, "U8"),
        (np.int32, "I32"),
    ],
)
def test_weights_of_other_types_are_refused_by_name(folder, dtype, name):
    path = folder()
    change_tensors(path, in_type(dtype, PROJECTION))
    with pytest.raises(ValueError, match=f"{PROJECTION} is of the type {name}; quant"):
        load.verify(path, load.Checkpoint(str(path)).config)


def test_a_pointer_of_git_lfs_is_no_file_of_weights(folder):
    path = folder()
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    (path / "model.safetensors").write_text(pointer)
    with pytest.raises(ValueError, match=r"model.safetensors is a pointer of Git LFS"):
        loaded(path)
    (path / "config.json").write_text(pointer)
    with pytest.raises(ValueError, match=r"config.json is a pointer of Git LFS"):
        loaded(path)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"dtype": "bfloat61"}, ("dtype='bfloat61'", "float32, bfloat16")),
        ({"torch_dtype": "foat32"}, ("torch_dtype='foat32'",)),
        ({"dtype": 32}, ("dtype=32",)),
        (
            {"rope_theta": 1e4, "rope_parameters": {"rope_theta": 5e5}},
            ("rope_theta=10000", "500000", "leave the wrong one out"),
        ),
        ({"eos_token_id": 999}, ("eos_token_id=999", "vocab_size=258")),
        ({"eos_token_id": [1, "2"]}, ("eos_token_id=[1, '2']",)),
        ({"eos_token_id": "257"}, ("eos_token_id='257'",)),
        ({"model_type": None}, ("model_type is missing", "qwen2, qwen3, llama")),
        (
            {"num_attention_heads": 3},
            ("num_attention_heads=3", "num_key_value_heads=2"),
        ),
        ({"attn_logit_softcapping": 50.0}, ("attn_logit_softcapping=50.0",)),
    ],
)
def test_fields_of_a_configuration_are_refused_by_their_own_names(
    folder, changes, words
):
    path = folder()
    edit(path, changes)
    with pytest.raises(ValueError) as caught:
        load.Checkpoint(str(path)).config  # noqa: B018  read when asked for
    message = str(caught.value)
    assert [word for word in ("config.json", *words) if word not in message] == []
    with pytest.raises(ValueError, match=words[0].partition("[")[0]):
        architecture.check_folder(str(path))


@pytest.mark.parametrize(
    "changes",
    [
        *({"dtype": "float16"}, {"torch_dtype": "torch.bfloat16"}, {"dtype": None}),
        *({"eos_token_id": None}, {"eos_token_id": [256, 257]}, {"eos_token_id": 0}),
        {"rope_theta": 5e5, "rope_parameters": {"rope_theta": 5e5}},
        {"attn_logit_softcapping": None},
    ],
)
def test_configurations_that_say_it_otherwise_are_read(folder, changes):
    path = folder()
    edit(path, changes)
    assert load.Checkpoint(str(path)).config.vocabulary == 258
    assert architecture.check_folder(str(path)) == 258


def test_an_adapter_is_no_checkpoint(folder):
    path = folder()
    (path / "adapter_config.json").write_text('{"base_model_name_or_path": "a/b"}')
    for read in (lambda p: load.Checkpoint(p).folder, architecture.check_folder):
        with pytest.raises(ValueError, match="is an adapter of a/b .*merge it first"):
            read(str(path))
