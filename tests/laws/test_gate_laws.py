"""What holds for every gate; `test_gate_nature` says how they differ."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.members import every_gate, random_tokens

from maspo_jax.objectives import gates


@every_gate
def test_on_policy_every_gate_is_one(gate):
    _, advantage, old = random_tokens()
    value = gate(jnp.zeros_like(old), advantage, old)
    chex.assert_trees_all_close(value, jnp.ones_like(value), rtol=1e-6)


@every_gate
def test_gates_are_finite_and_not_negative_for_any_token(gate):
    log_ratio, advantage, old = np.meshgrid(
        np.linspace(-20, 20, 81), [-50, -1, -1e-6, 0, 1e-6, 1, 50], [-200, -30, -1, 0]
    )
    value = gate(*(x.astype(np.float32) for x in (log_ratio, advantage, old)))
    weight = value * np.exp(log_ratio).astype(np.float32)
    assert np.all(np.isfinite(weight)) and np.all(value >= 0)


@every_gate
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_gates_keep_shape_and_precision(gate, dtype):
    with jax.enable_x64(True):
        tokens = [jnp.asarray(x, dtype) for x in random_tokens()]
        value = gate(*tokens)
    chex.assert_shape(value, tokens[0].shape)
    assert value.dtype == dtype


@every_gate
def test_settings_are_leaves(gate):
    fields = dataclasses.fields(gate)
    assert len(jax.tree.leaves(gate)) >= len(fields)


@every_gate
def test_changing_a_setting_does_not_compile_again(gate):
    traces = []

    @jax.jit
    def apply(gate):
        traces.append(gate)
        return gate(*random_tokens())

    for factor in (1.0, 1.01, 0.99):
        apply(jax.tree.map(lambda leaf, f=factor: leaf * f, gate))
    assert len(traces) == 1


@every_gate
def test_vmap_over_settings_is_a_loop(gate):
    tokens = random_tokens()
    members = [jax.tree.map(lambda x, f=f: x * f, gate) for f in (1.0, 0.95, 1.05)]
    stacked = jax.tree.map(lambda *leaves: jnp.array(leaves), *members)
    if not jax.tree.leaves(gate):
        pytest.skip("this gate has no settings")
    together = jax.vmap(lambda gate: gate(*tokens))(stacked)
    alone = jnp.stack([member(*tokens) for member in members])
    chex.assert_trees_all_close(together, alone, rtol=1e-6)


@every_gate
def test_compiled_is_eager(gate):
    tokens = random_tokens()
    chex.assert_trees_all_close(jax.jit(gate)(*tokens), gate(*tokens), rtol=1e-5)


@every_gate
def test_the_size_of_the_advantage_matters_to_no_gate_but_maspo(gate):
    """So that the gradient is proportional to it on either side of zero."""
    if isinstance(gate, gates.BilateralMaspo):
        gate = gate.replace(maspo=gates.Maspo(beta_positive=0.0, beta_negative=0.0))
    if isinstance(gate, gates.Maspo):
        gate = gate.replace(beta_positive=0.0, beta_negative=0.0)
    log_ratio, advantage, old = random_tokens()
    ours, theirs = (gate(log_ratio, advantage * size, old) for size in (1, 7))
    chex.assert_trees_all_close(ours, theirs, rtol=1e-6)


class TestCheck:
    @every_gate
    def test_defaults_are_valid(self, gate):
        gates.validate_settings(gate)

    @every_gate
    def test_every_setting_has_an_interval_and_nan_is_refused(self, gate):
        for field in dataclasses.fields(gate):
            if dataclasses.is_dataclass(getattr(gate, field.name)):
                continue
            assert "interval" in field.metadata, field.name
            name = f"{type(gate).__name__}.{field.name}"
            with pytest.raises(ValueError, match=name):
                gates.validate_settings(gate.replace(**{field.name: np.nan}))

    @pytest.mark.parametrize(
        "gate, name",
        [
            (gates.Maspo(sigma_base=0.0), "Maspo.sigma_base=0.0"),
            (gates.Dgpo(m=0.0), "Dgpo.m=0.0"),
            (gates.Dgpo(low=1.0), "Dgpo.low=1.0"),
            (gates.Clip(low=1.5), "Clip.low=1.5"),
            (gates.Clip(dual=1.0), "Clip.dual=1.0"),
            (gates.UnilateralSapo(gates.Sapo(tau_negative=-1.0)), "tau_negative=-1.0"),
            (gates.Maspo(alpha=np.array([0.3, -0.3])), "Maspo.alpha"),
            (gates.Maspo(sigma_base=12.0), "sigma_base=12.0: must not exceed sigma_hi"),
            (gates.Maspo(sigma_high=np.array([2.0, 0.5])), "Maspo.sigma_base=1.0"),
            (gates.BilateralMaspo(gates.Maspo(risk_low=11.0)), "risk_low=11.0"),
            (gates.Bapo(low_stop=0.5), "Bapo.low_start=0.6: must not exceed low_stop"),
            (gates.PaperBapo(high_start=4.0), "high_start=4.0: must not exceed high_s"),
        ],
    )
    def test_bad_settings_are_refused_by_name(self, gate, name):
        with pytest.raises(ValueError, match=name):
            gates.validate_settings(gate)
