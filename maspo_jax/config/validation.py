"""Refuses an experiment that cannot run, by the name of the setting at fault."""

import dataclasses
import math
import re
import types
import typing

from maspo_jax.config import serialization
from maspo_jax.data.prompts import FileTokenizer, templates
from maspo_jax.data.sources.problem import problems_to_check
from maspo_jax.objectives import validation
from maspo_jax.objectives.gates.settings import within
from maspo_jax.rewards import declaration, graders

PADDING = 1024  # rows of an embedding that stand for no token, at most

# Setting -> the interval it lives in. Those of the warm-up's optimization, too.
LIMITS = {
    "steps": "[0, inf)",
    "seed": "[0, 4294967296)",
    "fsdp": "[1, inf)",
    "checkpoint_every": "[1, inf)",
    "rollouts_every": "[1, inf)",
    "sampling.prompts": "[1, inf)",
    "sampling.responses": "[1, inf)",
    "sampling.prompt_length": "[1, inf)",
    "sampling.response_length": "[1, inf)",
    "sampling.dynamic.rounds": "[1, inf)",
    "sampling.temperature": "(0, inf)",  # nothing is learned from a greedy policy
    "updates.minibatches": "[1, inf)",
    "updates.epochs": "[1, inf)",
    "updates.microbatches": "[1, inf)",
    "validation.problems": "[1, inf)",
    "validation.every": "[1, inf)",
    "validation.temperature": "[0, inf)",
    "validation.samples": "[1, inf)",
    "grading.workers": "[1, inf)",
    "grading.deadline": "(0, inf)",
    "optimization.learning_rate": "(0, inf)",
    "optimization.final_fraction": "[0, 1]",
    "optimization.beta1": "[0, 1)",
    "optimization.beta2": "[0, 1)",
    "optimization.epsilon": "(0, inf)",
    "optimization.weight_decay": "[0, inf)",
    "optimization.max_grad_norm": "(0, inf)",
    "sft.batch": "[1, inf)",
    "sft.checkpoint_every": "[1, inf)",
    "sft.prompt_length": "[1, inf)",
    "sft.response_length": "[1, inf)",
    "sft.row_length": "[2, inf)",
    "sft.microbatches": "[1, inf)",
    "sft.phases.*.updates": "[1, inf)",
}


def validate(experiment, devices):
    """Refuses an experiment that cannot run on so many devices, before compiling."""
    _check_types(experiment)
    sampling, updates = experiment.sampling, experiment.updates
    settings = serialization.leaves(serialization.to_json(experiment))
    _check_finite(settings)
    _check_limits(settings)
    validation.validate_objective(experiment.objective, sampling.response_length)
    if experiment.decoder.dtype != "float32":
        raise ValueError(
            f"policy.dtype={experiment.decoder.dtype!r}: small updates would vanish in "
            "it; train in float32"
        )
    _check_group(experiment)
    if experiment.validation.samples > 1 and experiment.validation.temperature == 0:
        raise ValueError(
            f"validation.samples={experiment.validation.samples} with "
            "validation.temperature=0: greedy responses to a problem are all the same; "
            "draw 1, or raise the temperature"
        )
    _divides("the number of devices", devices, "fsdp", experiment.fsdp)
    _divides("sampling.prompts", sampling.prompts, "devices", devices)
    _divides(
        "sampling.prompts", sampling.prompts, "updates.minibatches", updates.minibatches
    )
    _divides(
        "the responses of a minibatch",
        sampling.prompts // updates.minibatches * sampling.responses,
        "devices * updates.microbatches",
        devices * updates.microbatches,
    )
    total = experiment.steps * experiment.updates_per_step
    _check_rise("optimization", experiment.optimization, total)
    if experiment.sft:
        sft = experiment.sft
        _divides(
            "sft.batch",
            sft.batch,
            "devices * sft.microbatches",
            devices * sft.microbatches,
        )
        total = sum(phase.updates for phase in sft.phases)
        _check_rise("sft.optimization", sft.optimization, total)
    check_vocabulary(experiment.decoder.vocabulary, experiment.tokenizer)
    _check_graders(experiment)


def _check_types(part, prefix=""):
    """Refuses values, in any part of an experiment, that are not what fields say."""
    for field in dataclasses.fields(part):
        name, kind, value = prefix + field.name, field.type, getattr(part, field.name)
        if typing.get_origin(kind) is typing.Literal:
            if value not in typing.get_args(kind):
                choices = ", ".join(typing.get_args(kind))
                raise ValueError(f"{name}={value!r}: choose one of {choices}")
        elif isinstance(kind, type | types.UnionType) and kind is not typing.Any:
            wanted = int | float if kind is float else kind
            if not isinstance(value, wanted) or (
                isinstance(value, bool) and kind is not bool
            ):
                names = [each.__name__ for each in typing.get_args(kind) or (kind,)]
                raise ValueError(
                    f"{name}={value!r}: must be of type {' or '.join(names)}"
                )
        for number, item in enumerate(value) if isinstance(value, tuple) else ():
            if dataclasses.is_dataclass(item):
                _check_types(item, f"{name}.{number}.")
        if dataclasses.is_dataclass(value):
            _check_types(value, f"{name}.")


