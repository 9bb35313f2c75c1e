"""What a gate did to a batch, for any gate: ratios, weights, and who was affected.

The weight g = gate * ratio stands in front of the gradient of a token's
log-probability, W = g / pi in front of that of its probability.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from maspo_jax.objectives import correction
from maspo_jax.objectives.surrogate import log_ratios, trained

BAND = 0.2  # the ratio band of PPO, to count the tokens that leave it
UNCERTAIN = 0.9  # tokens the old policy gave less than this could have gone otherwise
QUANTILES = {"gate_p01": 0.01, "gate_p05": 0.05, "gate_p50": 0.5}
LEVELS = np.linspace(0, 1, 51)  # of the gate, between which quantiles are read
DETAIL_QUANTILES = {"p05": 0.05, "p50": 0.5, "p95": 0.95}
DETAIL_LEVELS = np.geomspace(0.1, 100, 61)  # of details, each 12% above the last
BUCKETS = (1e-3, 1e-2, 0.1, 0.5, 0.9)  # ends of the ranges of q, before the last
SIGNS = ("positive", "negative")


@struct.dataclass
class Measured:
    """What `summarize` makes metrics from; adds up over the parts of a batch."""

    sums: dict  # of arrays, over tokens
    largest: dict  # of scalars, over tokens


def diagnose(logprob, entropy, gate, batch, details=None):
    """Returns what a batch, or a part of one, contributes to the metrics.

    Args:
        logprob: [N, T] under the current policy.
        entropy: [N, T] of the current policy.
        gate: [N, T], the value of the gate.
        batch: the `TrainBatch`.
        details: {name: [N, T]}, what the gate has to say of itself, if anything.
    """
    counts = batch.weight != 0
    log_ratio, old_logprob = (
        log_ratios(logprob, batch),
        trained(batch.old_logprob, batch),
    )
    advantage, ratio = trained(batch.advantage, batch), jnp.exp(log_ratio)
    taught = counts & (advantage != 0)
    size, weight = jnp.abs(advantage), jnp.where(taught, gate * ratio, 0)
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
        "gate_up_to": _up_to(gate, counts, LEVELS),
        "advantage_abs": tokens(size),
        **_by_sign(log_ratio, advantage, old_logprob, gate, weight),
    }
    for name, value in (details or {}).items():
        sums[f"detail/{name}"] = tokens(value)
        sums[f"up_to/{name}"] = _up_to(value, counts, DETAIL_LEVELS)
    # In logarithms: W of a token that was all but impossible is no float32.
    opened = jnp.log(jnp.where(gate > 0, gate, 1)) - old_logprob
    steepness = jnp.where(gate > 0, opened, -jnp.inf)
    largest = {
        "weight": jnp.max(weight),
        "ratio": jnp.max(jnp.where(counts, ratio, 0)),
        "log_steepness": jnp.max(jnp.where(taught, steepness, -jnp.inf)),
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


def summarize(measured):
    """Turns what `diagnose` measured on a whole batch into metrics, all scalars.

    out_of_band: share of the tokens the old policy was uncertain of whose ratio
        left [0.8, 1.2].
    approx_kl, kl_k3, log_ratio_abs: means of -log ratio, ratio - 1 - log ratio and
        |log ratio|.
    effective_share: effective sample size of the ratios over the number of tokens.
    gate, gate_p01, ...: mean and quantiles (to 0.02; above one, one).
    gate_closed: share of gates below one half.
    weight_mean, weight_max: of g, where A is not zero.
    steepness_max: log10 of the largest W there; it grows without bound where a
        method diverges.
    utilization: the share of the plain importance-weighted gradient, by absolute
        size, that the gate lets through.
    zero_gradient_*: share of tokens of that sign of the advantage with g = 0.
    gated_*: share of them that moved with the advantage and meet a gate other than
        one: right of one for positive, left of it for negative advantages.
    sigma, sigma_p05, ...: mean and quantiles (within 12%) of what a `gates.Detailed`
        gate says of itself: the width of MASPO, the bounds of DAC and BAPO.
    advantage_abs: mean of |A|.
    q_below_*_*: per range of q and sign, the share of all tokens (share), the mean
        of g (weight) and the share of gates below one half (closed).
    """
    sums, largest = measured.sums, measured.largest
    some = lambda number: jnp.maximum(number, 1)
    tokens, signed = some(sums["tokens"]), some(sums["signed"])
    found = {
        "entropy": sums["entropy"] / tokens,
        "out_of_band": sums["uncertain_outside"] / some(sums["uncertain"]),
        "approx_kl": -sums["log_ratio"] / tokens,
        "kl_k3": sums["k3"] / tokens,
        "log_ratio_abs": sums["log_ratio_abs"] / tokens,
        "effective_share": jnp.square(sums["ratio"])
        / jnp.maximum(tokens * sums["ratio_square"], 1e-30),
        "gate": sums["gate"] / tokens,
        "gate_closed": sums["closed"] / tokens,
        "advantage_abs": sums["advantage_abs"] / tokens,
        "weight_mean": sums["weight"] / some(jnp.sum(sums["signed"])),
        "weight_max": largest["weight"],
        "ratio_max": largest["ratio"],
        "steepness_max": jnp.where(
            largest["log_steepness"] > -jnp.inf,
            largest["log_steepness"] / np.log(10),
            0,
        ),
        "utilization": jnp.where(
            sums["pull"] > 0, sums["gated_pull"] / jnp.maximum(sums["pull"], 1e-30), 1
        ),
    }
    for name, share in QUANTILES.items():
        found[name] = _quantile(sums["gate_up_to"], share * tokens, LEVELS)
    for name in [key.removeprefix("up_to/") for key in sums if "up_to/" in key]:
        found[name] = sums[f"detail/{name}"] / tokens
        for suffix, share in DETAIL_QUANTILES.items():
            counts = sums[f"up_to/{name}"]
            quantile = _quantile(counts, share * tokens, DETAIL_LEVELS)
            found[f"{name}_{suffix}"] = quantile
    for index, sign in enumerate(SIGNS):
        found[f"zero_gradient_{sign}"] = (sums["signed_zero"] / signed)[index]
        found[f"gated_{sign}"] = (sums["signed_gated"] / signed)[index]
    return found | _ranges(sums, tokens)


def _quantile(up_to, wanted, levels):
    """Returns the first level that so many tokens do not exceed, else the last."""
    reached = up_to >= wanted
    return jnp.where(
        jnp.any(reached), jnp.asarray(levels)[jnp.argmax(reached)], levels[-1]
    )


def _ranges(sums, tokens):
    """Names the numbers of each range of q and sign."""
    counts = jnp.maximum(sums["range"], 1)
    found = {}
    for row, end in enumerate([*BUCKETS, 1]):
        for column, sign in enumerate(SIGNS):
            name = f"q_below_{end:g}_{sign}"
            found[f"{name}_share"] = sums["range"][row, column] / tokens
            weight = sums["range_weight"] / counts
            found[f"{name}_weight"] = weight[row, column]
            closed = sums["range_closed"] / counts
            found[f"{name}_closed"] = closed[row, column]
    return found


def mismatch(logprob, sampled_logprob, mask):
    """Returns how far the trainer is from the sampler on the sampler's own tokens.

    With ratio = trainer / sampler of each token, of which the sampler drew.

    Args:
        logprob: [N, T] of the trainer, under the policy that sampled.
        sampled_logprob: [N, T] of the sampler.
        mask: [N, T] bool.

    Returns:
        A dict: mismatch_max, the largest difference of log-probabilities in nats;
        mismatch_k1, mismatch_k3 and mismatch_chi2, the means of -log ratio, of
        ratio - 1 - log ratio and of ratio^2 - 1; mismatch_effective_share, the
        effective sample size of the ratios over the number of tokens.
    """
    difference = jnp.where(mask, logprob - sampled_logprob, 0)
    log_ratio = correction.log_ratios(logprob, sampled_logprob, mask)
    mean = lambda value: token_mean_of(value, mask)
    return {
        "mismatch_max": jnp.max(jnp.abs(difference)),
        "mismatch_k1": mean(-log_ratio),
        "mismatch_k3": mean(jnp.expm1(log_ratio) - log_ratio),
        "mismatch_chi2": mean(jnp.expm1(2 * log_ratio)),
        "mismatch_effective_share": correction.effective_share(
            jnp.exp(log_ratio), mask
        ),
    }


def token_mean_of(value, mask):
    """Returns the mean of [N, T] numbers over the tokens of a mask, []."""
    return jnp.sum(jnp.where(mask, value, 0)) / jnp.maximum(jnp.sum(mask), 1)
