"""Parts and mixtures of sources: deterministic, counted, and plain data."""

import collections
import itertools
import json

import pytest

from maspo_jax.config import serialization
from maspo_jax.data import pipeline
from maspo_jax.data.prompts import ByteTokenizer, templates
from maspo_jax.data.sources import (
    Chains,
    Distinct,
    First,
    Fitting,
    Mixture,
    Problem,
    ProblemFile,
    Sample,
    Unseen,
)

TEN = Chains(size=10)
TOKENIZER = ByteTokenizer()


def fitting(source, length=20):
    return Fitting(source, templates.PLAIN, TOKENIZER, length)


MEMBERS = {
    "First": lambda source: First(source, 4),
    "Sample": lambda source: Sample(source, 4, seed=3),
    "Distinct": Distinct,
    "Fitting": fitting,
    "Unseen": lambda source: Unseen(source, (First(TEN, 3),)),
    "Mixture": lambda source: Mixture((source, First(TEN, 3)), (2, 1)),
    "all": lambda source: Mixture(
        (Distinct(fitting(source)), Sample(First(TEN, 5), 2)), (1.5, 0.5)
    ),
}
every_member = pytest.mark.parametrize("make", MEMBERS.values(), ids=MEMBERS)


@every_member
def test_it_is_a_source(make):
    source, again = make(TEN), make(TEN)
    assert len(source) > 0
    problems = [source[index] for index in range(len(source))]
    assert all(isinstance(problem, Problem) for problem in problems)
    assert problems == [again[index] for index in reversed(range(len(again)))][::-1]
    assert set(problems) <= {TEN[index] for index in range(10)}
    for index in (-1, len(source)):
        with pytest.raises(IndexError):
            source[index]


@every_member
def test_an_experiment_can_hold_it(make, write):
    rows = [{"problem": f"{i}+{i}=?", "answer": str(2 * i)} for i in range(6)]
    source = make(ProblemFile(write(*rows)))
    assert len(source) > 0  # what is built on first use is no part of it
    again = serialization.from_json(
        json.loads(json.dumps(serialization.to_json(source)))
    )
    assert again == source and hash(again) == hash(source)
    assert list(again) == list(source)


@every_member
def test_a_pipeline_of_it_can_be_restored_at_any_batch(make):
    def stream():
        sizes = {"batch": 3, "length": 20, "seed": 0}
        return iter(pipeline.prompts(make(TEN), templates.PLAIN, TOKENIZER, **sizes))

    whole = stream()
    positions = []
    for _ in range(8):
        positions.append(json.dumps(whole.get_state()))
        next(whole)
    expected = [[p.id for p in problems] for problems, _ in itertools.islice(whole, 3)]
    for number, position in enumerate(positions):
        restored = stream()
        restored.set_state(json.loads(position))
        taken = [
            [p.id for p in problems]
            for problems, _ in itertools.islice(restored, 11 - number)
        ]
        assert taken[-3:] == expected


@every_member
def test_nothing_is_read_before_it_is_asked_for(make):
    make(ProblemFile("gone.jsonl"))


def test_the_first_are_the_first():
    assert list(First(TEN, 3)) == [TEN[0], TEN[1], TEN[2]]


def test_a_sample_has_every_problem_at_most_once_and_depends_on_its_seed():
    drawn = [tuple(p.id for p in Sample(TEN, 5, seed)) for seed in range(20)]
    assert all(len(set(ids)) == 5 for ids in drawn)
    assert len(set(drawn)) > 15
    assert set(Sample(TEN, 10)) == set(First(TEN, 10))


@pytest.mark.parametrize("kind", [First, Sample])
def test_a_count_that_cannot_be_had_is_refused(kind):
    with pytest.raises(ValueError, match="count=0"):
        kind(TEN, 0)
    with pytest.raises(ValueError, match="count=11: Chains has only 10"):
        len(kind(TEN, 11))


def test_repeats_are_left_out_counted_and_said_once(write, caplog):
    asked = [
        "What is $1+1$?",
        "what is  $1 + 1$?\n",
        "What is $1-1$?",
        "What is $1+1$?",
    ]
    rows = [
        {"id": str(i), "problem": text, "answer": answer}
        for i, (text, answer) in enumerate(zip(asked, "2203", strict=True))
    ]
    path = write(*rows)
    source = Distinct(ProblemFile(path))
    assert [problem.id for problem in source] == ["0", "2"]
    assert len(source) == 2
    (record,) = caplog.records
    assert f"{path}: 2 of 4 problems repeat" in record.getMessage()
    assert "1 questions have several answers" in record.getMessage()
    assert record.getMessage().endswith("kept: 0")


