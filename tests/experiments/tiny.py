"""Every part of a run, in seconds: right answers are rare, but there are some."""

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
    policy=DecoderConfig(
        vocabulary=tokenizer.size,
        width=32,
        depth=1,
        query_heads=2,
        key_value_heads=1,
        head_width=8,
        feed_forward=32,
    ),
    tokenizer=tokenizer,
    train_set=arithmetic.Chains(numbers=2),
    validation=Validation(
        arithmetic.Chains(numbers=2, split="test"), problems=12, every=2
    ),
    sft=Sft(
        phases=(
            Phase(arithmetic.Chains(numbers=2, direct=1.0, seed=1), updates=60),
            Phase(arithmetic.Chains(numbers=2, direct=1.0, seed=2), updates=60),
        ),
        optimization=Optimization(1e-2, warmup_updates=5, schedule="linear"),
        batch=16,
        checkpoint_every=10,
    ),
    sampling=Sampling(prompts=8, responses=4, prompt_length=6, response_length=14),
    objective=Objective(gate=gates.Maspo()),
    optimization=Optimization(1e-3),
    updates=Updates(minibatches=2),
    steps=4,
    checkpoint_every=2,
    rollouts_every=2,
)
