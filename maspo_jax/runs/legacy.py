"""What runs of earlier versions wrote, in the words of this one."""

SIGNS = ("positive", "negative")
LEVELS = ("p01", "p05", "p50", "p95", "p99")

# Name of a metric in an old `metrics.jsonl` -> its name now; others are the same.
METRICS = {
    "kl_k3": "approx_kl_k3",
    "log_ratio_abs": "log_ratio/abs",
    "ratio": "ratio/mean",
    "ratio_min": "ratio/min",
    "ratio_max": "ratio/max",
    "effective_share": "ratio/eff_sample_size",
    "advantage": "advantage/mean",
    "advantage_std": "advantage/std",
    "advantage_abs": "advantage/abs",
    "gate": "gate/mean",
    "gate_closed": "gate/closed",
    "weight_mean": "weight/mean",
    "weight_max": "weight/max",
    "steepness_max": "steepness/max",
    "zero_gradient_positive": "zero_gradient/positive",
    "zero_gradient_negative": "zero_gradient/negative",
    "gated_positive": "clip_ratio/high",
    "gated_negative": "clip_ratio/low",
    "gated_against_positive": "clip_ratio/against_positive",
    "gated_against_negative": "clip_ratio/against_negative",
    "sigma": "sigma/mean",
    "bound_lower": "bound_lower/mean",
    "bound_upper": "bound_upper/mean",
    **{
        f"{name}_{level}": f"{name}/{level}"
        for name in ("gate", "ratio", "sigma", "bound_lower", "bound_upper")
        for level in LEVELS
    },
    **{
        f"q_below_{end}_{sign}_{what}": f"q_below_{end}/{sign}_{what}"
        for end in ("0.001", "0.01", "0.1", "0.5", "0.9", "1")
        for sign in SIGNS
        for what in ("share", "weight", "closed")
    },
    "mismatch_max": "rollout_corr/logprob_diff_max",
    "mismatch_k1": "rollout_corr/kl",
    "mismatch_k3": "rollout_corr/k3_kl",
    "mismatch_chi2": "rollout_corr/chi2_token",
    "mismatch_perplexity_ratio": "rollout_corr/ppl_ratio",
    "mismatch_effective_share": "rollout_corr/eff_sample_size",
    "correction": "rollout_corr/rollout_is_mean",
    "correction_effective_share": "rollout_corr/rollout_is_eff_sample_size",
    "correction_truncated": "rollout_corr/rollout_is_truncated",
    "kept": "loss_mask/mean",
    "reference_k3": "kl",
    "length": "response_length/mean",
    "length_max": "response_length/max",
    "truncated": "response_length/clip_ratio",
    "groups_all_right": "frac_groups_all_correct",
    "groups_all_wrong": "frac_groups_all_wrong",
    "groups_informative": "frac_groups_informative",
}
