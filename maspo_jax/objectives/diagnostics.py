"""What a gate did to a batch, for any gate: ratios, weights, and who was affected.

The weight g = gate * ratio stands in front of the gradient of a token's
log-probability, W = g / pi in front of that of its probability. `diagnose` takes
sums that add up over devices and microbatches; `summaries` makes metrics of them.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from maspo_jax.objectives.ratios import MAX_LOG_RATIO
from maspo_jax.objectives.surrogate import log_ratios, trained

BAND = 0.2  # the ratio band of PPO, to count the tokens that leave it
UNCERTAIN = 0.9  # tokens the old policy gave less than this could have gone otherwise
# Between which quantiles are read: of the gate, of the ratio (each 5% above the last),
# and of what a gate says of itself (each 12% above the last).
GATE_LEVELS = np.linspace(0, 1, 51)
RATIO_LEVELS = np.geomspace(0.1, 10, 95)
DETAIL_LEVELS = np.geomspace(0.1, 100, 61)
SIGNS = ("positive", "negative")  # of the advantage, as they are stacked
BUCKETS = (1e-3, 1e-2, 0.1, 0.5, 0.9)  # ends of the ranges of q, before the last


@struct.dataclass
class Measured:
    """What metrics are made from; adds up over the parts of a batch."""

    sums: dict  # of arrays, over tokens
    largest: dict  # of scalars, over tokens


def diagnose(logprob, entropy, gate, batch, details=None):
    """Returns what a batch, or a part of one, contributes to the metrics.

    Args:
        logprob: [N, T] under the current policy.
        entropy: [N, T] of the current policy.
        gate: [N, T], the value of the gate.
        batch: the `TrainBatch`.
        details: {name: [N, T]}, what the gate has to say of itself, if anything:
            positive numbers, or booleans.
    """
    counts = batch.weight != 0
    log_ratio = log_ratios(logprob, batch)
    old_logprob = trained(batch.old_logprob, batch)
    advantage, ratio = trained(batch.advantage, batch), jnp.exp(log_ratio)
    taught, size = counts & (advantage != 0), jnp.abs(advantage)
    # Beyond the clamp a token has no gradient, whatever its gate.
    moves = taught & (jnp.abs(log_ratio) < MAX_LOG_RATIO)
    weight = jnp.where(moves, gate * ratio, 0)
    uncertain = counts & (old_logprob < np.log(UNCERTAIN))
    tokens = lambda value: jnp.sum(jnp.where(counts, value, 0), dtype=jnp.float32)
    sums = {
        "tokens": tokens(1.0),
        "uncertain": jnp.sum(uncertain, dtype=jnp.float32),
        "uncertain_outside": tokens(uncertain & (jnp.abs(ratio - 1) > BAND)),
        "entropy": tokens(entropy),
        "log_ratio": tokens(log_ratio),
        "log_ratio_abs": tokens(jnp.abs(log_ratio)),
        "k3": tokens(jnp.expm1(log_ratio) - log_ratio),
        "ratio": tokens(ratio),
        "ratio_square": tokens(jnp.square(ratio)),
        "gate": tokens(gate),
        "closed": tokens(gate < 0.5),
        "weight": tokens(weight),
        "pull": jnp.sum(size * ratio),
        "gated_pull": jnp.sum(size * weight),
        "gate_up_to": _up_to(gate, counts, GATE_LEVELS),
        "ratio_up_to": _up_to(ratio, counts, RATIO_LEVELS),
        "advantage": tokens(advantage),
        "advantage_abs": tokens(size),
        "advantage_square": tokens(jnp.square(advantage)),
        **_by_sign(log_ratio, advantage, old_logprob, gate, weight),
    }
    for name, value in (details or {}).items():
        sums[f"detail/{name}"] = tokens(value)
        if value.dtype != bool:
            sums[f"up_to/{name}"] = _up_to(value, counts, DETAIL_LEVELS)
    # In logarithms: W of a token that was all but impossible is no float32.
    opened = jnp.log(jnp.where(gate > 0, gate, 1)) - old_logprob
    steepness = jnp.where(gate > 0, opened, -jnp.inf)
    largest = {
        "weight": jnp.max(weight),
        "ratio": jnp.max(jnp.where(counts, ratio, 0)),
        "minus_ratio": jnp.max(jnp.where(counts, -ratio, -jnp.inf)),
        "log_steepness": jnp.max(jnp.where(moves, steepness, -jnp.inf)),
    }
    return Measured(sums, largest)


def _up_to(value, counts, levels):
    """Returns how many tokens do not exceed each level: unlike quantiles, it adds up.

    A level itself counts, rounded as it may be. [len(levels)].
    """
    ends = jnp.asarray(levels * (1 + 1e-6), value.dtype)[:, None, None]
    return jnp.sum(counts[None] & (value[None] <= ends), (1, 2), jnp.float32)


def _by_sign(log_ratio, advantage, old_logprob, gate, weight):
    """Counts per sign of the advantage, and of them per range of q. [2], [6, 2]."""
    signed = jnp.stack([advantage > 0, advantage < 0])
    moved_with = jnp.stack([log_ratio > 0, log_ratio < 0])
    moved_against = jnp.stack([log_ratio < 0, log_ratio > 0])
    tokens = lambda value: jnp.sum(value, axis=(1, 2), dtype=jnp.float32)
    zero, gated = (weight == 0)[None], (jnp.abs(gate - 1) > 1e-3)[None]
    ends = np.log(BUCKETS)
    inside = [
        (old_logprob >= low) & (old_logprob < high)
        for low, high in zip([-np.inf, *ends], [*ends, np.inf], strict=True)
    ]
    per_range = lambda value: jnp.stack([tokens(value & r[None]) for r in inside])
    return {
        "signed": tokens(signed),
        "signed_zero": tokens(signed & zero),
        "signed_gated": tokens(signed & moved_with & gated),
        "signed_gated_against": tokens(signed & moved_against & gated),
        "range": per_range(signed),
        "range_closed": per_range(signed & (gate < 0.5)[None]),
        "range_weight": jnp.stack(
            [tokens(jnp.where(signed & r[None], weight[None], 0)) for r in inside]
        ),
    }


def combine(parts, axes):
    """Adds up the `Measured` of parts stacked on a leading axis, per device.

    Args:
        parts: a `Measured` whose leaves have a leading axis of parts.
        axes: of the mesh, over which the batch is split.
    """
    add = lambda part: jax.lax.psum(part.sum(0), axes)
    top = lambda part: jax.lax.pmax(part.max(0), axes)
    return Measured(jax.tree.map(add, parts.sums), jax.tree.map(top, parts.largest))
