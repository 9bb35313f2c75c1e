"""How the metrics of an update are made.

    Tokens, gate --measure--> Measured --combine--> of the whole batch, on the devices
    --summarize--> the metrics of an update --over_updates--> of a step, on the host

The weight g = gate * ratio stands in front of the gradient of a token's
log-probability, W = g / pi in front of that of its probability. `measure` takes sums
that add up over devices and microbatches. `compare_logprobs` sets the trainer beside
sampler and reference once per step. What each name means is said in
`reports.metric_names`.
"""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from maspo_jax.objectives import kl
from maspo_jax.objectives.ratios import (
    MAX_LOG_RATIO,
    effective_share,
    token_log_ratios,
    token_mean_of,
)

BAND = 0.2  # the ratio band of PPO, to count the tokens that leave it
UNCERTAIN = 0.9  # tokens the old policy gave less than this could have gone otherwise
# Between which quantiles are read: of the gate, of the ratio (each 5% above the last),
# and of what a gate says of itself (each 12% above the last).
GATE_LEVELS = np.linspace(0, 1, 51)
RATIO_LEVELS = np.geomspace(0.1, 10, 95)
DETAIL_LEVELS = np.geomspace(0.1, 100, 61)
GATE_QUANTILES = {"p01": 0.01, "p05": 0.05, "p50": 0.5}
RATIO_QUANTILES = {"p01": 0.01, "p05": 0.05, "p95": 0.95, "p99": 0.99}
DETAIL_QUANTILES = {"p05": 0.05, "p50": 0.5, "p95": 0.95}
SIGNS = ("positive", "negative")  # of the advantage, as they are stacked
SIDES = ("high", "low")  # where tokens of these signs are clipped
BUCKETS = (1e-3, 1e-2, 0.1, 0.5, 0.9)  # ends of the ranges of q, before the last
ONE_ON_POLICY = ("ratio/", "gate/mean", "gate/p")  # how such names begin
EXTREMES = {"max": np.max, "min": np.min}  # last word of a name -> over updates


@struct.dataclass
class Measured:
    """What metrics are made from; adds up over the parts of a batch."""

    sums: jax.Array  # [K] float32, over tokens
    largest: jax.Array  # [L] float32, over tokens
    up_to: dict  # of arrays, tokens that do not exceed each of some levels
    # What the sums and the largest are the leaves of, in order: by name.
    tree: jax.tree_util.PyTreeDef = struct.field(pytree_node=False)


@struct.dataclass
class UpdateMetrics:
    """What an update leaves on the devices. `of_update` reads it."""

    loss: jax.Array  # []
    grad_norm: jax.Array  # [], before it is clipped
    update_norm: jax.Array  # []
    update_ratio: jax.Array  # [], update_norm over the norm of the parameters
    measured: Measured  # of the batch
    # {name: []} of the policy before, where nothing has measured it before the update
    compared: dict = struct.field(default_factory=dict)


def measure(tokens, gate, details=None):
    """Returns what a batch, or a part of one, contributes to the metrics.

    Args:
        tokens: the `Tokens` of the batch.
        gate: [N, T], the value of the gate.
        details: {name: [N, T]}, what the gate has to say of itself, if anything:
            positive numbers, or booleans.
    """
    # The reduction below has no derivative.
    tokens, gate, details = jax.lax.stop_gradient((tokens, gate, details or {}))
    counts = tokens.weight != 0
    log_ratio, old_logprob = tokens.log_ratio, tokens.old_logprob
    advantage, ratio = tokens.advantage, jnp.exp(log_ratio)
    taught, size = counts & (advantage != 0), jnp.abs(advantage)
    # Beyond the clamp a token has no gradient, whatever its gate.
    moves = taught & (jnp.abs(log_ratio) < MAX_LOG_RATIO)
    weight = jnp.where(moves, gate * ratio, 0)
    uncertain = counts & (old_logprob < np.log(UNCERTAIN))
    sums = {
        "tokens": 1.0,
        "uncertain": uncertain,
        "uncertain_outside": uncertain & (jnp.abs(ratio - 1) > BAND),
        "entropy": tokens.entropy,
        "log_ratio": log_ratio,
        "log_ratio_abs": jnp.abs(log_ratio),
        "k3": jnp.expm1(log_ratio) - log_ratio,
        "ratio": ratio,
        "ratio_square": jnp.square(ratio),
        "gate": gate,
        "closed": gate < 0.5,
        "weight": weight,
        "pull": size * ratio,
        "gated_pull": size * weight,
        "advantage": advantage,
        "advantage_abs": size,
        "advantage_square": jnp.square(advantage),
        **{f"detail/{name}": value for name, value in details.items()},
        **_by_sign(log_ratio, advantage, old_logprob, gate, weight),
    }
    # In logarithms: W of a token that was all but impossible is no float32.
    opened = jnp.log(jnp.where(gate > 0, gate, 1)) - old_logprob
    largest = {
        "weight": weight,
        "ratio": ratio,
        "minus_ratio": -ratio,
        "log_steepness": jnp.where(moves & (gate > 0), opened, -jnp.inf),
    }
    up_to = {
        "gate_up_to": _up_to(gate, counts, GATE_LEVELS),
        "ratio_up_to": _up_to(ratio, counts, RATIO_LEVELS),
    }
    for name, value in details.items():
        if value.dtype != bool:
            up_to[f"up_to/{name}"] = _up_to(value, counts, DETAIL_LEVELS)
    values, tree = jax.tree.flatten((sums, largest))
    adds, tops = values[: -len(largest)], values[-len(largest) :]
    return Measured(*_over_tokens(counts, adds, tops), up_to, tree)


