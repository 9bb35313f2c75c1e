"""`maspo evaluate`."""

import dataclasses
from typing import Annotated, Literal

import tyro

from maspo_jax import api
from maspo_jax.cli.console import command, status
from maspo_jax.evaluation.benchmarks import Evaluation


@dataclasses.dataclass(frozen=True)
class Drawing:
    """How responses are drawn."""

    samples: int = Evaluation.samples
    """responses to each problem"""
    temperature: float = Evaluation.temperature
    """0 is greedy"""
    top_p: float = Evaluation.top_p
    """the mass of the tokens drawn from"""
    prompt_length: int | None = None
    """the most tokens of a prompt; None: those of the policy's training"""
    response_length: int | None = None
    """the most tokens of a response; None: those of the policy's training"""
    seed: int = Evaluation.seed
    """of the draws"""


@dataclasses.dataclass(frozen=True)
class Devices:
    """Where it runs; the scores do not depend on it."""

    batch: int = api.BATCH
    """responses drawn at a time; fewer take less memory"""
    fsdp: int = 1
    """devices that share one copy of the parameters"""
    pod: Annotated[str | None, tyro.conf.arg(metavar="WHERE")] = None
    """`auto` on a TPU pod, or HOST:PORT/INDEX/COUNT for other processes"""


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Evaluates a policy: avg@k, pass@k and majority@k, with intervals.

    FILE holds problems; BENCHMARK names them: aime24, aime25, amc23, math500, minerva
    and olympiadbench are graded and counted as published, any other name will do.
    Started again, it goes on where it stopped.
    """

    policy: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="POLICY")]
    """the folder of a run, or a checkpoint of Hugging Face: its folder or its name"""
    benchmarks: Annotated[
        tyro.conf.Positional[tuple[str, ...]],
        tyro.conf.arg(metavar="BENCHMARK=FILE", help_behavior_hint="(one or more)"),
    ]
    """files of problems; FILE alone is named like the file"""
    drawing: tyro.conf.OmitArgPrefixes[Drawing] = Drawing()
    devices: tyro.conf.OmitArgPrefixes[Devices] = Devices()
    template: str | None = None
    """what a checkpoint of Hugging Face is asked for; None: boxed"""
    dtype: Literal["float32", "bfloat16"] | None = None
    """of a checkpoint's parameters; None: float32"""
    step: int | None = None
    """of a run's checkpoint; None: the newest"""
    out: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    """for the results; None: evaluations/ and the name of the policy"""

    def run(self):
        """Draws what is missing and counts. Returns the exit status."""
        with status("loading JAX"):
            from maspo_jax import distributed
            from maspo_jax.runs.interrupts import Interrupted

        if not self.benchmarks:
            raise ValueError("evaluate on what? give BENCHMARK=FILE, one or more")
        distributed.initialize_distributed(self.devices.pod)
        drawing = dataclasses.asdict(self.drawing)
        given = {name: value for name, value in drawing.items() if value is not None}
        try:
            policy = api.load_policy(
                self.policy,
                step=self.step,
                dtype=self.dtype,
                template=self.template,
                fsdp=self.devices.fsdp,
            )
            api.evaluate(
                policy,
                self.benchmarks,
                out=self.out,
                batch=self.devices.batch,
                **given,
            )
        except Interrupted as interrupted:
            print(f"{interrupted}. The same command goes on from there.", flush=True)
            return interrupted.exit_status


main = command(Evaluate)
