"""BAPO on DeepSeek-R1-Distill-Qwen-7B (arXiv 2510.18927).

    maspo train experiments/papers/bapo_distill_7b.py --fsdp 8

For 8 accelerators and more; `distill.py` says what is known of the settings. Reported
by the papers: 59.1 avg@32 and 77.1 pass@32, means over six benchmarks. Obtained here:
not yet run.
"""

from distill import of

from maspo_jax.objectives import gates

experiment = of("7B", gates.Bapo())
