"""GRPO on DeepSeek-R1-Distill-Qwen-1.5B (arXiv 2402.03300).

    maspo train experiments/papers/grpo_distill_1p5b.py --fsdp 8

For 8 accelerators and more; `distill.py` says what is known of the settings. Reported
by the papers: 48.4 avg@32 and 70.1 pass@32, means over six benchmarks. Obtained here:
not yet run.
"""

from distill import of

from maspo_jax.objectives import gates

experiment = of("1.5B", gates.Clip())
