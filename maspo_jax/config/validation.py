"""Refuses an experiment that cannot run, by the name of the setting at fault."""

import functools
import inspect
import types
import typing

from maspo_jax import distributed
from maspo_jax.config import serialization
from maspo_jax.config.deadline import within
from maspo_jax.data import pipeline
from maspo_jax.data.prompts import FileTokenizer, render, templates
from maspo_jax.data.sources.problem import problems_to_check
from maspo_jax.models import attention
from maspo_jax.models.sharding import check_tensor
from maspo_jax.objectives import validation
from maspo_jax.rewards import declaration, golds, graders
from maspo_jax.settings import check_setting, settings_in

PATIENCE = 10.0  # seconds for one response, of a grader that has no deadline
RETURNS = (
    "return a rewards.Verdict, a bool or a finite number for any response, whatever a "
    "policy writes"
)
REMEDY = {TimeoutError: "a run waits for every response: make it faster"}
PADDING = 1024  # rows of an embedding that stand for no token, at most


def check_settings(experiment, devices, refusals, hosts=1):
    """Collects what is wrong with the settings of an experiment.

    Args:
        experiment: the `Experiment`.
        devices: how many there are.
        refusals: the `Refusals` that collect it.
        hosts: processes that have as many devices each.
    """
    _check_values(experiment, refusals)
    _check_readable(experiment, refusals)
    for reads, rule in _rules(experiment, devices, hosts):
        if refusals.unaffected(*reads):
            with refusals.of(*FAULTY.get(rule, ())):
                rule(experiment)
    for name, source in _graded_sources(experiment, refusals):
        if refusals.unaffected("grading.grader", "template"):
            with refusals.of("grading.grader"):
                grader, problems = experiment.grading.grader, problems_to_check(source)
                check_grader(experiment.template, grader, problems, name)
    if not refusals:
        with refusals.of():
            serialization.to_json(experiment)  # or it could not be recorded


def check_layout(experiment, devices, refusals, hosts=1, platform=None):
    """Collects what some devices cannot do or share. Reads no file of the experiment.

    Args:
        experiment: the `Experiment`; its policy is a `DecoderConfig`.
        devices: how many there are.
        refusals: the `Refusals` that collect it.
        hosts: processes that have as many devices each.
        platform: of the devices: cpu, gpu or tpu; None for that of JAX.
    """
    _check_values(experiment, refusals)
    for reads, rule in _layout_rules(experiment, devices, hosts, platform):
        if refusals.unaffected(*reads):
            with refusals.of():
                rule(experiment)


def _check_values(experiment, refusals):
    """Collects values of a wrong type, and numbers outside of their interval."""
    for name, field, part in settings_in(experiment):
        with refusals.of(name):
            check_type(name, field, getattr(part, field.name))
    for name, field, part in settings_in(experiment):
        if refusals.unaffected(name):
            with refusals.of(name):
                check_setting(name, field, part)


def _check_readable(experiment, refusals):
    """Collects what cannot be read: a checkpoint, a tokenizer, sources of problems."""
    if refusals.unaffected("policy"):
        with refusals.of("policy"):
            _ = experiment.decoder  # that of a checkpoint is read
    if refusals.unaffected("tokenizer"):
        with refusals.of("tokenizer"):
            tokenizer = experiment.tokenizer
            _ = tokenizer.size, tokenizer.eos_tokens, tokenizer.pad_token_id
    for name, source in _sources(experiment, refusals):
        with refusals.of(name):
            pipeline.check_not_empty(source)
            _check_problem(name, source[0])


def _check_problem(name, problem):
    """Refuses what is read of a source if it is no problem."""
    lacking = [
        each for each in ("id", "question", "answer") if not hasattr(problem, each)
    ]
    if lacking:
        raise ValueError(
            f"{name}: its first item is {problem!r:.60}, which has no "
            f"{', '.join(lacking)}; it must be a data.sources.Problem"
        )