def measure_entropy(tokens):
    """Returns what a batch that no gate and no ratio plays a part in contributes.

    Args:
        tokens: the `Tokens` of the batch.
    """
    tokens = jax.lax.stop_gradient(tokens)
    sums = {"tokens": 1.0, "entropy": tokens.entropy}
    values, tree = jax.tree.flatten((sums, {}))
    return Measured(*_over_tokens(tokens.weight != 0, values, []), {}, tree)


def _over_tokens(counts, adds, tops):
    """Adds up each of some values, and takes the largest of each of others.

    In one pass over the tokens, and a short one over the rows.

    Args:
        counts: [N, T] bool, the tokens that count.
        adds: a list of [N, T] and numbers.
        tops: a list of [N, T].

    Returns:
        The sums, [K], and the largest, [L].
    """
    masked = lambda value, rest: jnp.where(counts, value, rest).astype(jnp.float32)
    operands = [masked(value, 0) for value in adds]
    operands += [masked(value, -jnp.inf) for value in tops]
    starts = [np.float32(0)] * len(adds) + [np.float32(-np.inf)] * len(tops)

    def join(ones, others):
        pairs = list(zip(ones, others, strict=True))
        added = [one + other for one, other in pairs[: len(adds)]]
        return added + [jnp.maximum(*pair) for pair in pairs[len(adds) :]]

    for axis in (1, 0):  # over a row first: shorter sums round less
        operands = jax.lax.reduce(operands, starts, join, [axis])
    added, largest = operands[: len(adds)], operands[len(adds) :]
    return jnp.stack(added), jnp.stack(largest) if largest else jnp.zeros(0)


def _up_to(value, counts, levels):
    """Returns how many tokens do not exceed each level: unlike quantiles, it adds up.

    A level itself counts, rounded as it may be. [len(levels)].
    """
    ends = jnp.asarray(levels * (1 + 1e-6), value.dtype)[:, None, None]
    return jnp.sum(counts[None] & (value[None] <= ends), (1, 2), jnp.float32)


def _by_sign(log_ratio, advantage, old_logprob, gate, weight):
    """Counts per sign of the advantage, and of them per range of q. [2], [6][2]."""
    signs = [advantage > 0, advantage < 0]
    moved = [log_ratio > 0, log_ratio < 0]
    gated, closed = jnp.abs(gate - 1) > 1e-3, gate < 0.5
    ends = [-np.inf, *np.log(BUCKETS), np.inf]
    inside = [
        (old_logprob >= begin) & (old_logprob < end)
        for begin, end in itertools.pairwise(ends)
    ]
    ranged = [[part & sign for sign in signs] for part in inside]
    of_ranges = lambda value: [
        [jnp.where(part, value, 0) for part in row] for row in ranged
    ]
    return {
        "signed": signs,
        "signed_zero": [sign & (weight == 0) for sign in signs],
        "signed_gated": [
            sign & with_it & gated for sign, with_it in zip(signs, moved, strict=True)
        ],
        "signed_gated_against": [
            sign & against & gated
            for sign, against in zip(signs, moved[::-1], strict=True)
        ],
        "range": ranged,
        "range_closed": of_ranges(closed),
        "range_weight": of_ranges(weight),
    }


