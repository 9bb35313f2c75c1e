"""CISPO on DeepSeek-R1-Distill-Qwen-1.5B (arXiv 2506.13585).

    maspo train experiments/papers/cispo_distill_1p5b.py --fsdp 8

For 8 accelerators and more; `distill.py` says what is known of the settings. Reported
by the papers: 47.8 avg@32 and 71.5 pass@32, means over six benchmarks. Obtained here:
not yet run.
"""

from distill import of

from maspo_jax.objectives import gates

experiment = of("1.5B", gates.Cispo())
