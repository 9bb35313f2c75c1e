"""SAPO on DeepSeek-R1-Distill-Qwen-7B (arXiv 2511.20347).

    maspo train experiments/papers/sapo_distill_7b.py --fsdp 8

For 8 accelerators and more; `distill.py` says what is known of the settings. Reported
by the papers: 58.8 avg@32 and 76.3 pass@32, means over six benchmarks. Obtained here:
not yet run.
"""

from distill import of

from maspo_jax.objectives import gates, token_weights

experiment = of("7B", gates.Sapo(), weight=token_weights.sequence_mean)
