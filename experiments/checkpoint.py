"""Supervised fine-tuning, then MASPO, on a checkpoint and problems of your own.

    python -m maspo_jax.train experiments/checkpoint.py

A checkpoint of Hugging Face (Qwen2, Qwen3 or Llama; a folder, or a name on the hub) and
two files of problems, for example GSM8K as released: correct the three names below.
The worked solutions of the training file are packed into rows for the first stage; the
template asks for the form they end in, `#### N`, as GSM8K's do. A file without
solutions, or a policy that needs none, takes `warm_up=None` and `templates.BOXED`.
"""

from maspo_jax.config import (
    Experiment,
    HeldOut,
    Objective,
    Optimization,
    Phase,
    Sampling,
    Updates,
    WarmUp,
)
from maspo_jax.data import templates
from maspo_jax.data.chat import template_of
from maspo_jax.data.problems import ProblemFile
from maspo_jax.data.tokenizer import FileTokenizer
from maspo_jax.models.pretrained import Checkpoint
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
    held_out=HeldOut(ProblemFile(HELD_OUT), problems=64, every=5),
    warm_up=WarmUp(
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
