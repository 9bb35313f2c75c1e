"""BAPO on DeepSeek-R1-Distill-Qwen-1.5B (arXiv 2510.18927).

    maspo train experiments/papers/bapo_distill_1p5b.py --fsdp 8

For 8 accelerators and more; `distill.py` says what is known of the settings. Reported
by the papers: 48.4 avg@32 and 70.0 pass@32, means over six benchmarks. Obtained here:
not yet run.
"""

from distill import of

from maspo_jax.objectives import gates

experiment = of("1.5B", gates.Bapo())
