"""`maspo evaluate`."""

import dataclasses
import difflib
import pathlib
from typing import Annotated, Literal

import tyro

from maspo_jax import api
from maspo_jax.cli.console import command, status
from maspo_jax.data.prompts import templates
from maspo_jax.evaluation.protocol import Evaluation
from maspo_jax.settings import setting

_PROTOCOL = {field.name: field for field in dataclasses.fields(Evaluation)}
_TEMPLATES = ", ".join(template.name for template in templates.ALL)


def _protocol(name, **changed):
    """Returns a field like that of `Evaluation`, with its interval."""
    field = _PROTOCOL[name]
    told = {"default": field.default, "metadata": field.metadata} | changed
    return dataclasses.field(**told)


def _length(name):
    """Returns how the default of a length is shown."""
    usual = _PROTOCOL[name].default
    return tyro.conf.arg(
        metavar="INT",
        help_behavior_hint=f"(default: as in training; {usual} for Hugging Face)",
    )


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How responses are sampled."""

    samples: int = _protocol("samples")
    """responses to each problem"""
    temperature: float = _protocol("temperature")
    """sampling temperature; 0 is greedy, and needs --samples 1"""
    top_p: float = _protocol("top_p")
    """nucleus sampling: the probability mass to sample from"""
    prompt_length: Annotated[int | None, _length("prompt_length")] = _protocol(
        "prompt_length", default=None
    )
    """maximum length of a prompt, in tokens"""
    response_length: Annotated[int | None, _length("response_length")] = _protocol(
        "response_length", default=None
    )
    """maximum length of a response, in tokens"""
    seed: int = _protocol("seed")
    """random seed of sampling"""


@dataclasses.dataclass(frozen=True)
class Which:
    """Which checkpoint of a run, or how a Hugging Face checkpoint is used."""

    step: Annotated[
        int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="(default: newest)")
    ] = None
    """run: its checkpoint, by the step"""
    template: Annotated[
        str | None,
        tyro.conf.arg(
            metavar="NAME",
            help=f"Hugging Face: instructions around a question, one of {_TEMPLATES}",
            help_behavior_hint="(default: boxed)",
        ),
    ] = None
    dtype: Annotated[
        Literal["float32", "bfloat16"] | None,
        tyro.conf.arg(
            metavar="{float32,bfloat16}", help_behavior_hint="(default: float32)"
        ),
    ] = None
    """Hugging Face: dtype of the parameters"""


@dataclasses.dataclass(frozen=True)
class Devices:
    """Where it runs; the scores do not depend on it."""

    batch: Annotated[
        int | None,
        tyro.conf.arg(
            metavar="INT",
            help_behavior_hint="(default: 128, or what the memory holds)",
        ),
    ] = setting(None, "[1, inf)")
    """responses sampled at a time; fewer take less memory"""
    fsdp: int = setting(1, "[1, inf)")
    """devices that share one copy of the parameters"""
    tensor: int = setting(1, "[1, inf)")
    """devices of one process that share the heads of the policy"""
    gather: Literal["once", "layer"] = "once"
    """when devices of --fsdp gather the policy; layer takes less memory, and longer"""
    pod: Annotated[
        str | None,
        tyro.conf.arg(metavar="WHERE", help_behavior_hint="(default: one process)"),
    ] = None
    """multi-host: `auto` on a TPU pod or SLURM, else HOST:PORT/INDEX/COUNT"""
    compilation_cache: Annotated[
        str,
        tyro.conf.arg(
            metavar="DIR", help_behavior_hint="(default: ~/.cache/maspo_jax/jax)"
        ),
    ] = ""
    """where compiled programs are kept, a folder or gs:// path; none: nowhere"""


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Evaluates a policy: avg@k, pass@k and majority@k, with 95% intervals.

    The same command on the same folder resumes an evaluation that was stopped. A FILE
    of problems without a name is named like the file. Six names have a meaning: aime24,
    aime25, amc23, math500, minerva and olympiadbench have to hold the published number
    of problems, and minerva grades numbers to 1%.

    The exit status is 0 at the end, 2 for an error, and 128 plus the number of the
    signal if one has stopped it.
    """

    policy: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="POLICY")]
    """folder of a run, or a Hugging Face checkpoint: its folder or its name"""
    benchmarks: Annotated[
        tyro.conf.Positional[tuple[str, ...]],
        tyro.conf.arg(
            metavar="[BENCHMARK=]FILE ...", help_behavior_hint="(one or more)"
        ),
    ]
    """files of problems, with the names of the benchmarks"""
    out: Annotated[
        str | None,
        tyro.conf.arg(
            metavar="DIR", help_behavior_hint="(default: evaluations/POLICY)"
        ),
    ] = None
    """folder for the results"""
    sampling: tyro.conf.OmitArgPrefixes[Sampling] = Sampling()
    checkpoint: tyro.conf.OmitArgPrefixes[Which] = Which()
    devices: tyro.conf.OmitArgPrefixes[Devices] = Devices()

    def run(self):
        """Samples what is missing and scores. Returns the exit status."""
        given = {
            name: value
            for name, value in dataclasses.asdict(self.sampling).items()
            if value is not None
        }
        Evaluation(**given)  # refuses what cannot be sampled, before anything is loaded
        if not self.benchmarks:
            raise ValueError("evaluate on what? give BENCHMARK=FILE, one or more")
        if pathlib.Path(self.policy, "config.json").is_file():
            from maspo_jax.models.huggingface import architecture

            if not architecture.is_run(self.policy):  # said before JAX is loaded
                architecture.check_folder(self.policy)
        with status("loading JAX"):
            for remark in names_alike(self.benchmarks):
                print(remark)
            from maspo_jax import distributed
            from maspo_jax.runs.interrupts import Interrupted

        distributed.initialize_distributed(self.devices.pod)
        try:
            policy = api.load_policy(
                self.policy,
                step=self.checkpoint.step,
                dtype=self.checkpoint.dtype,
                template=self.checkpoint.template,
                fsdp=self.devices.fsdp,
                tensor=self.devices.tensor,
                gather=self.devices.gather,
                compilation_cache=self.devices.compilation_cache,
            )
            if policy.step is None and policy.template in templates.ALL:
                print(
                    f"note: {self.policy} has no chat template: it is asked in plain "
                    f"text, with the template {policy.template.name}"
                )
            api.evaluate(
                policy,
                self.benchmarks,
                out=self.out,
                batch=self.devices.batch,
                **given,
            )
        except Interrupted as interrupted:
            print(f"{interrupted}. The same command resumes it.", flush=True)
            return interrupted.exit_status


def names_alike(benchmarks):
    """Returns a remark on each benchmark whose name is almost one with a meaning."""
    from maspo_jax.evaluation.benchmarks import PUBLISHED

    remarks = []
    for word in benchmarks:
        name = word.partition("=")[0] if "=" in word else pathlib.Path(word).stem
        close = difflib.get_close_matches(name, PUBLISHED, n=1, cutoff=0.75)
        if close and name not in PUBLISHED:
            remarks.append(
                f"note: {name} is a name of your own; {close[0]}, which is close to "
                "it, would check the number of problems and bring its grader"
            )
    return remarks


main = command(Evaluate)
