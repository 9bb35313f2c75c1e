"""`tiny.py`, warmed up until some of its answers are right."""

import dataclasses

from tiny import experiment as tiny

from maspo_jax.config import Optimization, Phase, Sft
from maspo_jax.data.sources import arithmetic

experiment = dataclasses.replace(
    tiny,
    sft=Sft(
        phases=(Phase(arithmetic.Chains(numbers=2, direct=1.0, seed=2), updates=300),),
        optimization=Optimization(1e-2, warmup_updates=20, schedule="linear"),
        batch=32,
    ),
)