def combine(parts, axes):
    """Adds up the `Measured` of parts stacked on a leading axis, per device.

    Args:
        parts: a `Measured` whose leaves have a leading axis of parts.
        axes: of the mesh, over which the batch is split.
    """
    add = lambda part: jax.lax.psum(part.sum(0), axes)
    return parts.replace(
        sums=add(parts.sums),
        up_to=jax.tree.map(add, parts.up_to),
        largest=jax.lax.pmax(parts.largest.max(0), axes),
    )


def summarize(measured):
    """Returns the metrics of a whole batch, {name: float}, from its `Measured`.

    On the host and in float64: the devices only add up.
    """
    leaves = np.float64([*measured.sums, *measured.largest])
    sums, largest = jax.tree.unflatten(measured.tree, leaves)
    sums = {name: np.float64(value) for name, value in (sums | measured.up_to).items()}
    with np.errstate(all="ignore"):  # of a diverged policy: its loss is refused
        found = {"entropy": sums["entropy"] / np.maximum(sums["tokens"], 1)}
        if "gate" in sums:
            found |= _of_gates(sums, largest)
    return {name: float(value) for name, value in found.items()}


def _of_gates(sums, largest):
    some = lambda number: np.maximum(number, 1)
    tokens, signed = some(sums["tokens"]), some(sums["signed"])
    mean = lambda name: sums[name] / tokens
    found = {
        "out_of_band": sums["uncertain_outside"] / some(sums["uncertain"]),
        "uncertain_tokens": sums["uncertain"],
        "approx_kl": -mean("log_ratio"),
        "approx_kl_k3": mean("k3"),
        "log_ratio/abs": mean("log_ratio_abs"),
        "ratio/mean": mean("ratio"),
        "ratio/min": np.where(sums["tokens"] > 0, -largest["minus_ratio"], 0),
        "ratio/max": largest["ratio"],
        "ratio/eff_sample_size": np.square(sums["ratio"])
        / np.maximum(tokens * sums["ratio_square"], 1e-30),
        "gate/mean": mean("gate"),
        "gate/closed": mean("closed"),
        "advantage/mean": mean("advantage"),
        "advantage/abs": mean("advantage_abs"),
        "advantage/std": _deviation(mean("advantage"), mean("advantage_square")),
        "weight/mean": sums["weight"] / some(np.sum(sums["signed"])),
        "weight/max": np.maximum(largest["weight"], 0),
        "steepness/max": np.where(
            largest["log_steepness"] > -np.inf,
            largest["log_steepness"] / np.log(10),
            0,
        ),
        "utilization": np.where(
            sums["pull"] > 0, sums["gated_pull"] / np.maximum(sums["pull"], 1e-30), 1
        ),
    }
    for suffix, share in GATE_QUANTILES.items():
        gates = _quantile(sums["gate_up_to"], share * tokens, GATE_LEVELS)
        found[f"gate/{suffix}"] = gates
    for suffix, share in RATIO_QUANTILES.items():
        ratios = _quantile(sums["ratio_up_to"], share * tokens, RATIO_LEVELS)
        found[f"ratio/{suffix}"] = ratios
    for index, (sign, side) in enumerate(zip(SIGNS, SIDES, strict=True)):
        found[f"zero_gradient/{sign}"] = (sums["signed_zero"] / signed)[index]
        found[f"clip_ratio/{side}"] = (sums["signed_gated"] / signed)[index]
        against = (sums["signed_gated_against"] / signed)[index]
        found[f"clip_ratio/against_{sign}"] = against
    if not sums["tokens"]:  # nothing has moved: as on-policy
        found |= {name: 1.0 for name in found if name.startswith(ONE_ON_POLICY)}
        return found | _ranges(sums, tokens)
    return found | _details(sums, tokens) | _ranges(sums, tokens)


def _deviation(mean, mean_square):
    """Returns the standard deviation; rounding leaves no negative variance."""
    return np.sqrt(np.maximum(mean_square - np.square(mean), 0))


