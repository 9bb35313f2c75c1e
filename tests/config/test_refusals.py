"""What cannot run gets one clear error, before anything is written."""

import dataclasses

import pytest
import tokenizers
from conftest import EXPERIMENTS, TINY, command

from maspo_jax.config import Experiment, Phase, Validation, loading
from maspo_jax.config.validation import (
    check_grader,
    check_type,
    check_vocabulary,
)
from maspo_jax.data.prompts import templates
from maspo_jax.data.prompts.tokenizer import ByteTokenizer, FileTokenizer
from maspo_jax.data.sources import Problem
from maspo_jax.data.sources.problem import SAMPLE_OF_UNIFORM
from maspo_jax.learning.run import check_experiment
from maspo_jax.refusals import Refusals, Refused

EXPERIMENT = loading.load(TINY)


def refusal(path, *words):
    """Returns why an experiment is refused, one line or one a part, before it runs."""
    with pytest.raises((ValueError, OSError)) as caught:
        check_experiment(loading.load(path, words), "run")
    return str(caught.value)


def test_a_source_that_is_both_is_refused_however_much_of_it_is_looked_at():
    """Of a uniform one the first problems stand for all, fewer than are measured."""
    experiment = loading.load(TINY)
    chains = dataclasses.replace(experiment.train_set, numbers=6)
    settings = dataclasses.replace(
        experiment.validation, source=chains, problems=SAMPLE_OF_UNIFORM + 50
    )
    experiment = dataclasses.replace(
        experiment,
        train_set=chains,
        validation=settings,
        sampling=dataclasses.replace(experiment.sampling, prompt_length=20),
    )
    with pytest.raises(ValueError, match="all of its 306 problems stand in train_set"):
        check_experiment(experiment, "run")


def test_samples_that_are_all_the_same_hide_nothing_of_the_problems():
    experiment = loading.load(TINY, ["--validation.samples", 2])
    settings = dataclasses.replace(experiment.validation, source=experiment.train_set)
    experiment = dataclasses.replace(experiment, validation=settings)
    with pytest.raises(ValueError) as caught:
        check_experiment(experiment, "run")
    first, *lines = str(caught.value).splitlines()
    assert first == "2 things are wrong:" and len(lines) == 2
    assert "validation.samples=2 with validation.temperature=0" in lines[0]
    assert "all of its 12 problems stand in train_set" in lines[1]


