"""The default experiment with shorter chains: it learns within half a minute."""

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
    policy=DecoderConfig(vocabulary=tokenizer.size, width=48, depth=2),
    tokenizer=tokenizer,
    train_set=arithmetic.Chains(numbers=3),
    validation=Validation(arithmetic.Chains(numbers=3, split="test"), every=5),
    sft=Sft(
        phases=(
            Phase(arithmetic.Chains(numbers=3, direct=0.05, seed=1), updates=350),
            Phase(arithmetic.Chains(numbers=3, direct=0.7, seed=2), updates=100),
        ),
        optimization=Optimization(
            5e-3, warmup_updates=20, schedule="linear", beta2=0.999
        ),
    ),
    sampling=Sampling(prompts=16, responses=16, prompt_length=8, response_length=28),
    objective=Objective(gate=gates.Maspo(alpha=0.3)),
    optimization=Optimization(3e-4),
    updates=Updates(minibatches=4),
    steps=15,
)
