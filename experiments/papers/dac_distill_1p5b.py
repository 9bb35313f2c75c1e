"""DAC on DeepSeek-R1-Distill-Qwen-1.5B (arXiv 2509.02333).

    maspo train experiments/papers/dac_distill_1p5b.py --fsdp 8

For 8 accelerators and more; `distill.py` says what is known of the settings. Reported
by the papers: 50.1 avg@32 and 71.8 pass@32, means over six benchmarks. Obtained here:
not yet run.
"""

from distill import of

from maspo_jax.objectives import gates

experiment = of("1.5B", gates.Dac())
