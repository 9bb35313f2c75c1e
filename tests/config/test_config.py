"""An experiment is data: it can be overridden, written, read and compared."""

import dataclasses
import functools
import json
import math
import pathlib
import re

import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from support.members import every_gate
from support.settings import validate

from maspo_jax import config
from maspo_jax.config import (
    DynamicSampling,
    OverlongPenalty,
    loading,
    serialization,
)
from maspo_jax.objectives import advantages, gates, kl, token_weights
from maspo_jax.objectives.advantages import EntropyAdvantage, group_normalized, raw
from maspo_jax.objectives.correction import RejectTokens, TokenTruncated
from maspo_jax.objectives.terms import EntropyBonus, Imitation, method_of
from maspo_jax.objectives.token_weights import SequenceSumOver
from maspo_jax.settings import setting

ROOT = pathlib.Path(__file__).parents[2]
# `checkpoint.py` reads files of the user's: see test_checkpoint_jobs.
FILES = sorted(
    path
    for folder in ("experiments", "tests/experiments")
    for path in (ROOT / folder).glob("*.py")
    if "experiment = " in path.read_text() and path.stem != "checkpoint"
)


@pytest.fixture
def experiment():
    return loading.load(ROOT / "experiments" / "arithmetic.py")


every_experiment = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def differences(mine, theirs):
    return serialization.differences(
        serialization.to_json(mine), serialization.to_json(theirs)
    )


@every_experiment
def test_every_experiment_can_run_on_one_and_on_eight_devices(path):
    experiment = loading.load(path)
    for devices in (1, 8):
        validate(experiment, devices)


@every_experiment
def test_every_experiment_comes_back_from_json(path):
    experiment = loading.load(path)
    text = json.dumps(serialization.to_json(experiment))
    assert serialization.from_json(json.loads(text)) == experiment


@every_experiment
def test_every_experiment_file_says_how_to_run_it(path):
    if path.parent.name == "experiments" and path.parent.parent == ROOT:
        assert f"maspo train experiments/{path.name}" in path.read_text()


def test_leaves_are_overridden_and_nothing_else_changes():
    path = ROOT / "experiments" / "arithmetic.py"
    words = [
        "--objective.gate.alpha",
        "0.5",
        "--seed",
        "7",
        "--train-set.numbers",
        "4",
    ]
    changed = loading.load(path, words)
    assert differences(changed, loading.load(path)) == [
        "objective.gate.alpha: 0.3 in the run, 0.5 here",
        "seed: 0 in the run, 7 here",
        "train_set.numbers: 6 in the run, 4 here",
    ]


def test_a_word_of_a_choice_is_taken_where_none_is_chosen():
    path = ROOT / "experiments" / "arithmetic.py"
    words = ["--policy.compute-dtype", "bfloat16"]
    assert loading.load(path).policy.compute_dtype is None
    assert loading.load(path, words).policy.compute_dtype == "bfloat16"
    with pytest.raises(ValueError, match="'float8'.*bfloat16"):
        loading.load(path, ["--policy.compute-dtype", "float8"])


def test_what_only_places_the_work_may_differ():
    experiment = loading.load(ROOT / "experiments" / "arithmetic.py")
    updates = dataclasses.replace(experiment.updates, microbatches=2)
    moved = dataclasses.replace(experiment, fsdp=2, updates=updates)
    assert differences(moved, experiment) == []


@pytest.mark.parametrize("schedule, free", [("constant", True), ("cosine", False)])
def test_more_steps_go_on_unless_the_schedule_ends_with_them(schedule, free):
    experiment = loading.load(ROOT / "experiments" / "arithmetic.py")
    optimization = dataclasses.replace(experiment.optimization, schedule=schedule)
    experiment = dataclasses.replace(experiment, optimization=optimization)
    longer = dataclasses.replace(experiment, steps=experiment.steps + 1)
    assert (differences(longer, experiment) == []) == free
    assert differences(experiment, longer) == ["steps: 41 in the run, 40 here"]


