"""MASPO on DeepSeek-R1-Distill-Qwen-1.5B (arXiv 2602.17550).

    maspo train experiments/papers/maspo_distill_1p5b.py --fsdp 8

For 8 accelerators and more; `distill.py` says what is known of the settings. Reported
by the papers: 51.4 avg@32 and 72.9 pass@32, means over six benchmarks. Obtained here:
not yet run.
"""

from distill import of

from maspo_jax.objectives import gates

experiment = of("1.5B", gates.Maspo(alpha=0.5))
