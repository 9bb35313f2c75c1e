"""A decoder and its gradient, against its equations in NumPy and against torch.

The tensors have the names and shapes of a checkpoint, so what is loaded where is
checked by what comes out of it.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from conftest import mesh_of
from flax import nnx

from maspo_jax import distributed
from maspo_jax.models import decoder, sharding
from maspo_jax.models.huggingface import load
from maspo_jax.models.huggingface.save import tensors_of
from maspo_jax.models.precision import cast
from maspo_jax.rollout.logprobs import response_logprobs
from maspo_jax.types import Sequences

PROMPT, RESPONSE, TEMPERATURE, NUDGE = 5, 8, 0.7, 1e-6
PADDING = (0, 3)  # tokens before each of two prompts, and behind each response
heads = pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])


def normalized(x, scale, epsilon):
    return x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + epsilon) * scale


def turned(x, theta):
    """Rotary embedding of [S, H, E]."""
    half = x.shape[-1] // 2
    angle = np.arange(len(x))[:, None] * theta ** (-np.arange(half) / half)
    sin, cos = np.sin(angle)[:, None], np.cos(angle)[:, None]
    one, two = x[..., :half], x[..., half:]
    return np.concatenate([one * cos - two * sin, two * cos + one * sin], axis=-1)


def attention(x, of, config):
    size, share = len(x), config.query_heads // config.key_value_heads

    def heads(part):
        y = x @ of[f"self_attn.{part}_proj.weight"].T
        y = y + of[f"self_attn.{part}_proj.bias"]
        return y.reshape(size, -1, config.head_width)

    query, key, value = map(heads, "qkv")
    query = normalized(query, of["self_attn.q_norm.weight"], config.norm_epsilon)
    key = normalized(key, of["self_attn.k_norm.weight"], config.norm_epsilon)
    query, key = turned(query, config.rope_theta), turned(key, config.rope_theta)
    mixed = np.zeros(query.shape)
    for head in range(config.query_heads):
        score = query[:, head] @ key[:, head // share].T / config.head_width**0.5
        score[np.triu_indices(size, 1)] = -np.inf
        weight = np.exp(score - score.max(axis=-1, keepdims=True))
        weight /= weight.sum(axis=-1, keepdims=True)
        mixed[:, head] = weight @ value[:, head // share]
    return mixed.reshape(size, -1) @ of["self_attn.o_proj.weight"].T


def logits_by_hand(tensors, tokens, config):
    """[S] tokens -> [S, V], in float64."""
    epsilon = config.norm_epsilon
    x = tensors["model.embed_tokens.weight"][tokens]
    for layer in range(config.depth):
        at = f"model.layers.{layer}."
        of = {
            name.removeprefix(at): value
            for name, value in tensors.items()
            if name.startswith(at)
        }
        normal = normalized(x, of["input_layernorm.weight"], epsilon)
        x = x + attention(normal, of, config)
        normal = normalized(x, of["post_attention_layernorm.weight"], epsilon)
        gate = normal @ of["mlp.gate_proj.weight"].T
        up = normal @ of["mlp.up_proj.weight"].T
        x = x + (gate / (1 + np.exp(-gate)) * up) @ of["mlp.down_proj.weight"].T
    x = normalized(x, tensors["model.norm.weight"], epsilon)
    head = "model.embed_tokens.weight" if config.tied_head else "lm_head.weight"
    return x @ tensors[head].T


def logprobs_by_hand(tensors, sequences, config):
    """[N, T], row by row without padding."""
    found = np.zeros(sequences.response.shape)
    for row in range(len(found)):
        asked = sequences.prompt[row][sequences.prompt_mask[row]]
        said = sequences.response[row][sequences.response_mask[row]]
        logits = logits_by_hand(tensors, np.concatenate([asked, said]), config)
        logits = logits[len(asked) - 1 : -1] / TEMPERATURE
        normalizer = np.log(np.sum(np.exp(logits), axis=-1))
        found[row, : len(said)] = logits[np.arange(len(said)), said] - normalizer
    return found


@pytest.fixture(scope="module")
def sequences():
    """With repeated tokens, so that a row of the embedding has several gradients."""
    rng, padding = np.random.default_rng(0), np.array(PADDING)[:, None]
    return Sequences(
        rng.integers(0, 24, (2, PROMPT), np.int32),
        np.arange(PROMPT)[None] >= padding,
        rng.integers(0, 24, (2, RESPONSE), np.int32),
        np.arange(RESPONSE)[None] < RESPONSE - padding,
    )


def random_tensors(config):
    """Returns {name: value} of a checkpoint, float64; none is zero or one."""
    rng, found = np.random.default_rng(1), {}
    for name, shape, _ in tensors_of(load.skeleton(config)):
        found[name] = rng.normal(1 if "norm" in name else 0, 0.3, shape)
    return {name: np.float64(np.float32(value)) for name, value in found.items()}


def loaded(folder, config):
    mesh = mesh_of(1, 1)
    specs = sharding.param_specs(load.skeleton(config), mesh)
    return load.load(folder, config, distributed.named_shardings(specs, mesh))


@jax.jit
def score(policy, sequences):
    return response_logprobs(policy, sequences, TEMPERATURE)[0]


def gradient_of(policy, sequences, weight):
    """Returns {name of a tensor: gradient} of weighted log-probabilities."""
    loss = lambda policy: jnp.sum(jnp.float32(weight) * score(policy, sequences))
    grads = jax.jit(jax.grad(loss))(policy)
    return {name: value() for name, _, value in tensors_of(grads)}


@heads
def test_log_probabilities_and_gradients_are_those_of_the_equations(
    tiny_config, sequences, tmp_path, tied
):
    config = dataclasses.replace(tiny_config, tied_head=tied)
    tensors = random_tensors(config)
    narrow = {name: np.float32(value) for name, value in tensors.items()}
    safetensors.numpy.save_file(narrow, tmp_path / "model.safetensors")
    policy = loaded(tmp_path, config)
    expected = logprobs_by_hand(tensors, sequences, config)
    np.testing.assert_allclose(score(policy, sequences), expected, atol=2e-5)

    rng = np.random.default_rng(2)
    weight = rng.normal(0, 1, expected.shape)
    grads = gradient_of(policy, sequences, weight)
    assert grads.keys() == tensors.keys()
    for name, value in tensors.items():
        way = rng.normal(0, 1, value.shape)
        ends = [
            np.sum(
                weight
                * logprobs_by_hand(
                    tensors | {name: value + step * way}, sequences, config
                )
            )
            for step in (NUDGE, -NUDGE)
        ]
        slope = (ends[0] - ends[1]) / (2 * NUDGE)
        size = np.linalg.norm(grads[name]) * np.linalg.norm(way)
        assert size > 1e-3, name
        np.testing.assert_allclose(
            np.sum(grads[name] * way), slope, atol=1e-4 * size, err_msg=name
        )


@heads
@pytest.mark.parametrize("family", ["qwen2", "qwen3"])
def test_gradients_are_those_of_torch(sequences, tmp_path, family, tied):
    """All rows padded as they are; of every tensor that the library names."""
    torch = pytest.importorskip("torch", reason="an oracle, from the extra `oracles`")
    transformers = pytest.importorskip("transformers", reason="likewise")
    options = {
        "vocab_size": 24,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 6 if family == "qwen3" else 4,
        "intermediate_size": 40,
        "tie_word_embeddings": tied,
        "eos_token_id": 1,
        "pad_token_id": 0,
        "bos_token_id": None,
    }
    config = transformers.AutoConfig.for_model(family, **options)
    config._attn_implementation = "eager"
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(tmp_path)

    weight = np.random.default_rng(2).normal(0, 1, sequences.response.shape)
    total = 0.0
    for row in range(2):
        asked = sequences.prompt[row][sequences.prompt_mask[row]]
        said = sequences.response[row][sequences.response_mask[row]]
        text = torch.from_numpy(np.concatenate([asked, said]).astype(np.int64))
        logits = model(input_ids=text[None]).logits[0, len(asked) - 1 : -1]
        logprob = torch.log_softmax(logits / TEMPERATURE, dim=-1)
        chosen = logprob[torch.arange(len(said)), text[len(asked) :]]
        total = total + (torch.from_numpy(weight[row, : len(said)]) * chosen).sum()
    total.backward()
    expected = {name: value.grad.numpy() for name, value in model.named_parameters()}

    policy = loaded(tmp_path, load.Checkpoint(str(tmp_path)).config)
    grads = gradient_of(policy, sequences, weight)
    assert grads.keys() == expected.keys() and ("lm_head.weight" in grads) != tied
    for name, value in expected.items():
        size = np.abs(value).max()
        assert size > 1e-4, name
        np.testing.assert_allclose(grads[name], value, atol=1e-4 * size, err_msg=name)


def test_the_gradient_of_a_vector_is_added_up_in_float32(tiny_config):
    """A bias gets a term of every token: in bfloat16 their sum would stand still."""
    linear = decoder.Linear(2, 4, tiny_config, nnx.Rngs(0), bias=True)
    norm = decoder.RMSNorm(4, tiny_config)
    narrow = cast((linear, norm), jnp.bfloat16)
    tokens = jnp.ones((1000, 10, 2), jnp.bfloat16)
    step = jnp.bfloat16(0.01)

    def total(layers):
        linear, norm = layers
        terms = step * linear(tokens), step * norm(jnp.ones((1000, 10, 4), step.dtype))
        return sum(term.astype(jnp.float32).sum() for term in terms)

    grads = jax.grad(total)(narrow)
    for vector in (grads[0].bias, grads[1].scale):
        np.testing.assert_allclose(
            np.asarray(vector[...], np.float32), 1e4 * float(step), rtol=2**-8
        )