@pytest.mark.parametrize(
    "function", [lambda reward, mask: 0, functools.partial(group_normalized, ddof=0)]
)
def test_functions_without_a_name_are_refused(experiment, function):
    objective = dataclasses.replace(experiment.objective, advantage=function)
    with pytest.raises(ValueError, match="has no name to be recorded by"):
        serialization.to_json(dataclasses.replace(experiment, objective=objective))


def test_annotations_of_an_experiment_file_may_be_text(tmp_path):
    file = tmp_path / "json.py"  # nor may its name hide a module
    base = ROOT / "experiments" / "arithmetic.py"
    file.write_text(
        "from __future__ import annotations\n"
        "import dataclasses\n"
        "@dataclasses.dataclass(frozen=True)\n"
        "class Mine:\n"
        "    width: float = 1.0\n" + base.read_text().rpartition('"""')[2]
    )
    assert loading.load(file) == loading.load(base)
    assert json.loads("1") == 1


@pytest.mark.parametrize(
    "change, message",
    [
        ({"steps": "3"}, "steps='3': must be of type int"),
        ({"fsdp": 1.0}, "fsdp=1.0: must be of type int"),
        ({"seed": True}, "seed=True: must be of type int"),
        ({"policy": None}, "policy=None: must be of type DecoderConfig or Checkpoint"),
        ({"optimization": config.Optimization("1")}, "optimization.learning_rate='1'"),
        ({"optimization": config.Optimization(1.0, schedule="flat")}, "constant, lin"),
        (
            {"sft": config.Sft((config.Phase(None, "9"),), None)},
            "sft.phases.0.updates='9'",
        ),
    ],
    ids=str,
)
def test_values_of_another_type_are_refused_by_name(experiment, change, message):
    with pytest.raises(ValueError, match=message):
        validate(dataclasses.replace(experiment, **change), 1)


def test_whole_numbers_are_numbers(experiment):
    optimization = config.Optimization(1, max_grad_norm=1)
    validate(dataclasses.replace(experiment, optimization=optimization), 1)


def test_another_class_is_another_experiment():
    experiment = loading.load(ROOT / "experiments" / "arithmetic.py")
    objective = dataclasses.replace(experiment.objective, gate=gates.Clip())
    other = dataclasses.replace(experiment, objective=objective)
    assert any("objective.gate" in line for line in differences(other, experiment))


@dataclasses.dataclass(frozen=True)
class Counted:
    """A weight with a field that follows from another, and a method."""

    length: int = 8
    double: int = dataclasses.field(init=False, default=0)

    def __post_init__(self):
        object.__setattr__(self, "double", 2 * self.length)

    def of_mask(self, mask):
        return mask / self.double


def test_a_field_that_is_not_given_is_not_recorded():
    record = serialization.to_json(Counted(9))
    assert record["length"] == 9 and "double" not in record
    assert serialization.from_json(record) == Counted(9)
    assert serialization.upgraded(record) == record


def test_a_method_of_some_object_is_refused():
    """By its name alone it would come back without the object."""
    with pytest.raises(ValueError, match="of_mask.* has no name to be recorded by"):
        serialization.to_json(Counted(9).of_mask)


def test_what_cannot_be_written_is_refused():
    with pytest.raises(ValueError, match="cannot be written as JSON"):
        serialization.to_json(object())


@pytest.mark.parametrize(
    "gate, message",
    [
        (gates.Maspo(sigma_base=0.0), "objective.gate.sigma_base=0.0: must lie in"),
        (gates.Dgpo(m=-1.0), "objective.gate.m=-1.0: must lie in"),
        (gates.Clip(dual=1.0), "objective.gate.dual=1.0: must lie in"),
        (gates.UnilateralSapo(gates.Sapo(tau_positive=-1.0)), "tau_positive=-1.0"),
    ],
)
def test_bad_settings_of_a_gate_are_refused_by_name(experiment, gate, message):
    objective = dataclasses.replace(experiment.objective, gate=gate)
    with pytest.raises(ValueError, match=message):
        validate(dataclasses.replace(experiment, objective=objective), 1)


