"""MASPO on DeepSeek-R1-Distill-Qwen-14B (arXiv 2602.17550).

    maspo train experiments/papers/maspo_distill_14b.py --fsdp 8

For 8 accelerators and more; `distill.py` says what is known of the settings. Reported
by the papers: 56.4 avg@32 and 71.1 pass@32, means over six benchmarks. Obtained here:
not yet run.
"""

from distill import of

from maspo_jax.objectives import gates

experiment = of("14B", gates.Maspo(alpha=0.3))
