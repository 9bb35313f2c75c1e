"""Countdown: any expression of the numbers that makes the target, and nothing else."""

import gzip
import itertools
import json
from fractions import Fraction

import pytest
from conftest import EXPERIMENTS, command, run
from support.deadlines import cpu_deadline

from maspo_jax.cli import evaluate
from maspo_jax.data.sources import ProblemFile
from maspo_jax.evaluation import evaluation_folder
from maspo_jax.rewards import countdown, graders
from maspo_jax.rewards.mathematics.language.tokens import Unreadable


def gold(target, *numbers):
    return json.dumps({"numbers": numbers, "target": target})


def outcome(answer, target, *numbers):
    return graders.countdown(rf"\boxed{{{answer}}}", gold(target, *numbers)).outcome


@pytest.mark.parametrize(
    "answer",
    [
        "44+19+35",
        "35 + 19 + 44",
        "(44 + 19) + 35",
        "44 - (-19 - 35)",
        "+44 + 19 + 35 = 98",
        "44 + 19 + 35 = 63 + 35 = 98",
        r"\left[44 + 19\right] + 35",
        "$44 + {19} + 35$",
        "044 + 19 + 35",
    ],
)
def test_every_spelling_of_a_sum(answer):
    assert outcome(answer, 98, 44, 19, 35) == "correct"
    assert outcome(answer, 99, 44, 19, 35) == "wrong"


@pytest.mark.parametrize(
    "answer",
    [
        "8/(3 - 8/3)",  # only exact fractions see that it is 24
        r"8 \div (3 - 8 \div 3)",
        r"\frac{8}{3 - \frac{8}{3}}",
        r"\dfrac{8}{3-8/3}",
        "8 ÷ (3 − 8/3)",
    ],
)
def test_division_is_exact(answer):
    assert outcome(answer, 24, 3, 3, 8, 8) == "correct"
    assert outcome(answer, 24.000000001, 3, 3, 8, 8) == "wrong"


@pytest.mark.parametrize("sign, value", [("+", 14), ("-", 10), ("*", 24), ("/", 6)])
def test_every_operation_in_every_spelling(sign, value):
    spelled = [sign, *(known for known, s in countdown._SYMBOLS.items() if s == sign)]
    for each in spelled:
        assert outcome(f"12 {each} 2", value, 2, 12) == "correct", each
        assert outcome(f"12 {each} 2", value + 1, 2, 12) == "wrong", each


def test_the_order_of_operations_is_that_of_python():
    signs = itertools.product("+-*/", repeat=3)
    shapes = ("{}{}{}{}{}{}{}", "({}{}{}){}({}{}{})", "{}{}({}{}{}){}{}")
    for (a, b, c), shape in itertools.product(signs, shapes):
        text = shape.format(12, a, 3, b, 5, c, 2)
        exact = shape.format("F(12)", a, "F(3)", b, "F(5)", c, "F(2)")
        value = eval(exact, {"F": Fraction})
        assert countdown.solves(text, [2, 3, 5, 12], value) == (True, "value"), text
        assert not countdown.solves(text, [2, 3, 5, 12], value + 1)[0], text


@pytest.mark.parametrize(
    "answer, expected",
    [
        ("44 + 54", "wrong"),  # another number
        ("44 + 19 + 35 + 0", "wrong"),
        ("44 + 19 + 35 + 44 - 44", "wrong"),  # twice
        ("98", "wrong"),
        ("44 + 35", "wrong"),  # one left out
        ("44 + 19 + 35 = 99", "wrong"),
        ("98 = 44 + 19 + 35", "wrong"),  # what comes first is the expression
        ("44 + 19 + 35 / (19 - 19)", "wrong"),
        ("44 / (19 - 19) + 35", "wrong"),
        ("4419 + 35", "wrong"),
        ("44 19 35", "unparsed"),
        ("44 + 19 + 35 =", "unparsed"),
        ("44 (19) 35", "unparsed"),
        ("44 + 19 + 35.0", "unparsed"),
        ("44 ** 19 + 35", "unparsed"),
        ("44 // 19 + 35", "unparsed"),
        ("44 ^ 19 + 35", "unparsed"),
        ("44! + 19 + 35", "unparsed"),
        ("(44 + 19 + 35", "unparsed"),
        ("(44 + 19] + 35", "unparsed"),
        (r"\frac{44}19 + 35", "unparsed"),
        (r"\sqrt{44} + 19 + 35", "unparsed"),
        ("no solution", "unparsed"),
        (" ", "no_answer"),
    ],
)
def test_what_is_no_solution_earns_nothing(answer, expected):
    assert outcome(answer, 98, 44, 19, 35) == expected


