"""Supervised fine-tuning, then MASPO, on a checkpoint and problems of your own.

    maspo train experiments/checkpoint.py

A checkpoint of Hugging Face (Qwen2, Qwen3 or Llama; a folder, or a name on the hub) and
two files of problems, for example GSM8K as released: correct the three names below.
The worked solutions of the training file are packed into rows for the first stage; the
template asks for the form they end in, `#### N`, as GSM8K's do. A file without
solutions, or a policy that needs none, takes `sft=None` and `templates.BOXED`.
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
from maspo_jax.data.prompts import FileTokenizer, template_of, templates
from maspo_jax.data.sources import ProblemFile
from maspo_jax.models.huggingface.load import Checkpoint
from maspo_jax.objectives import gates

CHECKPOINT = "checkpoint"
TRAIN = "train.jsonl"
HELD_OUT = "test.jsonl"

problems = ProblemFile(TRAIN)
experiment = Experiment(
    policy=Checkpoint(CHECKPOINT),
    tokenizer=FileTokenizer(CHECKPOINT),
    template=template_of(CHECKPOINT, templates.GSM8K_HASH),
    train_set=problems,
    validation=Validation(ProblemFile(HELD_OUT), problems=64, every=5),
    sft=Sft(
        phases=(Phase(problems, updates=100),),
        optimization=Optimization(1e-5, warmup_updates=10, schedule="cosine"),
        batch=16,
        row_length=1024,
    ),
    sampling=Sampling(prompts=32, responses=8, prompt_length=512, response_length=512),
    objective=Objective(gate=gates.Maspo()),
    optimization=Optimization(1e-6),
    updates=Updates(minibatches=4),
    steps=100,
)
