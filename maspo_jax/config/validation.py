"""Refuses an experiment that cannot run, by the name of the setting at fault."""

import types
import typing

from maspo_jax.config import serialization
from maspo_jax.data.prompts import FileTokenizer, templates
from maspo_jax.data.sources.problem import problems_to_check
from maspo_jax.objectives import validation
from maspo_jax.rewards import declaration, golds, graders
from maspo_jax.settings import check_intervals, settings_in

PADDING = 1024  # rows of an embedding that stand for no token, at most


def validate(experiment, devices):
    """Refuses an experiment that cannot run on so many devices, before compiling."""
    _check_types(experiment)
    check_intervals(experiment)
    serialization.to_json(experiment)  # or it could not be recorded
    sampling, updates = experiment.sampling, experiment.updates
    validation.validate_objective(experiment.objective)
    _check_overlong(experiment.objective.overlong_penalty, sampling.response_length)
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


def _check_types(experiment):
    """Refuses values, in any part of an experiment, that are not what fields say."""
    for name, field, part in settings_in(experiment):
        kind, value = field.type, getattr(part, field.name)
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


def _check_overlong(penalty, limit):
    if penalty is not None and penalty.buffer > limit:
        raise ValueError(
            f"objective.overlong_penalty.buffer={penalty.buffer}: must not exceed "
            f"sampling.response_length={limit}"
        )


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


def _graded_sources(experiment):
    return (
        ("train_set", experiment.train_set),
        ("validation.source", experiment.validation.source),
    )


def _check_graders(experiment):
    for name, source in _graded_sources(experiment):
        problems = problems_to_check(source)
        check_grader(experiment.template, experiment.grading.grader, problems, name)


def check_answers(experiment):
    """Refuses problems too many of whose answers our checker cannot read.

    Another grader, which need not read them by value, is trusted with all.

    Returns:
        A line for each source of problems: how many there are, in words.
    """
    grading, lines = experiment.grading, []
    if getattr(grading.grader, "amend", None) is None:
        return lines
    for name, source in _graded_sources(experiment):
        problems = list(problems_to_check(source))
        unread = [each for each in problems if golds.fault(each.answer) is not None]
        if not unread:
            lines.append(f"{name}: the checker reads all of {len(problems)} answers")
            continue
        share = len(unread) / len(problems)
        line = (
            f"{name}: the checker cannot read {len(unread)} of {len(problems)} answers "
            f"({share:.1%})"
        )
        if share > grading.unreadable:
            first = unread[0]
            raise ValueError(
                f"{line}, such as {first.answer!r:.60} of {first.id} "
                f"({golds.fault(first.answer)}), and grading.unreadable="
                f"{grading.unreadable:g}: only their own spelling would earn a reward. "
                "Name the column of the answers, leave those problems out, or raise "
                "it; `maspo data FILE` shows them"
            )
        lines.append(line)
    return lines


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
    forms = [f"\\boxed{{{gold}}}", "\\boxed{?}", "Answer: ?", "#### ?"]
    for response in ("", gold, *forms):
        try:
            declaration.asked(grader, response, gold)
        except Exception as fault:
            reason = " ".join(f"{type(fault).__name__}: {fault}".split())
            raise ValueError(
                f"grading.grader={name} fails on response {response!r:.40} to answer "
                f"{gold!r:.40}: {reason}; return a rewards.Verdict, a bool or a finite "
                "number for any response"
            ) from fault


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
