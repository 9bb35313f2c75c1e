"""DGPO on DeepSeek-R1-Distill-Qwen-14B (arXiv 2603.14389).

    maspo train experiments/papers/dgpo_distill_14b.py --fsdp 8

For 8 accelerators and more; `distill.py` says what is known of the settings. Reported
by the papers: 56.7 avg@32 and 70.4 pass@32, means over six benchmarks. Obtained here:
not yet run.
"""

from distill import of

from maspo_jax.objectives import gates

experiment = of("14B", gates.Dgpo(n=1, m=2))
