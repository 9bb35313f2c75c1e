"""What the runs of both papers share, as far as it is known.

Known (arXiv 2602.17550 and 2603.14389, or notes about them): the models
DeepSeek-R1-Distill-Qwen 1.5B, 7B and 14B, DAPO-Math-17k, 512 prompts a step in 16
updates of 32, no KL; and the tables, which report avg@32 and pass@32 over AIME24,
AIME25, AMC23, MATH500, Minerva and OlympiadBench.

Stand-ins: responses per prompt, lengths, learning rate, its warm-up, weight decay and
the number of steps are those of FlowRL and DCPO, whose data and batches are the same;
the instruction asks for a box. Matrix products are float32 at the highest precision,
the default here; `--policy.compute-dtype bfloat16` takes what others train with.

Two files are read, relative to the current folder: `data/dapo_math_17k.parquet` (or
change `TRAIN`; repeated rows are dropped) and `data/math500.jsonl`, for the curve.

Memory, by arithmetic; `maspo plan` asks the compilers: parameters, gradient and
optimizer take 16 bytes per parameter over the devices that share them (`--fsdp N`), 28,
122 and 236 GB in all; the sampler holds the policy whole on every device, 7, 30 and 59
GB, beside its keys and values, or a part of it with `--tensor M`.
`updates.microbatches` is for 8 devices: one response at a time on each; with N of them,
`--updates.microbatches` at most 256 / N.
"""

from maspo_jax.config import (
    Experiment,
    Objective,
    Optimization,
    Sampling,
    Updates,
    Validation,
)
from maspo_jax.data.prompts import templates
from maspo_jax.data.prompts.chat import ChatTemplate
from maspo_jax.data.prompts.tokenizer import FileTokenizer
from maspo_jax.data.sources import ProblemFile
from maspo_jax.data.sources.selections import Distinct
from maspo_jax.models.huggingface.load import Checkpoint

TRAIN = "data/dapo_math_17k.parquet"
HELD_OUT = "data/math500.jsonl"


def of(size, gate, **objective):
    """Returns the run of a method.

    Args:
        size: "1.5B", "7B" or "14B".
        gate: from `objectives.gates`.
        objective: other fields of its `Objective`.
    """
    name = f"deepseek-ai/DeepSeek-R1-Distill-Qwen-{size}"
    return Experiment(
        policy=Checkpoint(name),
        tokenizer=FileTokenizer(name),
        template=ChatTemplate(name, templates.BOXED),
        train_set=Distinct(ProblemFile(TRAIN)),
        validation=Validation(ProblemFile(HELD_OUT), problems=256, every=20),
        sampling=Sampling(
            prompts=512, responses=8, prompt_length=2048, response_length=8192
        ),
        objective=Objective(gate=gate, **objective),
        optimization=Optimization(
            1e-6, warmup_updates=10, beta2=0.999, weight_decay=0.1
        ),
        updates=Updates(minibatches=16, microbatches=32),
        steps=400,
        checkpoint_every=20,
    )
