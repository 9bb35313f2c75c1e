"""Entropy Advantage on DeepSeek-R1-Distill-Qwen-1.5B (arXiv 2506.14758).

    maspo train experiments/papers/entropy_adv_distill_1p5b.py --fsdp 8

For 8 accelerators and more; `distill.py` says what is known of the settings. Reported
by the papers: 46.8 avg@32 and 68.1 pass@32, means over six benchmarks. Obtained here:
not yet run.
"""

from distill import of

from maspo_jax.objectives import gates
from maspo_jax.objectives.advantages import EntropyAdvantage

experiment = of(
    "1.5B",
    gates.Clip(high=0.28),
    advantage_shaping=EntropyAdvantage(alpha=0.4, kappa=2.0),
)
