"""MASPO on chains of sums: the default, minutes on a laptop, no download.

    maspo train experiments/arithmetic.py

A policy of 0.1 M parameters first learns from worked solutions that are mostly cut
down to their answer: it can write the steps of `3+8-2=?` but prefers to guess.
Rewarded for right answers only, it finds out that writing the steps pays.

Obtained here, held-out, greedy: 7.4% -> 98.8% (seed 0).
"""

from maspo_jax.config import (
    Experiment,
    Objective,
    Optimization,
    Phase,
    Sampling,
    Sft,
    Updates,
    Validation,
)
from maspo_jax.data.sources import arithmetic
from maspo_jax.models.decoder import DecoderConfig
from maspo_jax.objectives import gates

tokenizer = arithmetic.tokenizer()

experiment = Experiment(
    policy=DecoderConfig(vocabulary=tokenizer.size, width=64, depth=2, remat="dots"),
    tokenizer=tokenizer,
    train_set=arithmetic.Chains(numbers=6),
    validation=Validation(arithmetic.Chains(numbers=6, split="test"), every=5),
    sft=Sft(
        microbatch_tokens=1024,
        phases=(
            Phase(arithmetic.Chains(numbers=6, direct=0.05, seed=1), updates=520),
            Phase(arithmetic.Chains(numbers=6, direct=0.7, seed=2), updates=110),
        ),
        optimization=Optimization(
            5e-3, warmup_updates=50, schedule="linear", beta2=0.99
        ),
    ),
    sampling=Sampling(prompts=16, responses=16, prompt_length=14, response_length=50),
    objective=Objective(gate=gates.Maspo(alpha=0.3)),
    optimization=Optimization(1e-4),
    updates=Updates(minibatches=4, microbatch_tokens=1024),
    steps=40,
)
