"""Refuses what is ascended, before anything is compiled, if it cannot work."""

import jax
import jax.numpy as jnp
import numpy as np

from maspo_jax.objectives import advantages, terms
from maspo_jax.objectives.tokens import Tokens
from maspo_jax.refusals import Refusals

FAULTS = (TypeError, ValueError, IndexError)  # of a part that cannot be compiled, too


def validate_objective(objective):
    """Raises ValueError, naming the setting, unless an objective can work.

    Intervals are not looked at: they are checked for a whole experiment.

    Args:
        objective: a `config.Objective`.
    """
    with Refusals() as refusals:
        for part in terms.parts_of(objective):
            with refusals.of():
                _validate_needs(*part)
        with refusals.of():
            _validate_gate(objective.gate)
        for name in ("correction", "rejection"):
            with refusals.of():
                _validate_anchor(objective, name)
        for number, term in enumerate(objective.terms):
            with refusals.of():
                _validate_term(f"objective.terms.{number}", term)
        with refusals.of():
            _validate_advantage(objective)
        with refusals.of():
            _validate_weight(objective.weight)


def _validate_anchor(objective, name):
    """Refuses to correct for the sampler where ratios are anchored to it."""
    if objective.anchor == "sampler" and getattr(objective, name) is not None:
        raise ValueError(
            f"objective.{name}: ratios anchored to the sampler correct for it "
            f"already; set objective.anchor to trainer or leave the {name} out"
        )


def _validate_needs(name, field, part):
    """Refuses what a part asks for and would never be given."""
    kind = getattr(part, "__name__", type(part).__name__)
    if isinstance(getattr(part, "needs", ()), str):
        raise ValueError(
            f"objective.{name}: {kind}.needs={part.needs!r}: write a tuple of names, "
            f"({part.needs!r},)"
        )
    allowed = terms.NEEDS.get(field, {})
    for asked in terms.needs_of(part):
        if asked in allowed:
            continue
        others = [
            f"objective.{one}" for one, may in terms.NEEDS.items() if asked in may
        ]
        raise ValueError(
            f"objective.{name}: {kind} needs {asked}; `needs` may name "
            f"{', '.join(allowed) or 'nothing'} in objective.{field}"
            + (f"; {asked} is given to {' and '.join(others)}" if others else "")
        )


def _validate_gate(gate):
    """Tries a gate, one of yours included, on tokens."""
    name = type(gate).__name__
    if jax.tree_util.all_leaves([gate]):
        raise ValueError(
            f"objective.gate: JAX does not know {name} as a tree of settings; make it "
            "a @flax.struct.dataclass instead of a plain class or function"
        )
    tokens = jax.ShapeDtypeStruct((2, 3), jnp.float32)
    result = jax.eval_shape(lambda *arrays: gate(*arrays), tokens, tokens, tokens)
    if getattr(result, "shape", None) != tokens.shape:
        raise ValueError(
            f"objective.gate: {name} returns {result} for arrays of shape "
            f"{tokens.shape}; return an array of that shape, one gate per token"
        )


def _validate_term(name, term):
    """Tries a loss term, one of yours included, on tokens of all that it may need."""
    kind = type(term).__name__
    if jax.tree_util.all_leaves([term]):
        raise ValueError(
            f"{name}: JAX does not know {kind} as a tree of settings; make it a "
            "@flax.struct.dataclass instead of a plain class or function"
        )
    if terms.over(term) not in terms.OVER:
        raise ValueError(
            f"{name}: {kind}.over={term.over!r}: choose one of {', '.join(terms.OVER)}"
        )
    number = jax.ShapeDtypeStruct((2, 3), jnp.float32)
    asked = terms.needs_of(term)
    tokens = Tokens(
        *[number] * 6,
        reference_logprob=number if "reference_logprob" in asked else None,
        correct=jax.ShapeDtypeStruct((2, 3), bool) if "correct" in asked else None,
    )
    try:
        result = jax.eval_shape(lambda tokens: term(tokens), tokens)
    except (TypeError, AttributeError) as error:
        raise ValueError(
            f"{name}: {kind} fails on `Tokens` with what it needs, "
            f"{', '.join(asked) or 'nothing beside the usual'}: {error}; name what "
            "else it reads in `needs`"
        ) from error
    if getattr(result, "shape", None) != number.shape:
        raise ValueError(
            f"{name}: {kind} returns {result} for tokens of shape {number.shape}; "
            "return an array of that shape, the loss of each token"
        )


def compares(objective, responses=1):
    """Returns whether an objective's advantage says nothing of rewards that are equal.

    Args:
        objective: a `config.Objective`.
        responses: G, to each prompt, which all earn the same.
    """
    reward = np.float32([[0], [1], [1]]).repeat(responses, axis=1)
    mask = np.ones((reward.size, 2), bool)
    compare = _compiled(advantages.with_stats(objective.advantage))
    _, visited = compare(1 - reward, mask, _unvisited(3))
    value, _ = compare(reward, mask, visited)
    return not np.asarray(value).any()


def _validate_advantage(objective):
    """Tries the advantage on groups that leave nothing to divide by."""
    reward = np.float32([[0, 0, 0], [1, 1, 1], [0, 1, 0]])
    mask = np.arange(4)[None] < np.array([[4, 1, 0, 2, 3, 4, 1, 1, 2]]).T
    compare = _compiled(advantages.with_stats(objective.advantage))
    try:
        value, _ = compare(reward, mask, _unvisited(len(reward)))
    except FAULTS as error:
        raise ValueError(
            f"objective.advantage: {objective.advantage} fails on rewards of shape "
            f"{reward.shape} and a mask of shape {mask.shape}: {_reason(error)}; with "
            "jax.numpy, return one number per token, shaped like the mask"
        ) from error
    if np.shape(value) != mask.shape or not np.all(np.isfinite(value)):
        raise ValueError(
            f"objective.advantage: {objective.advantage} gives {value} for the "
            f"rewards {reward.tolist()}; return one finite number per token, "
            f"{mask.shape} here"
        )


def _unvisited(prompts):
    return advantages.PromptStats(*np.zeros((3, prompts), np.float32))


def _compiled(part):
    """Returns a part of an objective as training runs it: one program, not dozens."""
    return jax.jit(lambda *arrays: part(*arrays))


def _reason(error):
    """Returns what an error says, without the pages that JAX adds."""
    return str(error).partition("\n")[0] or type(error).__name__


def _validate_weight(weight):
    """Tries the token weights on responses with and without tokens."""
    mask, weigh = np.arange(4)[None] < np.array([[4, 1, 0]]).T, _compiled(weight)
    for tokens in (mask, np.zeros_like(mask)):
        try:
            value = np.asarray(weigh(tokens))
        except FAULTS as error:
            raise ValueError(
                f"objective.weight: {weight} fails on a mask of shape {mask.shape}: "
                f"{_reason(error)}; with jax.numpy, return one weight per token"
            ) from error
        fits = value.shape == mask.shape and np.all(np.isfinite(value))
        nothing = np.any(tokens) and not np.any(value)
        if not fits or nothing or np.any(value < 0) or np.any(value[~tokens]):
            raise ValueError(
                f"objective.weight: {weight} gives {value.tolist()} for the mask "
                f"{tokens.tolist()}; return a finite weight for each token, not all of "
                "them zero, and zero where the mask is false"
            )