def _details(sums, tokens):
    """Names the numbers of what a gate said of itself; of booleans only the share."""
    found = {}
    for key in sums:
        if not key.startswith("detail/"):
            continue
        name = key.removeprefix("detail/")
        counts = sums.get(f"up_to/{name}")
        found[name if counts is None else f"{name}/mean"] = sums[key] / tokens
        for suffix, share in DETAIL_QUANTILES.items() if counts is not None else ():
            quantile = _quantile(counts, share * tokens, DETAIL_LEVELS)
            found[f"{name}/{suffix}"] = quantile
    return found


def _quantile(up_to, wanted, levels):
    """Returns the first level that so many tokens do not exceed, else the last."""
    reached = up_to >= wanted * (1 - 1e-9)  # a share of tokens may round up
    return np.where(np.any(reached), np.asarray(levels)[np.argmax(reached)], levels[-1])


def _ranges(sums, tokens):
    """Names the numbers of each range of q and sign."""
    counts = np.maximum(sums["range"], 1)
    found = {}
    for row, end in enumerate([*BUCKETS, 1]):
        for column, sign in enumerate(SIGNS):
            name = f"q_below_{end:g}/{sign}"
            found[f"{name}_share"] = sums["range"][row, column] / tokens
            weight = sums["range_weight"] / counts
            found[f"{name}_weight"] = weight[row, column]
            closed = sums["range_closed"] / counts
            found[f"{name}_closed"] = closed[row, column]
    return found


def of_update(metrics):
    """Returns the metrics of an update as plain numbers, {name: float}.

    Args:
        metrics: the `UpdateMetrics`.
    """
    metrics = jax.device_get(metrics)
    names = [field.name for field in dataclasses.fields(metrics)]
    apart = "measured", "compared"
    scalars = {name: getattr(metrics, name) for name in names if name not in apart}
    named = {name: float(value) for name, value in scalars.items()}
    return named | summarize(metrics.measured)


def over_updates(updates):
    """Returns the metrics of a step from those of its updates.

    They become means, quantiles included, but extremes of extremes. What an update
    lacks, as one that trains no token lacks what a gate says of itself, is taken over
    the others.

    Args:
        updates: a list of {name: number}, in order; not empty.
    """
    found = {}
    for name in {name: None for update in updates for name in update}:
        join = EXTREMES.get(name.rsplit("/", 1)[-1], np.mean)
        numbers = [update[name] for update in updates if name in update]
        found[name] = float(join(numbers))
    for name in ("out_of_band", "uncertain_tokens"):
        if name in updates[-1]:
            found[f"{name}_last"] = float(updates[-1][name])
    return found


def compare_logprobs(logprob, sampled, mask, reference=None):
    """Returns how far a policy is from its sampler and its reference, all scalars.

    Args:
        logprob: [N, T] of the trainer, before the first update of a step.
        sampled: [N, T] of the sampler.
        mask: [N, T] bool, of responses.
        reference: [N, T] of the reference policy, if there is one.
    """
    metrics = rollout_correction(logprob, sampled, mask)
    if reference is not None:
        metrics["kl"] = token_mean_of(kl.k3(logprob, reference), mask)
    return metrics


def rollout_correction(logprob, sampled, mask):
    """Returns how far the trainer is from the sampler on the sampler's own tokens.

    With ratio = trainer / sampler of each token, of which the sampler drew.

    Args:
        logprob: [N, T] of the trainer, under the policy that sampled.
        sampled: [N, T] of the sampler.
        mask: [N, T] bool.
    """
    log_ratio = token_log_ratios(logprob, sampled, mask)
    mean = lambda value: token_mean_of(value, mask)
    length = jnp.sum(mask, axis=-1)
    of_response = -jnp.sum(log_ratio, axis=-1) / jnp.maximum(length, 1)
    difference = jnp.abs(jnp.where(mask, logprob - sampled, 0))
    return {
        "rollout_corr/logprob_diff_max": jnp.max(difference),
        "rollout_corr/kl": mean(-log_ratio),
        "rollout_corr/k3_kl": mean(jnp.expm1(log_ratio) - log_ratio),
        "rollout_corr/chi2_token": mean(jnp.expm1(2 * log_ratio)),
        "rollout_corr/ppl_ratio": token_mean_of(jnp.exp(of_response), length > 0),
        "rollout_corr/eff_sample_size": effective_share(jnp.exp(log_ratio), mask),
    }