def _check_group(experiment):
    size, wanted = len(experiment.train_set), experiment.sampling.prompts
    if size < wanted:
        raise ValueError(
            f"train_set has {size} problems but sampling.prompts={wanted}: a batch "
            "would hold some of them twice; lower one or raise the other"
        )
    if experiment.sampling.responses > 1:
        return
    if validation.compares(experiment.objective):
        raise ValueError(
            "sampling.responses=1: objective.advantage compares responses to one "
            "prompt; take at least 2, or an advantage without a group, such as "
            "advantages.whitened"
        )
    if experiment.sampling.dynamic:
        raise ValueError(
            "sampling.responses=1: sampling.dynamic looks for groups with right and "
            "wrong answers; take at least 2, or leave it out"
        )


def _check_limits(settings):
    """Refuses numbers outside of their interval in `LIMITS`."""
    for name, value in settings.items():
        general = re.sub(r"\.\d+\.", ".*.", name).replace(
            "sft.optimization", "optimization"
        )
        interval = LIMITS.get(general)
        if interval and value is not None and not within(value, interval):
            raise ValueError(f"{name}={value}: must lie in {interval}")


def check_vocabulary(rows, tokenizer):
    """Refuses a policy whose embedding has not the rows that a tokenizer needs.

    Checkpoints pad the embedding to a round number of rows, which stand for nothing:
    those of Qwen2.5-7B by 399. Many more are those of tokens this tokenizer lacks.
    """
    size = tokenizer.size
    padding = min(PADDING, size // 4) if isinstance(tokenizer, FileTokenizer) else 0
    if not size <= rows <= size + padding:
        raise ValueError(
            f"policy.vocabulary={rows} but the tokenizer has {size} tokens; "
            "make them equal, or take the tokenizer of the policy's own checkpoint"
        )


def _check_graders(experiment):
    for name, source in (
        ("train_set", experiment.train_set),
        ("validation.source", experiment.validation.source),
    ):
        problems = problems_to_check(source)
        check_grader(experiment.template, experiment.grading.grader, problems, name)


def check_grader(template, grader, problems, name_of_problems):
    """Refuses a grader that cannot read what a template or some problems ask for.

    A template that names no form, such as `PLAIN`, goes with each grader: it is open,
    and the problems themselves, or a warm-up on their solutions, may ask for one. What
    a grader returns is tried on the first problem, before anything is drawn.

    Args:
        template: a `Template` or a `ChatTemplate`.
        grader: as that of a `config.Grading`; see `rewards.declaration`.
        problems: iterable of `Problem`.
        name_of_problems: for the message.
    """
    name = declaration.name_of(grader)
    if not callable(grader):
        raise ValueError(
            f"grading.grader={grader!r}: must be a function of (response, gold)"
        )
    asked = getattr(template, "answer", None)
    reads = getattr(grader, "reads", ())
    if asked and reads and asked not in reads:
        fitting = [style.name for style in templates.ALL if style.answer in reads]
        remedy = "Choose another grader"
        if fitting:
            remedy = f"Ask with one of {', '.join(fitting)}, or choose another grader"
        raise ValueError(
            f"template {getattr(template, 'name', template)!r} asks for an answer as "
            f"`{asked}`, but grading.grader={name} reads only `{', '.join(reads)}`: a "
            f"right answer would earn nothing. {remedy}"
        )
    for number, problem in enumerate(problems):
        if not declaration.takes(grader, problem.answer):
            others = [
                declaration.name_of(other)
                for other in graders.ALL
                if declaration.takes(other, problem.answer)
            ]
            raise ValueError(
                f"{name_of_problems} holds {problem.id}, whose answer "
                f"{problem.answer!r:.60} grading.grader={name} cannot check; take one "
                f"that can: {', '.join(others)}"
            )
        if number == 0:
            _try_grader(grader, name, problem.answer)
        if not hasattr(grader, "takes"):
            return


def _try_grader(grader, name, gold):
    """Refuses a grader that fails, or returns no reward, on what any policy writes."""
    for response in ("", gold):
        try:
            declaration.as_verdict(grader(response, gold))
        except Exception as fault:
            reason = " ".join(f"{type(fault).__name__}: {fault}".split())
            raise ValueError(
                f"grading.grader={name} fails on response {response!r:.40} to answer "
                f"{gold!r:.40}: {reason}; return a rewards.Verdict, a bool or a finite "
                "number for any response"
            ) from fault


def _check_finite(settings):
    for name, value in settings.items():
        if isinstance(value, float) and not math.isfinite(value):
            # Those of an objective are checked with it: some may be infinite.
            if math.isnan(value) or not name.startswith("objective."):
                raise ValueError(f"{name}={value}: must be finite")


def _divides(what, number, by_what, by):
    if number % by:
        raise ValueError(
            f"{what}={number} is not a multiple of {by_what}={by}; change one of them"
        )


def _check_rise(name, optimization, updates):
    rise = optimization.warmup_updates
    if not 0 <= rise < max(updates, 1):
        raise ValueError(
            f"{name}.warmup_updates={rise}: must be at least 0 and below the number of "
            f"updates, {updates}"
        )
