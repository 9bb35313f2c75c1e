"""The metrics of a run: how they are made, and what each one means.

    Tokens, gate --measure--> Measured --combine--> of the whole batch, on the devices
    --summarize--> the metrics of an update --over_updates--> of a step, on the host

The weight g = gate * ratio stands in front of the gradient of a token's
log-probability, W = g / pi in front of that of its probability. `measure` takes sums
that add up over devices and microbatches. `rollout_correction` compares trainer and
sampler once per step. `DESCRIPTIONS` says what every name of a run's `metrics.jsonl`
means, those that other rooms log included; names are those of TRL and verl where
either has one. `docs/metrics.md` is printed from it:

    python -m maspo_jax.objectives.metrics > docs/metrics.md
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from maspo_jax.objectives.ratios import (
    MAX_LOG_RATIO,
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
EXTREMES = {"max": np.max, "min": np.min}  # last word of a name -> over updates


@struct.dataclass
class Measured:
    """What metrics are made from; adds up over the parts of a batch."""

    sums: dict  # of arrays, over tokens
    largest: dict  # of scalars, over tokens


def measure(tokens, gate, details=None):
    """Returns what a batch, or a part of one, contributes to the metrics.

    Args:
        tokens: the `Tokens` of the batch.
        gate: [N, T], the value of the gate.
        details: {name: [N, T]}, what the gate has to say of itself, if anything:
            positive numbers, or booleans.
    """
    counts = tokens.weight != 0
    log_ratio, old_logprob = tokens.log_ratio, tokens.old_logprob
    advantage, ratio = tokens.advantage, jnp.exp(log_ratio)
    taught, size = counts & (advantage != 0), jnp.abs(advantage)
    # Beyond the clamp a token has no gradient, whatever its gate.
    moves = taught & (jnp.abs(log_ratio) < MAX_LOG_RATIO)
    weight = jnp.where(moves, gate * ratio, 0)
    uncertain = counts & (old_logprob < np.log(UNCERTAIN))
    total = lambda value: jnp.sum(jnp.where(counts, value, 0), dtype=jnp.float32)
    sums = {
        "tokens": total(1.0),
        "uncertain": jnp.sum(uncertain, dtype=jnp.float32),
        "uncertain_outside": total(uncertain & (jnp.abs(ratio - 1) > BAND)),
        "entropy": total(tokens.entropy),
        "log_ratio": total(log_ratio),
        "log_ratio_abs": total(jnp.abs(log_ratio)),
        "k3": total(jnp.expm1(log_ratio) - log_ratio),
        "ratio": total(ratio),
        "ratio_square": total(jnp.square(ratio)),
        "gate": total(gate),
        "closed": total(gate < 0.5),
        "weight": total(weight),
        "pull": jnp.sum(size * ratio),
        "gated_pull": jnp.sum(size * weight),
        "gate_up_to": _up_to(gate, counts, GATE_LEVELS),
        "ratio_up_to": _up_to(ratio, counts, RATIO_LEVELS),
        "advantage": total(advantage),
        "advantage_abs": total(size),
        "advantage_square": total(jnp.square(advantage)),
        **_by_sign(log_ratio, advantage, old_logprob, gate, weight),
    }
    for name, value in (details or {}).items():
        sums[f"detail/{name}"] = total(value)
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
    total = lambda value: jnp.sum(value, axis=(-2, -1), dtype=jnp.float32)
    gated = (jnp.abs(gate - 1) > 1e-3)[None]
    ends = jnp.asarray(np.log(BUCKETS), old_logprob.dtype)[:, None, None]
    above = old_logprob[None] >= ends  # [5, N, T]
    first, last = jnp.ones_like(above[:1]), jnp.zeros_like(above[:1])
    inside = jnp.concatenate([first, above]) & ~jnp.concatenate([above, last])
    ranged = inside[:, None] & signed[None]  # [6, 2, N, T]
    return {
        "signed": total(signed),
        "signed_zero": total(signed & (weight == 0)[None]),
        "signed_gated": total(signed & moved_with & gated),
        "signed_gated_against": total(signed & moved_against & gated),
        "range": total(ranged),
        "range_closed": total(ranged & (gate < 0.5)[None, None]),
        "range_weight": total(jnp.where(ranged, weight[None, None], 0)),
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
    """Returns the metrics of a whole batch, {name: float}, from its `Measured`.

    On the host and in float64: the devices only add up.
    """
    wide = jax.tree.map(np.float64, measured)
    with np.errstate(all="ignore"):  # what is not finite is refused by its name
        found = _summary(wide.sums, wide.largest)
    return {name: float(value) for name, value in found.items()}


def _summary(sums, largest):
    some = lambda number: np.maximum(number, 1)
    tokens, signed = some(sums["tokens"]), some(sums["signed"])
    mean = lambda name: sums[name] / tokens
    found = {
        "entropy": mean("entropy"),
        "out_of_band": sums["uncertain_outside"] / some(sums["uncertain"]),
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
        "weight/max": largest["weight"],
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
        metrics: scalars by name, and under "measured" the `Measured` of the batch.
    """
    scalars = dict(jax.device_get(metrics))
    measured = scalars.pop("measured")
    return {name: float(value) for name, value in scalars.items()} | summarize(measured)


