"""DGPO on DeepSeek-R1-Distill-Qwen-7B (arXiv 2603.14389).

    maspo train experiments/papers/dgpo_distill_7b.py --fsdp 8

For 8 accelerators and more; `distill.py` says what is known of the settings. Reported
by the papers: 62.0 avg@32 and 77.9 pass@32, means over six benchmarks. Obtained here:
not yet run.
"""

from distill import of

from maspo_jax.objectives import gates

experiment = of("7B", gates.Dgpo(n=1, m=2))
