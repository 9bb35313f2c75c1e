"""Metrics of an update, from what was measured of a whole batch.

Shares and means are over its tokens, unless they say otherwise. The advantage is the
one the gate sees, shaped if the objective shapes it. Over the updates of a step they
become means, quantiles included, but extremes of extremes.

out_of_band: share of the tokens the old policy was uncertain of whose ratio
    left [0.8, 1.2].
entropy: mean entropy of the policy, in nats.
approx_kl, kl_k3, log_ratio_abs: means of -log ratio, ratio - 1 - log ratio and
    |log ratio|.
ratio, ratio_min, ratio_max, ratio_p01, ...: mean, extremes and quantiles (to the
    next 5%, within [0.1, 10]) of the ratio.
effective_share: effective sample size of the ratios over the number of tokens.
gate, gate_p01, ...: mean and quantiles (to 0.02; above one, one).
gate_closed: share of gates below one half.
advantage, advantage_std, advantage_abs: mean, standard deviation and mean size.
weight_mean, weight_max: of g, where A is not zero.
steepness_max: log10 of the largest W there; it grows without bound where a
    method diverges.
utilization: the share of the plain importance-weighted gradient, by absolute
    size, that the gate lets through.
zero_gradient_*: share of tokens of that sign of the advantage with g = 0.
gated_*: share of them that moved with the advantage and meet a gate more than 1e-3
    from one: right of one for positive, left of it for negative advantages.
gated_against_*: the same of those that moved against it; for negative ones the
    share the dual clip closes, if nothing else gates there.
sigma, sigma_p05, ...: mean and quantiles (to the next 12%, within [0.1, 100]) of what
    a `gates.Detailed` gate says of itself: the width of MASPO, the bounds of DAC and
    BAPO. Of booleans only the share: sigma_capped, target_met.
q_below_*_*: per range of q and sign, the share of all tokens (share), the mean
    of g (weight) and the share of gates below one half (closed).
"""

import jax.numpy as jnp
import numpy as np

from maspo_jax.objectives.diagnostics import (
    BUCKETS,
    DETAIL_LEVELS,
    GATE_LEVELS,
    RATIO_LEVELS,
    SIGNS,
)

GATE_QUANTILES = {"p01": 0.01, "p05": 0.05, "p50": 0.5}
RATIO_QUANTILES = {"p01": 0.01, "p05": 0.05, "p95": 0.95, "p99": 0.99}
DETAIL_QUANTILES = {"p05": 0.05, "p50": 0.5, "p95": 0.95}


def summarize(measured):
    """Returns the metrics of a whole batch, all scalars, from its `Measured`."""
    sums, largest = measured.sums, measured.largest
    some = lambda number: jnp.maximum(number, 1)
    tokens, signed = some(sums["tokens"]), some(sums["signed"])
    mean = lambda name: sums[name] / tokens
    found = {
        "entropy": mean("entropy"),
        "out_of_band": sums["uncertain_outside"] / some(sums["uncertain"]),
        "approx_kl": -mean("log_ratio"),
        "kl_k3": mean("k3"),
        "log_ratio_abs": mean("log_ratio_abs"),
        "ratio": mean("ratio"),
        "ratio_min": jnp.where(sums["tokens"] > 0, -largest["minus_ratio"], 0),
        "ratio_max": largest["ratio"],
        "effective_share": jnp.square(sums["ratio"])
        / jnp.maximum(tokens * sums["ratio_square"], 1e-30),
        "gate": mean("gate"),
        "gate_closed": mean("closed"),
        "advantage": mean("advantage"),
        "advantage_abs": mean("advantage_abs"),
        "advantage_std": _deviation(mean("advantage"), mean("advantage_square")),
        "weight_mean": sums["weight"] / some(jnp.sum(sums["signed"])),
        "weight_max": largest["weight"],
        "steepness_max": jnp.where(
            largest["log_steepness"] > -jnp.inf,
            largest["log_steepness"] / np.log(10),
            0,
        ),
        "utilization": jnp.where(
            sums["pull"] > 0, sums["gated_pull"] / jnp.maximum(sums["pull"], 1e-30), 1
        ),
    }
    for suffix, share in GATE_QUANTILES.items():
        gates = _quantile(sums["gate_up_to"], share * tokens, GATE_LEVELS)
        found[f"gate_{suffix}"] = gates
    for suffix, share in RATIO_QUANTILES.items():
        ratios = _quantile(sums["ratio_up_to"], share * tokens, RATIO_LEVELS)
        found[f"ratio_{suffix}"] = ratios
    for index, sign in enumerate(SIGNS):
        found[f"zero_gradient_{sign}"] = (sums["signed_zero"] / signed)[index]
        found[f"gated_{sign}"] = (sums["signed_gated"] / signed)[index]
        against = (sums["signed_gated_against"] / signed)[index]
        found[f"gated_against_{sign}"] = against
    return found | _details(sums, tokens) | _ranges(sums, tokens)


def _deviation(mean, mean_square):
    """Returns the standard deviation; rounding leaves no negative variance."""
    return jnp.sqrt(jnp.maximum(mean_square - jnp.square(mean), 0))


def _details(sums, tokens):
    """Names the numbers of what a gate said of itself."""
    found = {}
    for key in sums:
        if not key.startswith("detail/"):
            continue
        name = key.removeprefix("detail/")
        found[name] = sums[key] / tokens
        counts = sums.get(f"up_to/{name}")
        for suffix, share in DETAIL_QUANTILES.items() if counts is not None else ():
            quantile = _quantile(counts, share * tokens, DETAIL_LEVELS)
            found[f"{name}_{suffix}"] = quantile
    return found


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