def over_updates(updates):
    """Returns the metrics of a step from those of its updates.

    They become means, quantiles included, but extremes of extremes.

    Args:
        updates: a list of {name: number}, in order; not empty.
    """
    found = {}
    for name in updates[-1]:
        join = EXTREMES.get(name.rsplit("/", 1)[-1], np.mean)
        found[name] = float(join([update[name] for update in updates]))
    found["out_of_band_last"] = float(updates[-1]["out_of_band"])
    return found


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


def effective_share(ratio, mask):
    """Returns the effective sample size of ratios as a share of the tokens, []."""
    ratio = jnp.where(mask, ratio, 0)
    squares = jnp.sum(mask) * jnp.sum(jnp.square(ratio))
    return jnp.square(jnp.sum(ratio)) / jnp.where(squares > 0, squares, 1)


# What follows only describes. Name -> (meaning, unit).

UPDATE = {
    "loss": ("the loss: a sum over tokens, weighted", "1"),
    "grad_norm": ("global norm of the gradient, before it is clipped", "1"),
    "update_norm": ("global norm of the change of the parameters", "1"),
    "update_ratio": ("update_norm over the global norm of the parameters", "share"),
    "entropy": ("mean entropy of the policy", "nats"),
    "out_of_band": (
        "of the tokens that the old policy gave less than 0.9, those whose ratio left "
        "[0.8, 1.2]",
        "share",
    ),
    "approx_kl": ("mean of -log ratio: KL(old policy, policy) by k1", "nats"),
    "approx_kl_k3": ("mean of ratio - 1 - log ratio: the same KL by k3", "nats"),
    "log_ratio/abs": ("mean of |log ratio|", "nats"),
    "ratio/mean": ("mean ratio, policy over old policy", "ratio"),
    "ratio/min": ("smallest ratio", "ratio"),
    "ratio/max": ("largest ratio", "ratio"),
    **{
        f"ratio/{name}": (
            f"{share:.0%} quantile of the ratio, to the next 5%, within [0.1, 10]",
            "ratio",
        )
        for name, share in RATIO_QUANTILES.items()
    },
    "ratio/eff_sample_size": (
        "effective sample size of the ratios over the number of tokens",
        "share",
    ),
    "advantage/mean": ("mean advantage, as the gate sees it: shaped, if at all", "1"),
    "advantage/std": ("standard deviation of the advantage", "1"),
    "advantage/abs": ("mean size of the advantage", "1"),
    "gate/mean": ("mean gate", "1"),
    "gate/closed": ("gates below one half", "share"),
    **{
        f"gate/{name}": (
            f"{share:.0%} quantile of the gate, to the next 0.02; above one, one",
            "1",
        )
        for name, share in GATE_QUANTILES.items()
    },
    "weight/mean": ("mean of g = gate * ratio, where the advantage is not zero", "1"),
    "weight/max": ("largest g", "1"),
    "steepness/max": (
        "log10 of the largest W = g / pi; grows without bound where a method diverges",
        "1",
    ),
    "utilization": (
        "of the plain importance-weighted gradient, by absolute size, what the gate "
        "lets through",
        "share",
    ),
    "zero_gradient/positive": ("of tokens with A > 0, those with g = 0", "share"),
    "zero_gradient/negative": ("of tokens with A < 0, those with g = 0", "share"),
    "clip_ratio/high": (
        "of tokens with A > 0, those right of a ratio of one whose gate is more than "
        "1e-3 from one; for hard clipping TRL's clip_ratio/high_mean, which divides by "
        "all tokens",
        "share",
    ),
    "clip_ratio/low": (
        "of tokens with A < 0, those left of a ratio of one whose gate is more than "
        "1e-3 from one; for hard clipping TRL's clip_ratio/low_mean, which divides by "
        "all tokens",
        "share",
    ),
    "clip_ratio/against_positive": (
        "of tokens with A > 0, those left of one whose gate is more than 1e-3 from one",
        "share",
    ),
    "clip_ratio/against_negative": (
        "of tokens with A < 0, those right of one whose gate is more than 1e-3 from "
        "one: what the dual clip closes, if nothing else gates there (verl's "
        "pg_clipfrac_lower, which divides by all tokens)",
        "share",
    ),
}
DETAILS = {
    "sigma": ("width of the Gaussian of MASPO", "ratio"),
    "bound_lower": ("lower bound of the ratio (DAC, BAPO)", "ratio"),
    "bound_upper": ("upper bound of the ratio (DAC, BAPO)", "ratio"),
}
OF_GATES = {
    **{
        f"{name}/{suffix}": (f"{what}: {which}", unit)
        for name, (what, unit) in DETAILS.items()
        for suffix, which in {
            "mean": "mean",
            **{
                suffix: f"{share:.0%} quantile, to the next 12%, within [0.1, 100]"
                for suffix, share in DETAIL_QUANTILES.items()
            },
        }.items()
    },
    "sigma_capped": ("tokens whose width `sigma_high` limits (MASPO)", "share"),
    "target_met": ("whether the fitted bounds reach their target (BAPO)", "share"),
}
RANGES = {
    f"q_below_{end:g}/{sign}_{name}": (
        f"tokens with A {side} 0 that the old policy gave q in [{start:g}, {end:g}"
        f"{']' if end == 1 else ')'}: {what}",
        unit,
    )
    for start, end in zip([0, *BUCKETS], [*BUCKETS, 1], strict=True)
    for sign, side in zip(SIGNS, "><", strict=True)
    for name, what, unit in (
        ("share", "of all tokens", "share"),
        ("weight", "mean of g", "1"),
        ("closed", "gates below one half", "share"),
    )
}
OUTCOMES = {
    "correct": "is correct",
    "wrong": "is wrong",
    "no_answer": "is not there",
    "unparsed": "cannot be read",
    "timeout": "took too long to check",
    "error": "made the checker fail",
    "undecided": "the checker could not decide: unparsed, timeout or error",
}
STEP = {
    "reward": (
        "mean reward of a response, before penalties; as the lengths, the shares of "
        "groups and of outcomes, over everything sampled, groups that dynamic sampling "
        "dropped included",
        "1",
    ),
    "overlong_penalty": ("mean of what is added for overlong responses", "1"),
    "response_length/mean": ("mean length, the end token included", "tokens"),
    "response_length/max": ("length of the longest response", "tokens"),
    "response_length/clip_ratio": (
        "responses cut off at the limit, without an end token",
        "share",
    ),
    "frac_groups_all_correct": ("groups whose answers are all correct", "share"),
    "frac_groups_all_wrong": ("groups without a correct answer", "share"),
    "frac_reward_zero_std": (
        "groups whose rewards are all equal, which teach nothing (as in TRL)",
        "share",
    ),
    "frac_groups_informative": (
        "groups whose rewards differ, of those kept by dynamic sampling",
        "share",
    ),
    "rounds": ("rollout batches drawn by dynamic sampling", "1"),
    **{
        f"verifier/{name}": (f"responses whose answer {what}", "share")
        for name, what in OUTCOMES.items()
    },
    "loss_mask/mean": ("tokens that take part in the loss", "share"),
    "kl": (
        "mean of k3 between the policy, before the first update, and the reference",
        "nats",
    ),
    "rollout_corr/kl": ("KL(sampler, trainer) by k1", "nats"),
    "rollout_corr/k3_kl": ("KL(sampler, trainer) by k3", "nats"),
    "rollout_corr/chi2_token": ("mean of ratio^2 - 1, trainer over sampler", "1"),
    "rollout_corr/ppl_ratio": (
        "mean over responses of the trainer's perplexity over the sampler's",
        "ratio",
    ),
    "rollout_corr/eff_sample_size": (
        "effective sample size of the ratios over the number of tokens",
        "share",
    ),
    "rollout_corr/logprob_diff_max": (
        "largest difference of log-probabilities, trainer and sampler",
        "nats",
    ),
    "rollout_corr/rollout_is_mean": ("mean factor of the correction", "1"),
    "rollout_corr/rollout_is_eff_sample_size": (
        "effective sample size of the factors over the number of tokens",
        "share",
    ),
    "rollout_corr/rollout_is_truncated": (
        "tokens weighed by less than their ratio",
        "share",
    ),
    "out_of_band_last": ("out_of_band of the last update of the step", "share"),
    "updates": ("optimizer updates so far", "updates"),
    "learning_rate": ("of the last update of the step", "1"),
}
TIME = {
    "tokens": ("response tokens drawn for the step", "tokens"),
    "tokens_per_second": ("tokens over time/step", "tokens/s"),
    "time/step": ("the whole step, but for validation", "s"),
    "time/overhead_share": (
        "reading problems, grading, writing and saving over time/step",
        "share",
    ),
    "time/reading_problems": ("waiting for problems and prompts", "s"),
    "time/sampling": ("drawing responses", "s"),
    "time/grading": ("checking answers", "s"),
    "time/updating": (
        "log-probabilities and advantages, and waiting for the updates of the step "
        "before, which the devices make while the next begins",
        "s",
    ),
    "time/writing": ("logs and responses; those behind a step count for the next", "s"),
    "time/saving": ("checkpoints; likewise", "s"),
    "time/programs_compiled": ("compiled or found compiled since the start", "1"),
}
VALIDATION = {
    "accuracy": ("responses to held-out problems that are correct", "share"),
    "reward": STEP["reward"],
    "response_length/mean": STEP["response_length/mean"],
}
SFT = {name: UPDATE[name] for name in ("loss", "entropy", "grad_norm")}
# Heading -> names. A step also has the mean, over its updates, of what an update has
# (of extremes the extreme).
SECTIONS = {
    "Of an update: stages `update` and `reinforcement`": UPDATE,
    "What gates say of themselves: stages `update` and `reinforcement`": OF_GATES,
    "By range of q: stages `update` and `reinforcement`": RANGES,
    "Of a step: stage `reinforcement`": STEP,
    "Where time goes: stage `reinforcement`": TIME,
    "Held-out problems: stage `validation`": VALIDATION,
    "Supervised training: stage `sft`": SFT,
}
DESCRIPTIONS = {name: what for part in SECTIONS.values() for name, what in part.items()}

INTRODUCTION = """\
# Metrics

Every line of a run's `metrics.jsonl`, and every scalar in TensorBoard, is named here.
Means and shares are over the response tokens that are trained, unless they say
otherwise. A is the advantage, q the probability of a token under the old policy, the
one the ratio is anchored to. Over the updates of a step, numbers become means,
quantiles included, but extremes of extremes.

This page is printed by `python -m maspo_jax.objectives.metrics`."""


def markdown():
    """Returns `docs/metrics.md`."""
    lines = [INTRODUCTION]
    for heading, part in SECTIONS.items():
        lines += ["", f"## {heading}", "", "| name | meaning | unit |", "|---|---|---|"]
        for name, (meaning, unit) in part.items():
            meaning = meaning.replace("|", "\\|")
            lines.append(f"| `{name}` | {meaning} | {unit} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
