"""GRPO on DeepSeek-R1-Distill-Qwen-14B (arXiv 2402.03300).

    maspo train experiments/papers/grpo_distill_14b.py --fsdp 8

For 8 accelerators and more; `distill.py` says what is known of the settings. Reported
by the papers: 53.6 avg@32 and 67.4 pass@32, means over six benchmarks. Obtained here:
not yet run.
"""

from distill import of

from maspo_jax.objectives import gates

experiment = of("14B", gates.Clip())
