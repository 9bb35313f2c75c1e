"""SAPO on DeepSeek-R1-Distill-Qwen-1.5B (arXiv 2511.20347).

    maspo train experiments/papers/sapo_distill_1p5b.py --fsdp 8

For 8 accelerators and more; `distill.py` says what is known of the settings. Reported
by the papers: 51.2 avg@32 and 71.5 pass@32, means over six benchmarks. Obtained here:
not yet run.
"""

from distill import of

from maspo_jax.objectives import gates, token_weights

experiment = of("1.5B", gates.Sapo(), weight=token_weights.sequence_mean)
