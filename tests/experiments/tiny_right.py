"""`tiny.py`, warmed up until some of its answers are right."""

import dataclasses

from tiny import experiment as tiny

from maspo_jax.config import Optimization, Phase, WarmUp
from maspo_jax.data import arithmetic

experiment = dataclasses.replace(
    tiny,
    warm_up=WarmUp(
        phases=(Phase(arithmetic.Chains(numbers=2, direct=1.0, seed=2), updates=300),),
        optimization=Optimization(1e-2, warmup_updates=20, schedule="linear"),
        batch=32,
    ),
)
