"""Real problems, a policy from scratch, bytes for tokens: it runs, it cannot learn."""

import pathlib

from maspo_jax.config import (
    Experiment,
    Objective,
    Optimization,
    Sampling,
    Updates,
    Validation,
)
from maspo_jax.data.prompts import templates
from maspo_jax.data.prompts.tokenizer import ByteTokenizer
from maspo_jax.data.sources import ProblemFile
from maspo_jax.models.decoder import DecoderConfig
from maspo_jax.objectives import gates

FILES = pathlib.Path(__file__).parents[1] / "reference_data" / "gsm8k"
tokenizer = ByteTokenizer()

experiment = Experiment(
    policy=DecoderConfig(
        vocabulary=tokenizer.size,
        width=16,
        depth=1,
        query_heads=2,
        key_value_heads=1,
        head_width=8,
        feed_forward=32,
    ),
    tokenizer=tokenizer,
    template=templates.BOXED,
    train_set=ProblemFile(str(FILES / "train.jsonl")),
    validation=Validation(ProblemFile(str(FILES / "test.jsonl")), problems=8),
    sampling=Sampling(prompts=8, responses=2, prompt_length=640, response_length=24),
    objective=Objective(gate=gates.Maspo()),
    optimization=Optimization(1e-3),
    updates=Updates(minibatches=2),
    steps=2,
)
