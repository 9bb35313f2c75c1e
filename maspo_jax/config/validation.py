"""Refuses an experiment that cannot run, by the name of the setting at fault."""

import dataclasses
import math
import types
import typing

from maspo_jax.config import serialization
from maspo_jax.data.prompts import templates
from maspo_jax.data.prompts.tokenizer import FileTokenizer
from maspo_jax.data.sources.arithmetic import Chains
from maspo_jax.objectives import validation
from maspo_jax.rewards import countdown, grade, graders
from maspo_jax.settings import check_interval

# Grader -> the forms of answers that it reads. One of yours is trusted with any. A
# template that names no form, such as `PLAIN`, goes with each of them: it is open, and
# the problems themselves, or a warm-up on their solutions, may ask for one.
READS = {
    grade: (templates.BOX, templates.ANSWER_LINE, templates.HASHES),
    graders.dapo: (templates.ANSWER_LINE,),
    graders.gsm8k: (templates.HASHES,),
    graders.hendrycks: (templates.BOX,),
    graders.prime: (templates.BOX,),
    graders.countdown: (templates.BOX, templates.ANSWER_LINE, templates.HASHES),
}
PADDING = 1024  # rows of an embedding that stand for no token, at most
ALIKE = 256  # problems looked at of a source that makes them on the spot


def validate(experiment, devices):
    """Refuses an experiment that cannot run on so many devices, before compiling."""
    _check_types(experiment)
    sampling, updates = experiment.sampling, experiment.updates
    settings = serialization.leaves(serialization.to_json(experiment))
    _check_finite(settings)
    _check_intervals(experiment)
    validation.check_objective(experiment.objective, sampling.response_length)
    if experiment.decoder.dtype != "float32":
        raise ValueError(
            f"policy.dtype={experiment.decoder.dtype!r}: small updates would vanish in "
            "it; train in float32"
        )
    _check_group(experiment)
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
        _divides("sft.batch", sft.batch, "devices", devices)
        total = sum(phase.updates for phase in sft.phases)
        _check_rise("sft.optimization", sft.optimization, total)
    check_vocabulary(experiment.decoder.vocabulary, experiment.tokenizer)
    _check_graders(experiment)


def _fields(part, prefix=""):
    """Yields the dotted name, the field and the value of every setting of a part."""
    for field in dataclasses.fields(part):
        name, value = prefix + field.name, getattr(part, field.name)
        yield name, field, value
        inside = {f"{name}.": value}
        if isinstance(value, tuple):
            inside = {f"{name}.{number}.": item for number, item in enumerate(value)}
        for place, item in inside.items():
            if dataclasses.is_dataclass(item) and not isinstance(item, type):
                yield from _fields(item, place)


def _check_types(experiment):
    """Refuses values, in any part of an experiment, that are not what fields say."""
    for name, field, value in _fields(experiment):
        kind = field.type
        if typing.get_origin(kind) is typing.Literal:
            if value not in typing.get_args(kind):
                choices = ", ".join(typing.get_args(kind))
                raise ValueError(f"{name}={value!r}: choose one of {choices}")
        elif _is_class(kind):
            wanted = int | float if kind is float else kind
            if not isinstance(value, wanted) or (
                isinstance(value, bool) and kind is not bool
            ):
                names = [each.__name__ for each in typing.get_args(kind) or (kind,)]
                raise ValueError(
                    f"{name}={value!r}: must be of type {' or '.join(names)}"
                )


def _is_class(kind):
    """Returns whether `isinstance` decides a type; it does not for a protocol."""
    if kind is typing.Any or getattr(kind, "_is_protocol", False):
        return False
    return isinstance(kind, type | types.UnionType)


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


def _check_intervals(experiment):
    """Refuses numbers outside of the interval that their field states.

    Those of an objective are checked with it.
    """
    for name, field, value in _fields(experiment):
        if not name.startswith("objective."):
            check_interval(field, value, name)


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
        rows = min(len(source), ALIKE) if isinstance(source, Chains) else len(source)
        problems = (source[index] for index in range(rows))
        check_grader(experiment.template, experiment.grading.grader, problems, name)


def check_grader(template, grader, problems, name_of_problems):
    """Refuses a grader that cannot read what a template or some problems ask for.

    Args:
        template: a `Template` or a `ChatTemplate`.
        grader: as that of a `config.Grading`. One that is not in `READS` is trusted.
        problems: iterable of `Problem`.
        name_of_problems: for the message.
    """
    name = getattr(grader, "__name__", type(grader).__name__)
    asked = getattr(template, "answer", None)
    of_whom = grade if isinstance(grader, graders.Tolerant) else grader
    reads = next((forms for known, forms in READS.items() if known is of_whom), ())
    if asked and reads and asked not in reads:
        fitting = [style.name for style in templates.ALL if style.answer in reads]
        raise ValueError(
            f"template {getattr(template, 'name', template)!r} asks for an answer as "
            f"`{asked}`, but grading.grader={name} reads only `{', '.join(reads)}`: a "
            f"right answer would earn nothing. Ask with one of {', '.join(fitting)}, "
            "or choose another grader"
        )
    for problem in problems if reads else ():
        is_task = countdown.task_of(problem.answer) is not None
        if is_task and grader is not graders.countdown:
            raise ValueError(
                f"{name_of_problems} holds Countdown tasks, such as {problem.id}: "
                f"grading.grader={name} cannot check them; take graders.countdown"
            )
        if grader is graders.countdown and not is_task:
            raise ValueError(
                f"{name_of_problems} holds {problem.id}, which is no Countdown task: "
                "grading.grader=countdown checks nothing else; choose another grader"
            )


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
