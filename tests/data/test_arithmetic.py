"""The default task: true solutions, disjoint splits, the same problems everywhere."""

import re

import pytest

from maspo_jax.data.sources import Chains, arithmetic

sources = pytest.mark.parametrize(
    "source",
    [
        Chains(size=300),
        Chains(direct=0.5, size=300, seed=7),
        Chains(split="test", size=300),
        Chains(numbers=2, size=300),
        Chains(numbers=2, split="test", size=300),
        Chains(numbers=12, size=300),
    ],
    ids=lambda s: f"{s.split}-{s.numbers}-{s.direct}",
)


def problems(source):
    return [source[index] for index in range(len(source))]


def values(question):
    """Returns every running value of a chain, by an evaluation of our own."""
    assert re.fullmatch(r"[1-9]([+-][1-9])+=\?", question)
    running = [0]
    for term in re.findall(r"[+-]?\d", question):
        running.append(running[-1] + int(term))
    return running[1:]


@sources
def test_answers_are_right_and_no_value_is_negative(source):
    for problem in problems(source):
        running = values(problem.question)
        assert len(running) == source.numbers
        assert min(running) >= 0
        assert problem.answer == str(running[-1])


@sources
def test_solutions_are_worked_in_order_or_only_the_answer(source):
    for problem in problems(source):
        box = f"\\boxed{{{problem.answer}}}"
        if problem.solution == box:
            continue
        *steps, last = problem.solution.split(". ")
        assert last == box
        results = [int(step.partition("=")[2]) for step in steps]
        lefts = [int(re.match(r"\d+", step)[0]) for step in steps]
        assert [lefts[0], *results] == values(problem.question)
        assert lefts[1:] == results[:-1]
        terms = "".join(re.findall(r"^\d+([+-]\d)=", s)[0] for s in steps)
        assert f"{lefts[0]}{terms}=?" == problem.question


@sources
def test_the_tokenizer_writes_every_text_in_76_tokens(source):
    tokenizer = arithmetic.tokenizer()
    assert tokenizer.size == 76
    for problem in problems(source):
        for text in (problem.question, problem.solution, problem.answer):
            assert tokenizer.decode(tokenizer.encode(text)) == text


def test_default_lengths_are_those_of_the_experiments():
    tokenizer = arithmetic.tokenizer()
    many = problems(Chains(size=2000))
    assert max(len(tokenizer.encode(p.question)) for p in many) == 13
    assert max(len(tokenizer.encode(p.solution)) for p in many) < 50


@pytest.mark.parametrize("numbers", [2, 6])
def test_splits_share_no_question_whatever_their_seeds(numbers):
    drawn = {
        split: {
            problem.question
            for seed in range(3)
            for problem in problems(Chains(numbers, split=split, seed=seed, size=700))
        }
        for split in arithmetic.SPLITS
    }
    assert drawn["train"] and drawn["test"]
    assert not drawn["train"] & drawn["test"]


def test_a_problem_depends_on_seed_and_index_only():
    # Written down, so that another process, Python or machine must draw the same.
    assert Chains()[1] == arithmetic.Problem(
        id="chain6-train-0-1",
        question="6+3+6-9+3-5=?",
        answer="4",
        solution="6+3=9. 9+6=15. 15-9=6. 6+3=9. 9-5=4. \\boxed{4}",
    )
    validation = Chains(split="test")
    assert [validation[index].question for index in range(4)] == [
        "7-6+8+5-7+7=?",
        "1+6+7+3+3-1=?",
        "6-5+8+6-4-8=?",
        "8-2+5+5+3+3=?",
    ]
    assert Chains(size=5)[1] == Chains(size=50)[1]
    assert Chains(seed=1)[1].question != Chains(seed=0)[1].question


def test_the_share_of_direct_solutions_is_met_and_nested():
    def direct(share):
        source = Chains(direct=share, size=2000)
        return {p.id for p in problems(source) if p.solution.startswith("\\boxed")}

    assert len(direct(0)) == 0 and len(direct(1)) == 2000
    assert len(direct(0.2)) == pytest.approx(400, abs=60)
    assert direct(0.2) < direct(0.8)


def test_the_share_changes_no_question():
    questions = [p.question for p in problems(Chains(size=50))]
    assert questions == [p.question for p in problems(Chains(direct=0.9, size=50))]


def test_iteration_ends():
    assert len(list(Chains(size=3))) == 3
    with pytest.raises(IndexError):
        Chains(size=3)[-1]


@pytest.mark.parametrize(
    "name, value",
    [("numbers", 1), ("direct", -0.1), ("direct", 1.5), ("split", "dev"), ("size", 0)],
)
def test_bad_parameters_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"{name}={value!r}"):
        Chains(**{name: value})


def test_a_difference_may_be_zero_and_not_below():
    steps = "".join(Chains(size=200)[n].solution for n in range(200))
    assert "=0. " in steps and "=-" not in steps