def test_nothing_is_said_where_nothing_is_left_out(caplog):
    assert len(Distinct(First(TEN, 3))) == len(fitting(First(TEN, 3))) == 3
    assert not caplog.records


def test_long_prompts_are_left_out_counted_and_said_once(write, caplog):
    rows = [{"problem": "1" * size, "answer": "1"} for size in (3, 9, 5, 8)]
    path = write(*rows)
    source = fitting(ProblemFile(path), 5)
    assert [len(problem.question) for problem in source] == [3, 5]
    assert len(source) == 2
    (record,) = caplog.records
    assert (
        f"{path}: 2 of 4 prompts have more than 5 tokens, up to 9"
        in record.getMessage()
    )
    with pytest.raises(ValueError, match=r"length=2: none of the 4.*shortest has 3"):
        len(fitting(ProblemFile(path), 2))


def test_what_is_measured_on_is_left_out_counted_and_said_once(write, caplog):
    text = "A box holds seventeen pens; nine of them are taken out. How many are left?"
    asked = ("What is $2+2$?", text, f"Hard: {text}", "What is $3+3$?")
    rows = [{"problem": question, "answer": "8"} for question in asked]
    path = write(*rows)
    benchmarks = (
        ProblemFile(write(rows[1], name="one.jsonl")),
        ProblemFile(write({**rows[3], "answer": "6"}, name="two.jsonl")),
    )
    source = Unseen(ProblemFile(path), benchmarks)
    assert [problem.question for problem in source] == [asked[0]]
    assert len(source) == 1
    (record,) = caplog.records
    assert f"{path}: 3 of 4 problems are found in a benchmark" in record.getMessage()
    with pytest.raises(ValueError, match="all 4 problems of .* are found"):
        len(Unseen(ProblemFile(path), (ProblemFile(path),)))


def test_the_template_counts_towards_the_length():
    source = Fitting(TEN, templates.BOXED, TOKENIZER, 20)
    with pytest.raises(ValueError, match="none of the 10 problems of Chains fits"):
        len(source)


@pytest.mark.parametrize("weights", [(1, 1), (3, 1), (0.1, 0.2), (1, 7)])
@pytest.mark.parametrize("sizes", [(10, 10), (10, 3), (1, 10)])
def test_a_mixture_keeps_its_proportions_and_leaves_nothing_out(sizes, weights):
    sources = tuple(Chains(size=n, seed=n + k) for k, n in enumerate(sizes))
    mixed = Mixture(sources, weights)
    count = collections.Counter(mixed)
    share = sum(count[p] for p in set(sources[0])) / len(mixed)
    assert abs(share - weights[0] / sum(weights)) <= 1 / len(mixed)
    for source in sources:
        times = {count[problem] for problem in source}
        assert min(times) >= 1 and max(times) - min(times) <= 1


def test_any_stretch_of_a_mixture_is_mixed():
    first, second = Chains(size=30, seed=1), Chains(size=10, seed=2)
    ids = {problem.id for problem in second}
    mixed = [problem.id in ids for problem in Mixture((first, second), (3, 1))]
    assert len(mixed) == 40
    assert all(sum(mixed[i : i + 4]) == 1 for i in range(0, 40, 4))


@pytest.mark.parametrize(
    "sources, weights, message",
    [
        ((TEN,), (1,), "1 sources"),
        ((TEN, TEN), (1,), "2 sources and 1 weights"),
        ((TEN, TEN), (1, 0), "must be positive"),
        ((TEN, TEN), (1, float("inf")), "must be positive"),
        ((TEN, TEN), (1, float("nan")), "must be positive"),
    ],
)
def test_a_mixture_of_nothing_is_refused(sources, weights, message):
    with pytest.raises(ValueError, match=message):
        Mixture(sources, weights)


@pytest.mark.parametrize("weight", [1e-9, 1e-300, 5e-324])
def test_weights_that_no_epoch_could_hold_are_refused(weight):
    mixture = Mixture((Chains(2, size=10), Chains(3, size=10)), (1, weight))
    with pytest.raises(ValueError, match=r"weights=\(1, .*more than 10000000 problems"):
        len(mixture)
