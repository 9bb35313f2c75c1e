"""Entropy Advantage on DeepSeek-R1-Distill-Qwen-7B (arXiv 2506.14758).

    maspo train experiments/papers/entropy_adv_distill_7b.py --fsdp 8

For 8 accelerators and more; `distill.py` says what is known of the settings. Reported
by the papers: 58.2 avg@32 and 76.1 pass@32, means over six benchmarks. Obtained here:
not yet run.
"""

from distill import of

from maspo_jax.objectives import gates
from maspo_jax.objectives.advantages import EntropyAdvantage

experiment = of(
    "7B",
    gates.Clip(high=0.28),
    advantage_shaping=EntropyAdvantage(alpha=0.4, kappa=2.0),
)
