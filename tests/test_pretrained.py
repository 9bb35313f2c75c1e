"""The decoder against the implementation of the `transformers` library."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import noisy
from flax import nnx

from maspo_jax.models import pretrained
from maspo_jax.models.decoder import Decoder, causal, positions

SIZES = {
    "vocab_size": 40,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 10,  # so that the query and output matrices are not square
    "intermediate_size": 56,
    "rope_theta": 5000.0,
    "rms_norm_eps": 1e-5,
}
FAMILIES = [
    {"model_type": family, "tie_word_embeddings": tied}
    for family in ("qwen2", "qwen3")
    for tied in (True, False)
]
every_family = pytest.mark.parametrize(
    "family", FAMILIES, ids=lambda f: f"{f['model_type']}-{f['tie_word_embeddings']}"
)


def values_of(family):
    return family | SIZES


def random_policy(family):
    config = pretrained.read_config(values_of(family))
    return noisy(jax.jit(lambda: Decoder(config, nnx.Rngs(0)))())


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    mask = np.ones((3, 12), bool)
    mask[0, :5] = mask[2, :1] = False
    return rng.integers(0, 40, (3, 12)), mask


@every_family
def test_logits_equal_those_of_transformers(family, batch):
    torch = pytest.importorskip("torch", reason="an oracle, from the extra `oracles`")
    transformers = pytest.importorskip("transformers", reason="likewise")
    policy = random_policy(family)
    values = values_of(family)
    config = transformers.AutoConfig.for_model(
        values.pop("model_type"),
        **values,
        rope_parameters={"rope_type": "default", "rope_theta": values["rope_theta"]},
    )
    config._attn_implementation = "eager"
    oracle = transformers.AutoModelForCausalLM.from_config(config).eval()
    tensors = {
        name: torch.from_numpy(np.array(value))
        for name, value in pretrained.to_tensors(policy).items()
    }
    missing, unknown = oracle.load_state_dict(tensors, strict=False)
    assert not unknown
    assert missing == (["lm_head.weight"] if family["tie_word_embeddings"] else [])
    oracle.tie_weights()
    tokens, mask = batch
    with torch.no_grad():
        expected = oracle(
            input_ids=torch.from_numpy(tokens),
            attention_mask=torch.from_numpy(mask.astype(np.int64)),
            position_ids=torch.from_numpy(np.array(positions(mask), np.int64)),
        ).logits.numpy()

    @jax.jit
    def forward(policy, tokens, mask):
        return policy.logits(policy(tokens, positions(mask), causal(mask))[0])

    logits = np.asarray(forward(policy, jnp.asarray(tokens), jnp.asarray(mask)))
    error = np.linalg.norm((logits - expected)[mask]) / np.linalg.norm(expected[mask])
    assert error <= 1e-5


@every_family
def test_tensors_come_back_bit_equal(family):
    policy = random_policy(family)
    tensors = pretrained.to_tensors(policy)
    again = pretrained.from_tensors(policy.config, tensors)
    assert jax.tree.structure(again) == jax.tree.structure(policy)
    for ours, theirs in zip(
        jax.tree.leaves(policy), jax.tree.leaves(again), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@every_family
@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: t.pop("model.norm.weight"), "no tensor model.norm.weight"),
        (lambda t: t.update(extra=np.zeros(3)), "unknown tensors: .'extra'"),
        (
            lambda t: t.update({"model.norm.weight": np.zeros(3)}),
            r"norm/scale the shape \(3,\); the configuration asks for \(24,\)",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_refused(family, change, message):
    policy = random_policy(family)
    tensors = pretrained.to_tensors(policy)
    change(tensors)
    with pytest.raises(ValueError, match=message):
        pretrained.from_tensors(policy.config, tensors)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"model_type": "llama"}, "model_type='llama'"),
        ({"rope_scaling": {"type": "yarn"}}, "rope scaling"),
        ({"use_sliding_window": True}, "sliding"),
        ({"hidden_act": "gelu"}, "hidden_act='gelu'"),
    ],
)
def test_checkpoints_that_need_more_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        pretrained.read_config(values_of(FAMILIES[0]) | change)
