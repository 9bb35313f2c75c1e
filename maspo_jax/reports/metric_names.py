"""What the metrics of a run mean: every name of its `metrics.jsonl`.

Names are those of TRL and verl where either has one, and `ELSEWHERE` says what they
call the others. `docs/metrics.md` is printed from here:

    python -m maspo_jax.reports.metric_names > docs/metrics.md
"""

from maspo_jax.markdown import markdown_table
from maspo_jax.objectives.metrics import (
    BUCKETS,
    DETAIL_QUANTILES,
    GATE_QUANTILES,
    RATIO_QUANTILES,
    SIGNS,
)

# Name -> (meaning, unit).

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
    "uncertain_tokens": ("how many tokens out_of_band is a share of", "tokens"),
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
        "as TRL's clip_ratio/high_mean, but a share of the tokens with A > 0: those "
        "right of a ratio of one whose gate is more than 1e-3 from one",
        "share",
    ),
    "clip_ratio/low": (
        "as TRL's clip_ratio/low_mean, but a share of the tokens with A < 0: those "
        "left of a ratio of one whose gate is more than 1e-3 from one",
        "share",
    ),
    "clip_ratio/against_positive": (
        "of tokens with A > 0, those left of one whose gate is more than 1e-3 from one",
        "share",
    ),
    "clip_ratio/against_negative": (
        "as verl's actor/pg_clipfrac_lower, but a share of the tokens with A < 0: "
        "those right of one whose gate is more than 1e-3 from one, which the dual clip "
        "closes, if nothing else gates there",
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
    "unproved": "is wrong because nothing proved it right: as a timeout, it may be "
    "decided otherwise where there is less to do",
}
STEP = {
    "reward": (
        "mean reward of a response, before penalties; in a step, as the lengths, the "
        "shares of groups and of outcomes, over everything sampled, groups that "
        "dynamic sampling dropped included",
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
    "padding": ("columns of packed rows without a token, while scored", "share"),
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
    "uncertain_tokens_last": ("uncertain_tokens of that update", "tokens"),
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
    "time/grading": ("checking answers, but for waves beside sampling", "s"),
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
# Name -> what TRL and verl call the same number, where it is another name or theirs.
ELSEWHERE = {
    "loss": "TRL loss",
    "grad_norm": "TRL grad_norm, verl actor/grad_norm",
    "entropy": "TRL entropy, verl actor/entropy",
    "approx_kl": "verl actor/ppo_kl",
    "advantage/mean": "verl critic/advantages/mean",
    "reward": "TRL reward, verl critic/score/mean",
    "response_length/mean": "TRL completions/mean_length, verl response_length/mean",
    "response_length/max": "TRL completions/max_length, verl response_length/max",
    "response_length/clip_ratio": "TRL completions/clipped_ratio",
    "kl": "TRL kl",
    "rollout_corr/kl": "verl, the same",
    "rollout_corr/k3_kl": "verl, the same",
    "rollout_corr/chi2_token": "verl, the same",
    "rollout_corr/ppl_ratio": "verl, the same",
    "rollout_corr/rollout_is_mean": "verl, the same",
    "rollout_corr/rollout_is_eff_sample_size": "verl, the same",
    "rollout_corr/logprob_diff_max": "TRL sampling/sampling_logp_difference/max",
    "learning_rate": "TRL learning_rate, verl actor/lr",
    "time/step": "verl timing_s/step",
    "time/sampling": "verl timing_s/gen",
}
DESCRIPTIONS = {name: what for part in SECTIONS.values() for name, what in part.items()}

INTRODUCTION = """\
# Metrics

Every line of a run's `metrics.jsonl`, and every scalar in TensorBoard, is named here.
Means and shares are over the response tokens that are trained, unless they say
otherwise. A is the advantage, q the probability of a token under the old policy, the
one the ratio is anchored to. Over the updates of a step, numbers become means,
quantiles included, but extremes of extremes.

This page is printed by `python -m maspo_jax.reports.metric_names`."""


def markdown():
    """Returns `docs/metrics.md`."""
    text = f"{INTRODUCTION}\n"
    for heading, part in SECTIONS.items():
        rows = [(f"`{name}`", *about) for name, about in part.items()]
        heads = ["name", "meaning", "unit"]
        if part.keys() & ELSEWHERE:
            rows = [(*row, ELSEWHERE.get(row[0][1:-1], "")) for row in rows]
            heads.append("in TRL, verl")
        text += f"\n## {heading}\n\n{markdown_table(heads, rows, left=4)}"
    return text


if __name__ == "__main__":
    print(markdown(), end="")