@pytest.mark.parametrize("four", ["٤", "４", "四", "④", "4.", "4e0", "0x4", "4_"])
def test_digits_are_those_of_ascii(four):
    assert outcome("4 + 5", 9, 4, 5) == "correct"
    assert outcome(f"{four} + 5", 9, 4, 5) == "unparsed"


HOSTILE = [
    "(" * 900 + "44" + ")" * 900,
    "-" * 1900 + "44",
    "9" * 1900,
    "*".join(["99"] * 600),
    "+".join(f"1/{n}" for n in range(1, 300)),
    "9**9**9**9",
    "44/(19-19)",
    "44/0*0",
    "٤٤+١٩+٣٥",
    "４４+19+35",
    "44²",
    "__import__('os').getcwd()",
    "44 if 1 else 2",
    "\\frac" * 300,
    "{" * 900 + "}" * 900,
    "=" * 1900,
    "1e999999999",
    "\0",
]


@pytest.mark.parametrize("answer", HOSTILE, ids=lambda answer: answer[:12])
def test_a_hostile_expression_ends_at_once_and_earns_nothing(answer):
    with cpu_deadline():
        for response in (rf"\boxed{{{answer}}}", f"Answer: {answer}", f"#### {answer}"):
            verdict = graders.countdown(response, gold(44, 44))
            assert verdict.outcome in ("wrong", "unparsed", "no_answer")


@pytest.mark.parametrize("answer", HOSTILE, ids=lambda answer: answer[:12])
def test_the_reader_itself_refuses_or_ends(answer):
    try:
        assert not countdown.solves(answer * 2, [44], 44)[0]
    except Unreadable:
        pass


@pytest.mark.parametrize(
    "text",
    ["5", "{1,2}", '{"target": 3}', '{"numbers": [1]}', "[1]", '{"numbers": 3}',
     '{"numbers": ["1"], "target": 1}', '{"numbers": [true], "target": 1}',
     '{"numbers": [1], "target": NaN}', '{"numbers": [1], "target": Infinity}'],
)  # fmt: skip
def test_another_gold_is_no_task_and_an_error(text):
    assert countdown.task_of(text) is None
    assert graders.countdown(r"\boxed{1}", text).outcome == "error"


@pytest.mark.parametrize("name, rows", [("train", 4096), ("test", 256)])
def test_real_tasks_are_solved_by_their_witness_alone(shared, name, rows):
    """And not by that of the task before, nor by one that leaves a number out."""
    path = shared / "data" / "countdown" / f"{name}.jsonl.gz"
    with gzip.open(path, "rt") as file:
        witnesses = [json.loads(line)["answer"] for line in file]
    problems = ProblemFile(str(path))
    assert len(problems) == len(witnesses) == rows
    for index, witness in enumerate(witnesses):
        task = problems[index].answer
        right = [
            graders.countdown(text, task).outcome
            for text in (rf"so \boxed{{{witness}}}", f"#### {witness}",
                         f"<think>1 + 1</think><answer>{witness}</answer>")
        ]  # fmt: skip
        assert right == ["correct"] * 3, (witness, task)
        numbers, target = countdown.task_of(task)
        assert countdown.solves(witness, numbers[1:], target)[0] is False
        assert countdown.solves(f"{witness} + 1 - 1", numbers, target)[0] is False
        assert countdown.solves(witness, numbers, target + 1)[0] is False
        assert graders.countdown(rf"\boxed{{{witnesses[index - 1]}}}", task).reward == 0


def test_the_rows_of_other_systems_hold_the_same_tasks(shared):
    for name in ("countdown_hf", "countdown_verl"):
        source = ProblemFile(str(shared / "data" / "formats" / f"{name}.jsonl"))
        answers = [source[index].answer for index in range(len(source))]
        assert countdown.task_of(answers[-1]) == ([44, 19, 35], 98)