@every_gate
def test_every_gate_survives_the_record_of_a_run(experiment, gate):
    objective = dataclasses.replace(experiment.objective, gate=gate)
    mine = dataclasses.replace(experiment, objective=objective)
    validate(mine, 1)
    text = json.dumps(serialization.to_json(mine))
    assert serialization.from_json(json.loads(text)) == mine


def infinite(reward, mask):
    return raw(reward / 0, mask)


def misshapen(reward, mask):
    return reward * mask


def of_numpy(*arrays):
    return np.where(np.asarray(arrays[-1]), 1.0, 0.0)


def picking(*arrays):
    return arrays[-1][arrays[-1]]


def failing(*arrays):
    raise ValueError


def padded(mask):
    return mask + 0.1


def entropy_of(tokens):
    return tokens.entropy


@struct.dataclass
class Summed:
    def __call__(self, tokens):
        return jnp.sum(tokens.logprob)


@struct.dataclass
class Unsaid:
    def __call__(self, tokens):
        return tokens.logprob - tokens.reference_logprob


@struct.dataclass
class Nowhere:
    over = "wrong"

    def __call__(self, tokens):
        return tokens.logprob


@struct.dataclass
class Greedy:
    needs = ("values",)

    def __call__(self, tokens):
        return tokens.logprob


@struct.dataclass
class Letters:
    needs = "correct"

    def __call__(self, tokens):
        return tokens.logprob


@dataclasses.dataclass(frozen=True)
class Unstated:
    """Token weights over a length that states no interval."""

    length: float
    share: float = setting(0.9, "[0, 1]")

    def __call__(self, mask):
        return self.share * token_weights.sequence_sum(mask) / self.length


@dataclasses.dataclass(frozen=True)
class Scaled:
    share: float = setting(0.9, "[0, 1]", at_most="high")
    high: float = 1.0

    def __call__(self, reward, mask):
        return self.share * group_normalized(reward, mask)


@struct.dataclass
class Nested:
    parts: tuple = ()

    def __call__(self, tokens):
        return tokens.logprob


def asking(kind, name="reference_logprob"):
    """Returns a class like another that says it needs something."""
    return type("Asking", (kind,), {"needs": (name,), "__qualname__": "Asking"})