def _rules(experiment, devices, hosts):
    """Yields (names of settings, what refuses an experiment if they do not fit)."""
    yield ("objective",), lambda _: validation.validate_objective(experiment.objective)
    yield ("objective", "sampling.response_length"), _check_overlong
    yield (
        ("policy", "tokenizer"),
        lambda _: check_vocabulary(experiment.decoder.vocabulary, experiment.tokenizer),
    )
    yield ("train_set", "sampling.prompts"), _check_train_set
    yield ("sampling", "objective"), _check_group
    yield ("validation.samples", "validation.temperature"), _check_greedy_samples
    yield ("validation.problems", "validation.source"), _check_validation_problems
    yield from _layout_rules(experiment, devices, hosts)
    yield ("optimization", "updates", "steps"), _check_warmup
    if experiment.sft:
        yield (
            ("sft", "sampling.prompt_length", "sampling.response_length"),
            lambda _: _check_sft_tokens(experiment),
        )
        yield ("sft.phases", "sft.optimization"), _check_sft_warmup


def _layout_rules(experiment, devices, hosts, platform=None):
    """Yields those of `_rules` on what devices can do and share. None reads."""
    yield ("policy",), _check_dtype
    reads = "policy", "sft.row_length", "updates.row_length"
    yield reads, lambda _: _check_attention(experiment, platform)
    yield ("tensor",), lambda _: _check_tensor_group(experiment, devices // hosts)
    yield ("policy", "tensor"), _check_tensor
    yield ("fsdp", "tensor"), lambda _: _check_fsdp(experiment, devices)
    yield (
        ("sampling.prompts",),
        lambda _: _divides(
            "sampling.prompts", experiment.sampling.prompts, "devices", devices
        ),
    )
    yield (
        ("sampling.prompts", "sampling.wave"),
        lambda _: _check_wave(experiment.sampling, devices),
    )
    yield (
        ("sampling.prompts", "sampling.responses", "updates"),
        lambda _: _check_minibatches(experiment.sampling, experiment.updates, devices),
    )
    yield (
        ("sampling.prompt_length", "sampling.response_length", "updates"),
        lambda _: _check_microbatch_tokens(
            "updates",
            experiment.updates,
            "sampling.prompt_length + sampling.response_length",
            experiment.sampling.row_length,
        ),
    )
    yield (
        ("sampling.prompt_length", "sampling.response_length", "updates"),
        lambda _: _check_row_length(experiment.updates, experiment.sampling),
    )
    if experiment.sft:
        yield (
            ("sft.batch", "sft.microbatches"),
            lambda _: _check_sft_batch(experiment.sft, devices),
        )


def _sources(experiment, refusals):
    """Yields (name, source) of all sources of problems that nothing is wrong with."""
    if refusals.unaffected("train_set"):
        yield "train_set", experiment.train_set
    if refusals.unaffected("validation.source"):
        yield "validation.source", experiment.validation.source
    if experiment.sft and refusals.unaffected("sft.phases"):
        for number, phase in enumerate(experiment.sft.phases):
            yield f"sft.phases.{number}.source", phase.source


def _graded_sources(experiment, refusals):
    """Yields (name, source) of those whose problems are graded."""
    for name, source in _sources(experiment, refusals):
        if not name.startswith("sft"):
            yield name, source


def check_type(name, field, value):
    """Refuses a value, in any part of an experiment, that is not what a field says."""
    _check_kind(name, field.type, value)


def _check_kind(name, kind, value):
    if typing.get_origin(kind) is typing.Literal:
        if value not in typing.get_args(kind):
            choices = ", ".join(typing.get_args(kind))
            raise ValueError(f"{name}={value!r}: choose one of {choices}")
    elif typing.get_origin(kind) is tuple and typing.get_args(kind)[1:] == (...,):
        if not isinstance(value, tuple | list):
            raise ValueError(f"{name}={value!r}: must be of type tuple")
        for place, each in enumerate(value):
            _check_kind(f"{name}.{place}", typing.get_args(kind)[0], each)
    elif getattr(kind, "_is_protocol", False):
        _check_members(name, kind, value)
    elif _is_class(kind):
        wanted = int | float if kind is float else kind
        if not isinstance(value, wanted) or (
            isinstance(value, bool) and kind is not bool
        ):
            names = [each.__name__ for each in typing.get_args(kind) or (kind,)]
            raise ValueError(f"{name}={value!r}: must be of type {' or '.join(names)}")


def _check_members(name, protocol, value):
    """Refuses what lacks a method or an attribute of a protocol."""
    if isinstance(value, type):
        raise ValueError(f"{name}={value.__name__}: is a class; call it")
    members = [
        member
        for member in vars(protocol)
        if not member.startswith("_") or member in ("__len__", "__getitem__")
    ]
    lacking = [member for member in members if not _has(value, member)]
    if lacking:
        raise ValueError(
            f"{name}={value!r:.60}: must be a {protocol.__name__}, and has no "
            f"{', '.join(lacking)}"
        )


def _has(value, member):
    """Returns whether an object has a member; a property is not asked."""
    if member.startswith("__"):
        return hasattr(type(value), member)
    missing = object()
    found = inspect.getattr_static(value, member, missing) is not missing
    return found or hasattr(value, member)


def _is_class(kind):
    """Returns whether `isinstance` decides a type; it does not for a protocol."""
    if kind is typing.Any:
        return False
    return isinstance(kind, type | types.UnionType)


def _check_dtype(experiment):
    dtype = experiment.decoder.dtype
    if dtype != "float32":
        raise ValueError(
            f"policy.dtype={dtype!r}: small updates would vanish in it; train "
            "in float32"
        )


def _check_tensor(experiment):
    check_tensor(experiment.decoder, experiment.tensor)


def _check_tensor_group(experiment, own):
    what = f"the {own} devices of a process"
    distributed.check_divides("tensor", experiment.tensor, own, what)


def _check_fsdp(experiment, devices):
    by, size = "fsdp", experiment.fsdp
    if experiment.tensor > 1:
        by, size = "fsdp * tensor", size * experiment.tensor
    _divides("the number of devices", devices, by, size)


def _check_attention(experiment, platform):
    decoder, sft = experiment.decoder, experiment.sft
    packed = sft is not None and sft.row_length is not None
    settings = decoder.attention, decoder.product_dtype, decoder.head_width
    attention.check_attention(*settings, packed, platform)
    if experiment.updates.row_length is not None:
        try:
            attention.check_attention(*settings, True, platform)
        except ValueError as error:
            raise ValueError(
                f"updates.row_length={experiment.updates.row_length}: {error}, or set "
                "updates.length_buckets instead"
            ) from error


def _check_greedy_samples(experiment):
    settings = experiment.validation
    if settings.samples > 1 and settings.temperature == 0:
        raise ValueError(
            f"validation.samples={settings.samples} with validation.temperature=0: "
            "greedy responses to a problem are all the same; draw 1, or raise the "
            "temperature"
        )


def _check_validation_problems(experiment):
    settings = experiment.validation
    if len(settings.source) < settings.problems:
        raise ValueError(
            f"validation.problems={settings.problems} but its source has only "
            f"{len(settings.source)}"
        )


def _check_train_set(experiment):
    size, wanted = len(experiment.train_set), experiment.sampling.prompts
    if size < wanted:
        raise ValueError(
            f"train_set has {size} problems but sampling.prompts={wanted}: a batch "
            "would hold some of them twice; lower one or raise the other"
        )


def _check_group(experiment):
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


def _check_wave(sampling, devices):
    wave, prompts = sampling.wave, sampling.prompts
    sizes = range(devices, prompts + 1, devices)
    choices = [size for size in sizes if prompts % size == 0]
    # Where there is none, it is the number of prompts that does not fit.
    if wave is not None and choices and wave not in choices:
        raise ValueError(
            f"sampling.wave={wave}: must divide sampling.prompts={prompts} and be a "
            f"multiple of the devices, {devices}; choose one of {choices}, or None for "
            "as many as the memory of the devices holds"
        )


def _check_minibatches(sampling, updates, devices):
    prompts, minibatches = sampling.prompts, updates.minibatches
    _divides("sampling.prompts", prompts, "updates.minibatches", minibatches)
    responses = prompts // minibatches * sampling.responses
    what = f"the responses of a minibatch={responses}"
    _check_microbatches("updates", updates.microbatches, what, responses, devices)


def _check_row_length(updates, sampling):
    """Refuses packed rows that are too short, or too long for a microbatch."""
    length, tokens = updates.row_length, updates.microbatch_tokens
    if length is None:
        return
    longest = sampling.row_length - 1  # nothing follows the last one
    if length < longest:
        raise ValueError(
            f"updates.row_length={length}: a prompt with its response takes up to "
            "sampling.prompt_length + sampling.response_length - 1 = "
            f"{longest} tokens of a row; take at least {longest}"
        )
    if tokens is not None and tokens < length:
        raise ValueError(
            f"updates.microbatch_tokens={tokens}: not one row fits, of "
            f"updates.row_length={length} tokens; take at least {length}, or shorter "
            "rows"
        )
    if updates.length_buckets > 1:
        raise ValueError(
            f"updates.row_length={length} with updates.length_buckets="
            f"{updates.length_buckets}: packed rows have one width; set "
            "length_buckets to 1, or leave the row length out"
        )


def _check_overlong(experiment):
    penalty = experiment.objective.overlong_penalty
    limit = experiment.sampling.response_length
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


def check_problems(experiment, refusals, begun=False):
    """Collects what is wrong with the problems of an experiment.

    Args:
        experiment: the `Experiment`.
        refusals: the `Refusals` that collect it; what they hold already is not looked
            at again.
        begun: whether a run goes on: what it cannot change any more is said alone.

    Returns:
        What else was found, in lines.
    """
    if refusals.unaffected("template", "tokenizer", "sampling", "sft"):
        _check_lengths(experiment, refusals)
    remarks = []
    for name, source in _graded_sources(experiment, refusals):
        if refusals.unaffected("grading"):
            with refusals.of():
                remarks += _check_answers(experiment.grading, name, source)
    if refusals.unaffected("train_set", "validation.source", "validation.problems"):
        with refusals.of():
            remarks += _check_held_out(experiment, begun)
    return remarks


def _check_lengths(experiment, refusals):
    """Collects, for each setting of a length, the longest text that it cannot hold."""
    asked = {"prompt": ("sampling.prompt_length", experiment.sampling.prompt_length)}
    solved = _lengths_of_sft(experiment)
    longest = {}  # (part, setting, limit) -> (number of tokens, problem)
    for name, source in _sources(experiment, refusals):
        limits = solved if name.startswith("sft") else asked
        with refusals.of(name):
            found = pipeline.longest(
                source, experiment.template, experiment.tokenizer, limits.keys()
            )
            for part, (size, problem) in found.items():
                key = part, *limits[part]
                longest[key] = max(
                    longest.get(key, (0, None)),
                    (size, problem),
                    key=lambda pair: pair[0],
                )
    for (part, setting, limit), (size, problem) in longest.items():
        with refusals.of():
            try:
                render.check_length(problem, part, size, limit)
            except ValueError as error:
                leave_out = " with data.sources.Fitting" * (part == "prompt")
                raise ValueError(f"{setting}={limit}: {error}{leave_out}") from error


def _lengths_of_sft(experiment):
    """Returns {part of a text: (the setting that limits it, the limit)}."""
    sampling, sft = experiment.sampling, experiment.sft
    if sft and sft.row_length:
        return {"row": ("sft.row_length", sft.row_length)}
    limits = {}
    for part in ("prompt", "response"):
        name = f"{part}_length"
        own, usual = getattr(sft, name, None), getattr(sampling, name)
        limits[part] = (f"sft.{name}", own) if own else (f"sampling.{name}", usual)
    return limits


def _check_answers(grading, name, source):
    """Refuses problems too many of whose answers our checker cannot read.

    Another grader, which need not read them by value, is trusted with all.

    Returns:
        What was found, in lines.
    """
    if getattr(grading.grader, "amend", None) is None:
        return []
    problems = list(problems_to_check(source))
    unread = [each for each in problems if golds.fault(each.answer) is not None]
    if not unread:
        return [f"{name}: the checker reads all of {len(problems)} answers"]
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
    return [line]


def _check_held_out(experiment, begun):
    """Refuses to measure a policy on nothing but problems that it is trained on.

    Questions are the same if they differ in white space and case only. Of a uniform
    source the first problems are looked at.

    Returns:
        A warning of some such problems, in lines.
    """
    source, count = experiment.validation.source, experiment.validation.problems
    questions = [_spelled(source[index]) for index in range(count)]
    trained = set(map(_spelled, problems_to_check(experiment.train_set)))
    same = source == experiment.train_set
    seen = count if same else sum(question in trained for question in questions)
    if seen == count and not begun:
        raise ValueError(
            f"validation.source: all of its {count} problems stand in train_set, so "
            "that it would measure what was learned by heart. Give other problems, or "
            "hold some out, for example train_set=Unseen(problems, "
            "benchmarks=(First(problems, 256),)) of data.sources"
        )
    if not seen:
        return []
    return [
        f"warning: {seen} of the {count} problems of validation.source "
        f"({seen / count:.1%}) stand in train_set, too: its accuracy counts what was "
        "learned by heart. data.sources.Unseen leaves them out of a training set"
    ]


def _spelled(problem):
    return "".join(problem.question.split()).casefold()


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
            ask = functools.partial(declaration.asked, grader, response, gold)
            within(PATIENCE, ask)
        except KeyboardInterrupt:
            raise
        except BaseException as fault:  # SystemExit, too, would end a run
            reason = " ".join(f"{type(fault).__name__}: {fault}".split())
            raise ValueError(
                f"grading.grader={name} fails on response {response!r:.40} to answer "
                f"{gold!r:.40}: {reason}; {REMEDY.get(type(fault), RETURNS)}"
            ) from fault


def _divides(what, number, by_what, by):
    if number % by:
        raise ValueError(
            f"{what}={number} is not a multiple of {by_what}={by}; change one of them"
        )


def _check_sft_batch(sft, devices):
    what = f"sft.batch={sft.batch}"
    _check_microbatches("sft", sft.microbatches, what, sft.batch, devices)


def _check_microbatches(name, count, what, rows, devices):
    """Refuses a number of microbatches that the rows of a device cannot be split into.

    Args:
        name: of the settings.
        count: the number.
        what: the rows of an update, with their number.
        rows: that number.
        devices: that share them.
    """
    parts = devices * count
    if rows % parts == 0:
        return
    remedy = "change one of them"
    if rows % devices == 0:
        own = rows // devices
        fitting = [n for n in range(1, min(count, own) + 1) if own % n == 0]
        remedy = f"the largest {name}.microbatches below it that does is {fitting[-1]}"
    raise ValueError(
        f"{what} is not a multiple of devices * {name}.microbatches={parts}; {remedy}"
    )


def _check_sft_tokens(experiment):
    length, names = experiment.sft_row_length, "sft.row_length"
    if not experiment.sft.row_length:
        names = "sft.prompt_length + sft.response_length"
    _check_microbatch_tokens("sft", experiment.sft, names, length)


def _check_microbatch_tokens(name, settings, names, length):
    """Refuses a size of microbatches beside their number, or below that of one row.

    Args:
        name: of the settings.
        settings: `Updates` or `Sft`.
        names: the settings that the length of a row comes from.
        length: tokens of a row.
    """
    tokens, parts = settings.microbatch_tokens, settings.microbatches
    if tokens is None:
        return
    if parts > 1:
        raise ValueError(
            f"{name}.microbatch_tokens={tokens} with {name}.microbatches={parts}: "
            "one follows from the other; set microbatches to 1, or leave the tokens out"
        )
    if tokens < length:
        raise ValueError(
            f"{name}.microbatch_tokens={tokens}: not one row fits, of {names}={length} "
            f"tokens; take at least {length}, or shorter rows"
        )


def _check_warmup(experiment):
    total = experiment.steps * experiment.updates_per_step
    _check_rise("optimization", experiment.optimization, total)


def _check_sft_warmup(experiment):
    total = sum(phase.updates for phase in experiment.sft.phases)
    _check_rise("sft.optimization", experiment.sft.optimization, total)


def _check_rise(name, optimization, updates):
    rise = optimization.warmup_updates
    if not 0 <= rise < max(updates, 1):
        raise ValueError(
            f"{name}.warmup_updates={rise}: must be at least 0 and below the number of "
            f"updates, {updates}"
        )


# Rule -> the setting at fault, about which other rules have nothing to add.
FAULTY = {
    _check_group: ("sampling.responses",),
    _check_validation_problems: ("validation.problems",),
}