def test_a_folder_that_is_no_run_is_not_touched(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    status, output = command(TINY, "--run", tmp_path)
    assert status == 2 and "holds no run" in output
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    "words, message",
    [
        (["--objective.gate.alhpa", 1], "objective.gate.alpha"),
        (["--objective.gate.alpha", "much"], "'much'"),
        (["--sampling.top-p", 0.9], "top-p"),
        (["--sampling.prompts", 12], "sampling.prompts=12 is not a multiple of dev"),
        (
            ["--sampling.wave", 3],
            "sampling.wave=3: must divide sampling.prompts=8",
        ),
        (["--sampling.wave", 4], "multiple of the devices, 8; choose one of [8], or"),
        (["--sampling.wave", 16], "sampling.wave=16: must divide sampling.prompts=8"),
        (["--sampling.wave", 0], "sampling.wave=0: must lie in [1, inf)"),
        (["--updates.minibatches", 3], "is not a multiple of updates.minibatches=3"),
        (["--updates.microbatches", 3], "devices * updates.microbatches=24"),
        (["--updates.microbatches", 3], "microbatches below it that does is 2"),
        (
            ["--updates.microbatches", 99],
            "updates.microbatches below it that does is 2",
        ),
        (["--sft.microbatches", 5], "sft.microbatches below it that does is 2"),
        (
            ["--sampling.slots", 0],
            "sampling.slots=0: must lie in [1, inf), or be None for as many as the "
            "memory holds",
        ),
        (
            ["--updates.microbatch-tokens", 19],
            "updates.microbatch_tokens=19: not one row fits, of sampling.prompt_length "
            "+ sampling.response_length=20 tokens; take at least 20",
        ),
        (["--updates.microbatch-tokens", 0], "updates.microbatch_tokens=0"),
        (
            ["--updates.row-length", 18],
            "updates.row_length=18: a prompt with its response takes up to "
            "sampling.prompt_length + sampling.response_length - 1 = 19 tokens of a "
            "row; take at least 19",
        ),
        (
            ["--updates.row-length", 40, "--updates.microbatch-tokens", 39],
            "updates.microbatch_tokens=39: not one row fits, of updates.row_length=40",
        ),
        (
            ["--updates.row-length", 40, "--updates.length-buckets", 2],
            "updates.row_length=40 with updates.length_buckets=2",
        ),
        (["--updates.row-length", 1], "updates.row_length=1"),
        (["--updates.length-buckets", 0], "updates.length_buckets=0"),
        (["--updates.length-buckets", 17], "updates.length_buckets=17"),
        (
            ["--updates.microbatch-tokens", 20, "--updates.microbatches", 2],
            "updates.microbatches=2: one follows from the other",
        ),
        (["--sft.microbatch-tokens", 7], "sft.microbatch_tokens=7: not one row fits"),
        (["--optimization.moments-dtype", "float16"], "float16"),
        (["--policy.remat", "minimal"], "minimal"),
        (["--sft.batch", 12], "sft.batch=12 is not"),
        (["--policy.vocabulary", 70], "the tokenizer has 76"),
        (["--sampling.temperature", 0], "sampling.temperature=0"),
        (["--validation.temperature", -1], "validation.temperature=-1"),
        (["--validation.samples", 2], "validation.samples=2 with validation.temp"),
        (["--sampling.prompt-length", 2], "Raise the length to at least"),
        (["--sampling.response-length", 3], "Raise the length to at least"),
        (["--objective.gate.alpha", "nan"], "objective.gate.alpha=nan"),
        (["--steps", -1], "steps=-1"),
        (["--seed", 2**32], "seed=4294967296: must lie in [0, 4294967296)"),
        (["--optimization.epsilon", -1], "optimization.epsilon=-1"),
        (["--optimization.final-fraction", -1], "optimization.final_fraction=-1"),
        (["--sft.optimization.beta1", 1], "sft.optimization.beta1=1"),
        (["--sft.phases.0.updates", -5], "sft.phases.0.updates=-5"),
        (["--seed", -1], "seed=-1"),
        (["--optimization.learning-rate", -1], "optimization.learning_rate=-1"),
        (["--optimization.max-grad-norm", 0], "optimization.max_grad_norm=0"),
        (["--sft.optimization.learning-rate", 0], "sft.optimization.learn"),
        (["--sampling.responses", 1], "sampling.responses=1"),
        (["--train-set.size", 3], "train_set has 3 problems"),
        (["--objective.gate.alpha", -1], "objective.gate.alpha=-1"),
        (["--grading.deadline", 0], "grading.deadline=0"),
        (["--policy.dtype", "bfloat16"], "train in float32"),
        (["--policy.attention", "splash"], "attention='splash' needs a TPU"),
        (["--sft.batch", 0], "sft.batch=0"),
        (["--sft.checkpoint-every", 0], "sft.checkpoint_every=0"),
        (["--sft.prompt-length", 2], "Raise the length to at least"),
        (["--fsdp", 3], "fsdp=3"),
        (["--optimization.warmup-updates", 8], "warmup_updates=8"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_bad_settings_are_refused_by_name(words, message):
    found = refusal(TINY, *words)
    assert message in found and "\n" not in found


@pytest.mark.parametrize(
    "words, message",
    [
        (["--sampling.temperature", 0], "sampling.temperature=0"),
        (["--sampling.prompts"], "'--sampling.prompts'"),
        (["--run", "gs://bucket/run"], "mount the bucket"),
        (["--pod", "nowhere"], "HOST:PORT/INDEX/COUNT"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_the_command_says_it_in_one_line_before_anything_is_written(
    tmp_path, words, message
):
    folder = tmp_path / "run"
    status, output = command(TINY, "--run", folder, *words)
    (line,) = [line for line in output.splitlines() if "error" in line]
    assert status == 2 and line.startswith("error: ") and message in line
    assert "Traceback" not in output
    assert not folder.exists()


def altered(tmp_path, change, imports=""):
    """Writes an experiment like `tiny` with other parts. Returns its path."""
    path = tmp_path / "experiment.py"
    path.write_text(
        f"""
import dataclasses, sys
sys.path.insert(0, {str(EXPERIMENTS)!r})
from tiny import experiment
from maspo_jax.config import Grading
from maspo_jax.data.prompts import templates
from maspo_jax.rewards import graders
{imports}
experiment = dataclasses.replace(experiment, {change})
"""
    )
    return path


@pytest.mark.parametrize(
    "template, grader, message",
    [
        (
            "BOXED",
            "dapo",
            "'boxed' asks for an answer as `\\boxed{}`, but grading.grad",
        ),
        ("DAPO", "gsm8k", "grading.grader=gsm8k reads only `####`"),
        ("GSM8K_HASH", "hendrycks", "Ask with one of boxed_paragraph, boxed"),
        ("SLIME", "dapo", "Ask with one of dapo, or choose another grader"),
    ],
)
def test_a_grader_that_cannot_read_the_answer_is_refused(
    tmp_path, template, grader, message
):
    change = f"template=templates.{template}, grading=Grading(graders.{grader})"
    assert message in refusal(altered(tmp_path, change))


def with_tokens(tmp_path, size):
    """Returns the tokenizer of a checkpoint, of so many tokens."""
    vocabulary = {f"{token}": token for token in range(size)}
    library = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary))
    library.save(str(tmp_path / "tokenizer.json"))
    return FileTokenizer(str(tmp_path))


@pytest.mark.parametrize(
    "rows, tokens",
    [
        (151936, 151665),  # Qwen2.5-0.5B, DeepSeek-R1-Distill-Qwen-1.5B
        (152064, 151665),  # Qwen2.5-7B, DeepSeek-R1-Distill-Qwen-7B and -14B
        (151936, 151669),  # Qwen3
        (128256, 128256),  # Llama 3
        (416, 400),
    ],
)
def test_rows_that_only_pad_an_embedding_are_as_many_as_checkpoints_have(
    tmp_path, rows, tokens
):
    check_vocabulary(rows, with_tokens(tmp_path, tokens))


@pytest.mark.parametrize(
    "rows, tokens",
    [(416, 280), (152064, 128256), (152064, 151000), (128256, 151665), (399, 400)],
)
def test_the_tokenizer_of_another_checkpoint_is_refused(tmp_path, rows, tokens):
    message = f"vocabulary={rows} but the tokenizer has {tokens} tokens"
    with pytest.raises(ValueError, match=message):
        check_vocabulary(rows, with_tokens(tmp_path, tokens))


def test_a_tokenizer_of_no_checkpoint_has_no_padding():
    with pytest.raises(ValueError, match="vocabulary=259 but"):
        check_vocabulary(259, ByteTokenizer())


@pytest.mark.parametrize("grader", ["grade", "Tolerant()", "countdown"])
def test_a_form_of_answer_that_no_grader_reads_is_refused(tmp_path, grader):
    asked = 'templates.Template("own", after=" End with *** N", answer="***")'
    change = f"template={asked}, grading=Grading(graders.{grader})"
    found = refusal(altered(tmp_path, change))
    assert f"={grader.strip('()')} reads only `" in found


@pytest.mark.parametrize(
    "change, message",
    [
        ("train_set=tasks", "train_set holds some.jsonl:1, whose answer"),
        (
            "validation=Validation(mixed), grading=Grading(graders.hendrycks)",
            "grading.grader=hendrycks cannot check; take one that can: countdown",
        ),
        ("grading=Grading(graders.Tolerant()), train_set=tasks", "Tolerant cannot"),
        (
            "train_set=tasks, grading=Grading(graders.countdown)",
            "validation.source holds chain2-test-0-0, whose answer",
        ),
        (
            "train_set=mixed, grading=Grading(graders.countdown)",
            "train_set holds other.jsonl:1, whose answer '2'",
        ),
    ],
)
def test_countdown_and_its_grader_need_each_other(tmp_path, write, change, message):
    tasks = write(*({"target": n + 3, "nums": [n, 3]} for n in range(10, 20)))
    others = write({"problem": "1+1=?", "answer": "2"}, name="other.jsonl")
    imports = f"""
from maspo_jax.config import Validation
from maspo_jax.data.sources import ProblemFile
from maspo_jax.data.sources.selections import Mixture
tasks = ProblemFile({tasks!r})
mixed = Mixture((ProblemFile({others!r}), tasks), (1, 4))
"""
    assert message in refusal(altered(tmp_path, change, imports))


def test_bad_experiment_files_are_refused(tmp_path):
    (tmp_path / "notes.md").write_text("# Notes")
    (tmp_path / "empty.py").write_text("x = 1")
    (tmp_path / "syntax.py").write_text("x = 1\nexperiment = (")
    (tmp_path / "import.py").write_text("\n\nfrom maspo_jax.data import Nothing")
    for name, message in (
        ("none.py", "no experiment file"),
        ("emty.py", f"the closest is {tmp_path / 'empty.py'}"),
        ("notes.md", "ends in .py"),
        ("syntax.py", "SyntaxError in line 2"),
        ("import.py", "ImportError in line 3"),
        ("empty.py", "has no `experiment`"),
    ):
        assert message in refusal(tmp_path / name)
    status, output = command(tmp_path / "none.py")
    assert status == 2 and "error: no experiment file" in output


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "train.jsonl"),
        ("", "train.jsonl"),
        ('{"problem": "1+1=?", "answer": "2"}\n{"problem": \n', "line 2"),
        ('{"problem": "1+1=?", "answer": ""}\n', "line 1"),
    ],
    ids=["missing", "empty", "malformed", "unanswered"],
)
def test_bad_problem_files_are_refused(tmp_path, content, message):
    file = tmp_path / "train.jsonl"
    if content is not None:
        file.write_text(content)
    (tmp_path / "experiment.py").write_text(
        f"""
import dataclasses, sys
sys.path.insert(0, {str(EXPERIMENTS)!r})
from tiny import experiment
from maspo_jax.data.sources import ProblemFile
experiment = dataclasses.replace(experiment, train_set=ProblemFile({str(file)!r}))
"""
    )
    assert message in refusal(tmp_path / "experiment.py")


@pytest.mark.parametrize(
    "kind, body, message",
    [
        ("dataclasses.dataclass(frozen=True)", "log_ratio", "flax.struct.dataclass"),
        ("struct.dataclass", "1.0", "one gate per token"),
    ],
)
def test_a_gate_that_cannot_work_is_refused(tmp_path, kind, body, message):
    (tmp_path / "own_gate.py").write_text(
        f"""
import dataclasses, sys
sys.path.insert(0, {str(EXPERIMENTS)!r})
from flax import struct
from tiny import experiment
from maspo_jax.config import Objective

@{kind}
class Mine:
    share: float = 0.5

    def __call__(self, log_ratio, advantage, old_logprob):
        return {body}

experiment = dataclasses.replace(experiment, objective=Objective(Mine()))
"""
    )
    assert message in refusal(tmp_path / "own_gate.py")


def test_a_broken_config_is_named(tmp_path):
    (tmp_path / "config.json").write_text("{")
    status, output = command(TINY, "--run", tmp_path)
    assert status == 2 and "config.json is not JSON" in output


def forgets(response, gold):
    """Returns nothing for a wrong answer in a box, as a function without a last line.

    A right one, and a response without a box, have their reward.
    """
    if "\\boxed" not in response:
        return 0.0
    if f"\\boxed{{{gold}}}" in response:
        return 1.0


@pytest.mark.parametrize(
    "graded, returned",
    [
        (forgets, "None"),
        (lambda response, gold: None, "None"),
        (lambda response, gold: "1.0", "'1.0'"),
        (lambda response, gold: {"score": 1.0}, "{'score': 1.0}"),
        (lambda response, gold: (1.0, "right"), "(1.0, 'right')"),
        (lambda response, gold: float("nan"), "nan"),
    ],
)
def test_a_grader_that_returns_no_reward_is_named(graded, returned):
    problems = [Problem("1", "1+1=?", "2")]
    with pytest.raises(ValueError) as caught:
        check_grader(templates.PLAIN, graded, problems, "train_set")
    name = graded.__name__
    assert f"grading.grader={name} fails on response" in str(caught.value)
    assert f"returned {returned}: must be" in str(caught.value)


@pytest.mark.parametrize("reward", [True, 1, 0.25, -1.0])
def test_a_grader_may_return_a_bool_or_a_number(reward):
    problems = [Problem("1", "1+1=?", "2")]
    check_grader(templates.PLAIN, lambda response, gold: reward, problems, "train_set")


def test_answers_that_the_checker_cannot_read_are_refused_above_a_share(
    tmp_path, write
):
    answers = ["2 \\div", *["4"] * 7]
    rows = [{"problem": f"{n}+0=?", "answer": each} for n, each in enumerate(answers)]
    change = f"train_set=ProblemFile({write(*rows)!r}), sft=None"
    experiment = lambda more: altered(
        tmp_path, f"{change}{more}", "from maspo_jax.data.sources import ProblemFile"
    )
    found = refusal(experiment(""))
    assert found.startswith("train_set: the checker cannot read 1 of 8 answers (12.5%)")
    assert "such as '2 \\\\div' of some.jsonl:1 (" in found
    assert "grading.unreadable=0.1: " in found and "`maspo data FILE`" in found
    path = experiment(", grading=Grading(unreadable=0.2)")
    assert check_experiment(loading.load(path, []), "run") == [
        "train_set: the checker cannot read 1 of 8 answers (12.5%)",
        "validation.source: the checker reads all of 256 answers",
    ]
    path = experiment(", grading=Grading(graders.hendrycks)")
    assert check_experiment(loading.load(path, []), "run") == []


def test_training_says_the_share(tmp_path):
    status, output = command(
        TINY, "--run", tmp_path / "run", "--steps", 0, "--sft", "off"
    )
    assert status == 0
    said = "train_set: the checker reads all of 256 answers"
    assert said in " ".join(output.split())


@pytest.mark.parametrize("last", [ValueError("third"), FileNotFoundError("third")])
def test_an_error_that_ends_the_checks_comes_on_top_of_what_they_found(last):
    with pytest.raises(Refused) as caught:
        with Refusals() as refusals:
            for reason in ("first", "second"):
                with refusals.of():
                    raise ValueError(reason)
            raise last
    assert caught.value.reasons == ("first", "second", "third")
    with pytest.raises(type(last)) as alone, Refusals():
        raise last
    assert alone.value is last


def test_what_was_found_is_said_beside_an_error_of_another_kind():
    with pytest.raises(TypeError, match="of a source") as caught:
        with Refusals() as refusals:
            with refusals.of():
                raise ValueError("steps=-1")
            raise TypeError("of a source")
    assert "steps=-1" in caught.value.__notes__[0]


class Untyped:
    """Has the length of a source, and no problems."""

    def __len__(self):
        return 4


NONE_OF_IT = {
    "sampling=None": "sampling=None: must be of type Sampling",
    "updates=None": "updates=None: must be of type Updates",
    "validation=None": "validation=None: must be of type Validation",
    "train_set=None": "train_set=None: must be a Source, and has no __len__, __get",
    "train_set=5": "train_set=5: must be a Source",
    "train_set=Untyped()": "must be a Source, and has no __getitem__",
    "train_set=Problem": "train_set=Problem: is a class; call it",
    "train_set=[1, 2]": "train_set: its first item is 1, which has no id, question, a",
    "tokenizer=3": "tokenizer=3: must be a Tokenizer, and has no size, eos_token_id",
    "tokenizer=None": "tokenizer=None: must be a Tokenizer",
    "tokenizer=ByteTokenizer": "tokenizer=ByteTokenizer: is a class; call it",
    "validation=Validation(None)": "validation.source=None: must be a Source",
    "validation=Validation(5)": "validation.source=5: must be a Source",
    "template=None": "template=None: must be of type Template or ChatTemplate",
    "grading=None": "grading=None: must be of type Grading",
    "optimization=None": "optimization=None: must be of type Optimization",
    "sft=5": "sft=5: must be of type Sft or NoneType",
    "sft=phased(5)": "sft.phases=5: must be of type tuple",
    "sft=phased((5,))": "sft.phases.0=5: must be of type Phase",
    "sft=phased((Phase(5, 1),))": "sft.phases.0.source=5: must be a Source",
}


@pytest.mark.parametrize("change", NONE_OF_IT)
def test_what_is_none_of_it_is_refused_by_name_beside_the_rest(change):
    there = {
        "Untyped": Untyped,
        "Problem": Problem,
        "ByteTokenizer": ByteTokenizer,
        "Phase": Phase,
        "Validation": Validation,
        "phased": lambda phases: dataclasses.replace(EXPERIMENT.sft, phases=phases),
    }
    changed = eval(f"dict({change})", there)
    with pytest.raises(ValueError) as caught:
        check_experiment(dataclasses.replace(EXPERIMENT, seed=-1, **changed), "run")
    assert isinstance(caught.value, Refused), caught.value
    assert any("seed=-1: must lie" in reason for reason in caught.value.reasons)
    assert any(NONE_OF_IT[change] in reason for reason in caught.value.reasons)
    assert len(caught.value.reasons) == 2, caught.value


def test_a_tokenizer_that_passes_on_what_is_asked_of_it_will_do():
    class Passes:
        def __getattr__(self, name):
            return getattr(EXPERIMENT.tokenizer, name)

    field = Experiment.__dataclass_fields__["tokenizer"]
    check_type("tokenizer", field, Passes())


def test_a_run_that_is_measured_on_what_it_learns_goes_on_and_says_it(tmp_path):
    """It was begun by a version that did not look; it cannot change that any more."""
    same = dataclasses.replace(EXPERIMENT.validation, source=EXPERIMENT.train_set)
    experiment = dataclasses.replace(EXPERIMENT, validation=same)
    with pytest.raises(ValueError, match="all of its 12 problems stand in train_set"):
        check_experiment(experiment, tmp_path)
    (tmp_path / "config.json").write_text("{}")
    said = check_experiment(experiment, tmp_path)[-1]
    assert said.startswith("warning: 12 of the 12 problems of validation.source")
