"""ASPO on DeepSeek-R1-Distill-Qwen-7B (arXiv 2510.06062).

    maspo train experiments/papers/aspo_distill_7b.py --fsdp 8

For 8 accelerators and more; `distill.py` says what is known of the settings. Reported
by the papers: 59.0 avg@32 and 76.3 pass@32, means over six benchmarks. Obtained here:
not yet run.
"""

from distill import of

from maspo_jax.objectives import gates

experiment = of("7B", gates.Aspo())
