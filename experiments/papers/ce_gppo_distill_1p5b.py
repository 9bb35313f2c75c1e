"""CE-GPPO on DeepSeek-R1-Distill-Qwen-1.5B (arXiv 2509.20712).

    maspo train experiments/papers/ce_gppo_distill_1p5b.py --fsdp 8

For 8 accelerators and more; `distill.py` says what is known of the settings. Reported
by the papers: 49.2 avg@32 and 70.7 pass@32, means over six benchmarks. Obtained here:
not yet run.
"""

from distill import of

from maspo_jax.objectives import gates

experiment = of("1.5B", gates.CeGppo(left=0.5))
