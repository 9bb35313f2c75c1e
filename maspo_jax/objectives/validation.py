"""Refuses what is ascended, before anything is compiled, if it cannot work."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from maspo_jax.objectives import advantages, gates

PARTS = ("correction", "rejection", "kl_in_reward", "kl_in_loss", "shaping")


def check_objective(objective, response_length):
    """Raises ValueError, naming the setting, unless an objective can work.

    Args:
        objective: a `config.Objective`.
        response_length: T, in tokens.
    """
    check_gate(objective.gate)
    for name in PARTS:
        if getattr(objective, name) is not None:
            gates.check(getattr(objective, name))
    for name in ("correction", "rejection"):
        if objective.anchor == "sampler" and getattr(objective, name) is not None:
            raise ValueError(
                f"objective.{name}: ratios anchored to the sampler correct for it "
                f"already; set objective.anchor to trainer or leave the {name} out"
            )
    for name in ("entropy_bonus", "imitation"):
        value = getattr(objective, name)
        if not math.isfinite(value):
            raise ValueError(f"objective.{name}={value}: must be finite")
    if objective.imitation < 0:
        raise ValueError(
            f"objective.imitation={objective.imitation}: must not be negative, or "
            "right answers would be unlearned"
        )
    _check_overlong(objective.overlong_penalty, response_length)
    _check_advantage(objective)
    _check_weight(objective.weight)


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


def compares(objective):
    """Returns whether an objective's advantage says nothing of a group of one."""
    reward, mask = jnp.array([[0.0], [1], [1]]), jnp.ones((3, 2), bool)
    rule = _rule(objective)
    _, visited = rule(1 - reward, mask, _unvisited(3))
    value, _ = rule(reward, mask, visited)
    return not np.any(value)


def _check_overlong(penalty, response_length):
    if penalty is None:
        return
    if not 0 < penalty.buffer <= response_length:
        raise ValueError(
            f"objective.overlong_penalty.buffer={penalty.buffer}: must lie in "
            f"(0, sampling.response_length={response_length}]"
        )
    if not 0 <= penalty.factor < math.inf:
        raise ValueError(
            f"objective.overlong_penalty.factor={penalty.factor}: must lie in [0, inf)"
        )


def _check_advantage(objective):
    """Tries the advantage on groups that leave nothing to divide by."""
    reward = jnp.array([[0.0, 0, 0], [1, 1, 1], [0, 1, 0]])
    mask = jnp.arange(4)[None] < jnp.array([[4, 1, 0, 2, 3, 4, 1, 1, 2]]).T
    name = "advantage" if objective.remembering is None else "remembering"
    try:
        value, _ = _rule(objective)(reward, mask, _unvisited(len(reward)))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"objective.{name}: {getattr(objective, name)} fails on rewards of shape "
            f"{reward.shape} and a mask of shape {mask.shape}: {error}; return one "
            "number per token, shaped like the mask"
        ) from error
    if np.shape(value) != mask.shape or not np.all(np.isfinite(value)):
        raise ValueError(
            f"objective.{name}: {getattr(objective, name)} gives {value} for the "
            f"rewards {reward.tolist()}; return one finite number per token, "
            f"{mask.shape} here"
        )


def _rule(objective):
    """Returns the function of rewards, mask and history that compares."""
    return objective.remembering or advantages.forgetful(objective.advantage)


def _unvisited(prompts):
    return advantages.PromptStats(*jnp.zeros((3, prompts)))


def _check_weight(weight):
    """Tries the token weights on responses with and without tokens."""
    mask = jnp.arange(4)[None] < jnp.array([[4, 1, 0]]).T
    for tokens in (mask, jnp.zeros_like(mask)):
        value = np.asarray(weight(tokens))
        fits = value.shape == mask.shape and np.all(np.isfinite(value))
        nothing = np.any(tokens) and not np.any(value)
        if not fits or nothing or np.any(value < 0) or np.any(value[~tokens]):
            raise ValueError(
                f"objective.weight: {weight} gives {value.tolist()} for the mask "
                f"{tokens.tolist()}; return a finite weight for each token, not all of "
                "them zero, and zero where the mask is false"
            )
