"""The tiny experiment with every part of the objective on, and few problems.

So few that every one is visited again.
"""

import dataclasses

from tiny import experiment as base

from maspo_jax.config import DynamicSampling, Objective, OverlongFilter, OverlongPenalty
from maspo_jax.data.sources import arithmetic
from maspo_jax.objectives import advantages, correction, gates, kl, terms

experiment = dataclasses.replace(
    base,
    train_set=arithmetic.Chains(numbers=2, size=12),
    sampling=dataclasses.replace(base.sampling, dynamic=DynamicSampling(rounds=3)),
    objective=Objective(
        gate=gates.Bapo(),
        advantage=advantages.smoothed,
        correction=correction.TokenTruncated(),
        rejection=correction.RejectTokens(),
        overlong_penalty=OverlongPenalty(buffer=4),
        overlong_filter=OverlongFilter(),
        kl_in_reward=kl.Penalty(0.01, kl.k1),
        advantage_shaping=advantages.EntropyAdvantage(),
        terms=(
            kl.Penalty(0.01, kl.k3),
            terms.EntropyBonus(0.001),
            terms.Imitation(0.1),
        ),
    ),
)