@pytest.mark.parametrize(
    "numbers, target, fault",
    [
        (["44", 19], 63, "'44' of a Countdown task is no number"),
        ([44, 19], "63", "'63' of a Countdown task is no number"),
        ([44, True], 45, "True of a Countdown task is no number"),
        ([44, 19], False, "False of a Countdown task is no number"),
        ([44, float("nan")], 45, "nan of a Countdown task is no number"),
        ([44, 19], float("inf"), "inf of a Countdown task is no number"),
        ([44, None], 45, "None of a Countdown task is no number"),
        ([[44], 19], 63, "[44] of a Countdown task is no number"),
        ([4.5, 1], 5.5, "4.5 of a Countdown task is not a whole number"),
        ([44, -19], 25, "-19 of a Countdown task is not a whole number"),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_a_task_that_no_answer_solves_is_refused_by_its_row(
    write, nested, numbers, target, fault
):
    """It would be trained on without ever earning anything."""
    rows = [{"target": 63, "nums": [44, 19]}, {"target": target, "nums": numbers}]
    if nested:
        truths = [{"target": r["target"], "numbers": r["nums"]} for r in rows]
        rows = [
            {"prompt": "?", "reward_model": {"ground_truth": truth}} for truth in truths
        ]
    path = write(*rows)
    with pytest.raises(ValueError) as caught:
        len(ProblemFile(path))
    assert f"{path}, line 2" in str(caught.value) and fault in str(caught.value)


@pytest.mark.parametrize("number", [44, 44.0])
def test_whole_numbers_may_be_floats(write, number):
    problem = ProblemFile(write({"target": 63.0, "nums": [number, 19]}))[0]
    assert graders.countdown(r"\boxed{44 + 19}", problem.answer).reward == 1


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    path = tmp_path_factory.mktemp("tasks") / "tasks.jsonl"
    rows = [{"target": n + 3, "nums": [n, 3]} for n in range(10, 26)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture(scope="module")
def trained(tasks, tmp_path_factory):
    """The folder of a run on Countdown tasks."""
    folder = tmp_path_factory.mktemp("countdown")
    path, held_out = folder / "experiment.py", folder / "held_out.jsonl"
    rows = [{"target": n + 4, "nums": [n, 4]} for n in range(10, 18)]
    held_out.write_text("\n".join(map(json.dumps, rows)))
    path.write_text(
        f"""
import dataclasses, sys
sys.path.insert(0, {str(EXPERIMENTS)!r})
from gsm8k_bytes import experiment
from maspo_jax.config import Grading, Validation
from maspo_jax.data.sources import ProblemFile
from maspo_jax.rewards import graders

tasks = ProblemFile({str(tasks)!r})
experiment = dataclasses.replace(
    experiment,
    train_set=tasks,
    validation=Validation(ProblemFile({str(held_out)!r}), problems=8),
    grading=Grading(graders.countdown),
    steps=1,
)
"""
    )
    status, output = command(path, "--run", folder / "run")
    assert status == 0, output
    return folder / "run"


def test_a_file_of_tasks_is_evaluated_with_their_grader(trained, tasks, tmp_path):
    words = ("--samples", 2, "--batch", 16, "--out", tmp_path / "out")
    status, output = run(evaluate, trained, tasks, *words)
    assert status == 0, output
    (about,) = evaluation_folder.read_settings(tmp_path / "out")["benchmarks"].values()
    assert about["grader"] == "countdown"
    lines = (tmp_path / "out" / "tasks.jsonl").read_text().splitlines()
    rows = list(map(json.loads, lines))
    assert rows[0]["gold"] == gold(13, 10, 3) and len(rows) == 32
    assert "error" not in {row["outcome"] for row in rows}


def test_a_policy_of_this_grader_is_asked_other_problems_with_the_usual_one(
    trained, write, tmp_path
):
    file = write(*({"problem": f"{n}+1=?", "answer": str(n + 1)} for n in range(3)))
    words = ("--samples", 2, "--batch", 16, "--out", tmp_path / "out")
    status, output = run(evaluate, trained, file, *words)
    assert status == 0, output
    lines = (tmp_path / "out" / "some.jsonl").read_text().splitlines()
    assert "error" not in {json.loads(line)["outcome"] for line in lines}


def test_a_file_of_tasks_and_other_problems_is_still_refused(trained, write, tmp_path):
    problem, task = {"problem": "1+1=?", "answer": "2"}, {"problem": "5 of 2 and 3?"}
    task["answer"] = {"target": 5, "numbers": [2, 3]}
    for rows, message in (
        ((task, problem), "some holds some.jsonl:2, whose answer '2'"),
        ((problem, task), "take one that can: countdown"),
    ):
        words = (trained, write(*rows), "--out", tmp_path / "out")
        status, output = run(evaluate, *words)
        assert status == 2 and message in output, output
        assert not (tmp_path / "out").exists()
