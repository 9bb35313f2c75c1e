"""Refuses what is ascended, before anything is compiled, if it cannot work."""

import jax
import jax.numpy as jnp

from maspo_jax.objectives import gates


def check_objective(objective, response_length):
    """Raises ValueError, naming the setting, unless an objective can work.

    Args:
        objective: a `config.Objective`.
        response_length: T, in tokens.
    """
    check_gate(objective.gate)
    if objective.correction is not None:
        gates.check(objective.correction)
        if objective.anchor == "sampler":
            raise ValueError(
                "objective.correction: ratios anchored to the sampler correct for it "
                "already; set objective.anchor to trainer or leave the correction out"
            )
    if not 0 <= objective.overlong_buffer <= response_length:
        raise ValueError(
            f"objective.overlong_buffer={objective.overlong_buffer}: must lie in "
            f"[0, sampling.response_length={response_length}]"
        )
    if objective.entropy_advantage and objective.entropy_kappa <= 1:
        raise ValueError(
            f"objective.entropy_kappa={objective.entropy_kappa}: must be above 1, or "
            "advantages would change their sign"
        )


def check_gate(gate):
    """Raises ValueError unless a gate, one of yours included, can be used."""
    name = type(gate).__name__
    if jax.tree_util.all_leaves([gate]):
        raise ValueError(
            f"objective.gate: JAX does not know {name} as a tree of settings; make it "
            "a @flax.struct.dataclass instead of a plain class or function"
        )
    gates.check(gate)
    tokens = jax.ShapeDtypeStruct((2, 3), jnp.float32)
    result = jax.eval_shape(lambda *arrays: gate(*arrays), tokens, tokens, tokens)
    if getattr(result, "shape", None) != tokens.shape:
        raise ValueError(
            f"objective.gate: {name} returns {result} for arrays of shape "
            f"{tokens.shape}; return an array of that shape, one gate per token"
        )