@pytest.mark.parametrize(
    "change, message",
    [
        ({"correction": TokenTruncated(), "anchor": "sampler"}, "correction: ratios"),
        (
            {"correction": TokenTruncated(-1.0)},
            "correction.cap=-1.0: must lie in",
        ),
        ({"rejection": RejectTokens(), "anchor": "sampler"}, "rejection: ratios"),
        (
            {"rejection": RejectTokens(low=2.0)},
            "rejection.low=2.0: must lie in",
        ),
        (
            {"overlong_penalty": OverlongPenalty(51)},
            "buffer=51: must not exceed sampling.resp",
        ),
        ({"overlong_penalty": OverlongPenalty(8, -1.0)}, "overlong_penalty.factor=-1"),
        (
            {"advantage_shaping": EntropyAdvantage(kappa=1.0)},
            "shaping.kappa=1.0",
        ),
        (
            {"terms": (kl.Penalty(-0.1, kl.k3),)},
            "objective.terms.0.coefficient=-0.1",
        ),
        (
            {"kl_in_reward": kl.Penalty(float("nan"), kl.k1)},
            "kl_in_reward.coefficient=nan",
        ),
        (
            {"terms": (EntropyBonus(0.1), Imitation(-0.1))},
            "objective.terms.1.coefficient=-0.1",
        ),
        (
            {"terms": (EntropyBonus(math.inf),)},
            "objective.terms.0.coefficient=inf",
        ),
        ({"terms": (entropy_of,)}, "terms.0: JAX does not know function"),
        ({"terms": (Summed(),)}, "terms.0: Summed returns .* the loss of each token"),
        ({"terms": (Unsaid(),)}, "terms.0: Unsaid fails .* name what else it reads"),
        ({"terms": (Nowhere(),)}, "terms.0: Nowhere.over='wrong': choose one of all"),
        ({"terms": (Greedy(),)}, "needs values; `needs` may name reference_logprob"),
        ({"advantage": infinite}, "objective.advantage"),
        ({"advantage": misshapen}, "objective.advantage: .* fails on rewards of shape"),
        ({"advantage": of_numpy}, "traced array .*; with jax.numpy, return one number"),
        ({"weight": picking}, "must be concrete.*; with jax.numpy, return one weight"),
        ({"weight": failing}, r"mask of shape \(3, 4\): ValueError; with"),
        ({"advantage": picking}, "must be concrete.*; with jax.numpy, return one num"),
        ({"weight": of_numpy}, "traced array .*; with jax.numpy, return one weight"),
        ({"weight": SequenceSumOver(0)}, "objective.weight.length=0: must lie in"),
        ({"weight": SequenceSumOver(-8)}, "objective.weight.length=-8: must lie in"),
        ({"weight": SequenceSumOver(math.inf)}, "weight.length=inf: must lie in"),
        ({"weight": Unstated(0)}, "objective.weight: .*Unstated.* return a finite"),
        ({"weight": Unstated(-8)}, "objective.weight: .*Unstated"),
        ({"weight": Unstated(1e30, 0.0)}, "not all of them zero"),
        ({"weight": Unstated(math.inf)}, "objective.weight.length=inf: must be fin"),
        (
            {"weight": Unstated(1.0, 1.5)},
            r"objective.weight.share=1.5: must lie in",
        ),
        ({"advantage": Scaled(1.5)}, r"objective.advantage.share=1.5: must lie in \[0"),
        ({"advantage": Scaled(high=0.1)}, "share=0.9: must not exceed high=0.1"),
        (
            {"terms": (Nested((Scaled(), Scaled(-1.0))),)},
            "objective.terms.0.parts.1.share=-1.0: must lie in",
        ),
        (
            {"gate": asking(gates.Clip)()},
            "objective.gate: Asking needs reference_logprob; `needs` may name nothing "
            "in objective.gate; reference_logprob is given to objective.terms and "
            "objective.kl_in_reward",
        ),
        ({"weight": asking(Unstated)(8)}, "objective.weight: Asking needs reference"),
        (
            {"correction": asking(TokenTruncated)()},
            "correction: Asking needs",
        ),
        ({"rejection": asking(RejectTokens)()}, "objective.rejection: Asking needs"),
        ({"advantage": asking(Scaled)()}, "may name prompt_stats, token_reward in obj"),
        (
            {"terms": (asking(EntropyBonus, "token_reward")(0.1),)},
            "terms.0: Asking needs token_reward; .* is given to objective.advantage",
        ),
        (
            {"terms": (asking(EntropyBonus, "prompt_stats")(0.1),)},
            "terms.0: Asking needs prompt_stats",
        ),
        ({"terms": (Letters(),)}, r"Letters.needs='correct': write a tuple of names"),
        ({"weight": padded}, "zero where the mask is false"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_objectives_that_do_not_fit_are_refused(experiment, change, message):
    objective = dataclasses.replace(experiment.objective, **change)
    with pytest.raises(ValueError, match=message):
        validate(dataclasses.replace(experiment, objective=objective), 1)


def with_one_response(experiment, dynamic=None, **objective):
    sampling = dataclasses.replace(experiment.sampling, responses=1, dynamic=dynamic)
    objective = dataclasses.replace(experiment.objective, **objective)
    return dataclasses.replace(experiment, sampling=sampling, objective=objective)


@pytest.mark.parametrize(
    "rule",
    [
        {"advantage": raw},
        {"advantage": advantages.whitened},
        {"advantage": advantages.smoothed},  # compares with earlier visits
    ],
)
def test_advantages_without_a_group_learn_from_one_response(experiment, rule):
    validate(with_one_response(experiment, **rule), 1)
    with pytest.raises(ValueError, match="sampling.dynamic looks for groups"):
        one = with_one_response(experiment, DynamicSampling(), **rule)
        validate(one, 1)


@pytest.mark.parametrize(
    "rule",
    [
        {"advantage": group_normalized},
        {"advantage": advantages.group_centered},
        {"advantage": advantages.leave_one_out},
        {"advantage": advantages.length_centered},
        {"advantage": advantages.rare_success},
        {"advantage": advantages.group_whitened},
    ],
)
def test_others_compare_at_least_two(experiment, rule):
    with pytest.raises(ValueError, match="take at least 2"):
        validate(with_one_response(experiment, **rule), 1)


PAGES = [
    *("experiments/arithmetic.py", "experiments/arithmetic_dapo.py"),
    *("tests/experiments/tiny_all.py", "tests/experiments/gsm8k_bytes.py"),
]


def descriptions(panel):
    """Returns what a panel of the page says of each of its options, if anything."""
    text = " ".join(panel.replace("│", " ").split())
    parts = re.split(r" --[a-z][^ ]*,?(?= )", text)[1:]
    ends = r"\((?:default|fixed|in [\[(])"
    said = [re.split(ends, part)[0].split() for part in parts]
    return [" ".join(words[1:]) for words in said if len(words) > 1]


@pytest.mark.parametrize("name", PAGES)
def test_help_shows_names_and_no_description_of_another_option(name, capsys):
    with pytest.raises(SystemExit) as end:
        loading.load(ROOT / name, ["--help"])
    page = capsys.readouterr().out
    assert end.value.code == 0 and " at 0x" not in page and "_Named" not in page
    text = " ".join(page.replace("│", " ").split())
    for function in ("objectives.token_weights.token_mean", "rewards.verifier.grade"):
        assert f"(fixed to: maspo_jax.{function})" in text
    panels = re.split(r"\n\W*[\w.-]* ?options ", page)[1:]
    said = [descriptions(panel) for panel in panels]
    assert "processes" in [each for panel in said for each in panel]
    for panel in said:
        assert len(set(panel)) == len(panel), panel


def test_functions_come_back_from_the_command_line_as_they_were():
    for name in PAGES[:3]:
        plain = loading.load(ROOT / name)
        changed = loading.load(ROOT / name, ["--seed", "3"])
        assert changed == dataclasses.replace(plain, seed=3)
        assert changed.objective.weight is token_weights.token_mean
    assert changed.objective.terms[0].estimator is kl.k3


def test_every_part_survives_the_record_and_the_command_line():
    mine = loading.load(ROOT / "tests" / "experiments" / "tiny_all.py")
    objective = mine.objective
    off = [name for name, part in vars(objective).items() if part is None]
    assert off == [] and len(objective.terms) == 3 and mine.sampling.dynamic
    validate(mine, 1)
    assert (
        serialization.from_json(json.loads(json.dumps(serialization.to_json(mine))))
        == mine
    )
    words = {
        "--sampling.dynamic.rounds": "7",
        "--objective.correction.cap": "3.5",
        "--objective.rejection.high": "inf",
        "--objective.overlong-penalty.buffer": "2",
        "--objective.overlong-filter.no-in-group": None,
        "--objective.kl-in-reward.coefficient": "0.5",
        "--objective.terms.0.coefficient": "0.25",
        "--objective.advantage-shaping.alpha": "0.1",
        "--objective.terms.1.coefficient": "0.01",
    }
    flat = [word for pair in words.items() for word in pair if word]
    changed = loading.load(ROOT / "tests" / "experiments" / "tiny_all.py", flat)
    validate(changed, 1)
    lines = differences(changed, mine)
    assert len(lines) == len(words), lines
    assert method_of(changed.objective).terms[0] == kl.Penalty(0.25, kl.k3)
