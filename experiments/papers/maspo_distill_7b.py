"""MASPO on DeepSeek-R1-Distill-Qwen-7B (arXiv 2602.17550).

    maspo train experiments/papers/maspo_distill_7b.py --fsdp 8

For 8 accelerators and more; `distill.py` says what is known of the settings. Reported
by the papers: 61.8 avg@32 and 79.8 pass@32, means over six benchmarks. Obtained here:
not yet run.
"""

from distill import of

from maspo_jax.objectives import gates

experiment = of("7B", gates.Maspo(alpha=0.3))
