"""Rows of every schema give bare questions and checkable answers, or say why not."""

import json

import pytest

from maspo_jax.data.prompts import templates
from maspo_jax.data.sources import ProblemFile
from maspo_jax.data.sources.schemas import SCHEMAS, Columns
from maspo_jax.rewards import graders

QUESTION = "How many bolts are $\\frac{1}{2}$ of {2,500}?"
WORKED = "Half of 2500 is <<2500/2=1250>>1,250 bolts.\n#### 1,250"
BOXED = "First \\boxed{7}, but half of it is $\\boxed{\\frac{2500}{2}}$, not \\boxed{8"
HALF = "\\frac{2500}{2}"


def turns(content, system="Be brief."):
    return [
        {"role": "system", "content": system},
        {"role": "user", "content": content},
    ]


def chat(content, **rest):
    return {"prompt": turns(content), **rest}


def gold(answer):
    return {"reward_model": {"style": "rule", "ground_truth": answer}}


# Name of a schema, a row of it, and the answer and solution to be read from the row.
ROWS = [
    ("gsm8k", {"question": QUESTION, "answer": WORKED}, "1250", WORKED),
    ("math", {"problem": QUESTION, "solution": BOXED}, HALF, BOXED),
    ("problem", {"problem": QUESTION, "answer": "1250"}, "1250", None),
    ("problem", {"problem": QUESTION, "answer": "7", "solution": BOXED}, "7", BOXED),
    (
        "problem",
        {"problem": QUESTION, "answer": "70.0", "answer_norm": "70"},
        "70",
        None,
    ),
    ("question", {"question": QUESTION, "answer": "1250"}, "1250", None),
    ("verl", chat(QUESTION, **gold("1250")), "1250", None),
    ("verl", chat(QUESTION, **gold(["1250"])), "1250", None),
    (
        "verl",
        chat("?", **gold("1250"), extra_info={"question": QUESTION, "answer": WORKED}),
        "1250",
        WORKED,
    ),
    (
        "verl",
        chat("?", **gold("1250"), extra_info={"raw_problem": QUESTION}),
        "1250",
        None,
    ),
    ("verl", {"prompt": QUESTION, **gold("1250"), "solution": "1250"}, "1250", None),
    ("prompt", {"prompt": QUESTION, "answer": "204", "source": "aime"}, "204", None),
    ("prompt", chat(QUESTION, answer="42", info='{"a": 1}'), "42", None),
    ("trl", {"prompt": QUESTION, "solution": BOXED}, HALF, BOXED),
    ("trl", chat(QUESTION, solution="$\\frac{1}{3}$"), "$\\frac{1}{3}$", None),
    ("nemo", {"problem": QUESTION, "expected_answer": "42"}, "42", None),
    (
        "nemo_dialog",
        {"messages": [*turns(QUESTION), {"role": "assistant", "content": "42"}]},
        "42",
        None,
    ),
    (
        "nemo_dialog",
        {"messages": [*turns(QUESTION), {"role": "assistant", "content": BOXED}]},
        HALF,
        BOXED,
    ),
    (
        "nemo_dialog",
        {"messages": [*turns(QUESTION), {"role": "assistant", "content": WORKED}]},
        "1250",
        WORKED,
    ),
    (
        "sharegpt",
        {
            "conversations": [
                {"from": "human", "value": QUESTION},
                {"from": "gpt", "value": BOXED},
            ]
        },
        HALF,
        BOXED,
    ),
    (
        "open_instruct",
        {"messages": turns(QUESTION), "ground_truth": "4", "dataset": "math"},
        "4",
        None,
    ),
    (
        "open_reasoner",
        {"prompt": [{"from": "user", "value": QUESTION}], "final_answer": "4"},
        "4",
        None,
    ),
    (
        "math",
        {
            "source": "numina",
            "problem": QUESTION,
            "solution": BOXED,
            "messages": [*turns("?"), {"role": "assistant", "content": BOXED}],
        },
        HALF,
        BOXED,
    ),
    ("slime", chat(QUESTION, label="34"), "34", None),
    ("areal", {"messages": turns(QUESTION), "answer": WORKED}, "1250", WORKED),
    ("messages", {"messages": turns(QUESTION), "answer": "1250"}, "1250", None),
    (
        "areal_boba",
        {
            "prompt": f"<｜User｜>{QUESTION}<｜Assistant｜><think>\n",
            "solutions": [f"\\boxed{{{HALF}}}"],
        },
        HALF,
        None,
    ),
    (
        "roll",
        {"prompt": json.dumps(turns(QUESTION)), "ground_truth": "10", "tag": "x"},
        "10",
        None,
    ),
    ("aime", {"ID": "1", "Problem": QUESTION, "Answer": 204}, "204", None),
    (
        "aime",
        {"Problem": QUESTION, "Solution": BOXED, "Answer": 204},
        "204",
        BOXED,
    ),
    ("olympiadbench", {"question": QUESTION, "final_answer": ["$2$"]}, "$2$", None),
    (
        "olympiadbench",
        {"question": QUESTION, "final_answer": "0", "solution": ["Zero."]},
        "0",
        "Zero.",
    ),
    (
        "countdown",
        {"problem": QUESTION, "answer": "35 + 19", "nums": [19, 35], "target": 54},
        '{"numbers": [19, 35], "target": 54}',
        None,
    ),
    (
        "verl",
        chat(QUESTION, **gold({"target": 54, "numbers": [19, 35]})),
        '{"numbers": [19, 35], "target": 54}',
        None,
    ),
    ("alpaca", {"instruction": QUESTION, "input": "", "output": BOXED}, HALF, BOXED),
    ("nemotron", {"input": turns(QUESTION), "output": BOXED}, HALF, BOXED),
    ("nemotron", {"input": QUESTION, "output": "1250"}, "1250", None),
    (
        "metamath",
        {"query": QUESTION, "response": f"{WORKED}\nThe answer is: 1,250"},
        "1250",
        f"{WORKED}\nThe answer is: 1,250",
    ),
    (
        "metamath",
        {"query": QUESTION, "response": "Half.\nThe answer is: 1250"},
        "1250",
        "Half.\nThe answer is: 1250",
    ),
    ("completion", {"prompt": QUESTION, "completion": BOXED}, HALF, BOXED),
]
every_row = pytest.mark.parametrize("schema, row, answer, solution", ROWS)
# Where a schema keeps its gold; elsewhere in `answer`.
GOLD = {
    "math": "solution",
    "verl": "reward_model",
    "trl": "solution",
    "nemo": "expected_answer",
    "nemo_dialog": "messages",
    "open_instruct": "ground_truth",
    "open_reasoner": "final_answer",
    "sharegpt": "conversations",
    "slime": "label",
    "areal_boba": "solutions",
    "roll": "ground_truth",
    "aime": "Answer",
    "olympiadbench": "final_answer",
    "countdown": "nums",
    "alpaca": "output",
    "nemotron": "output",
    "metamath": "response",
    "completion": "completion",
}


def refuse(source, *words):
    """Asserts that reading fails, with all the words."""
    with pytest.raises(ValueError) as caught:
        len(source)
    assert not [word for word in words if word not in str(caught.value)]


def parts(problem):
    return problem.question, problem.answer, problem.solution


def test_every_schema_is_tested():
    assert {schema for schema, *_ in ROWS} | {"forms"} == set(SCHEMAS)


@every_row
@pytest.mark.parametrize(
    "name", ["some.jsonl", "some.jsonl.gz", "some.json", "some.parquet"]
)
def test_rows_are_recognized_and_read(write, schema, row, answer, solution, name):
    path = write(row, row, name=name)
    for source in (ProblemFile(path), ProblemFile(path, schema)):
        assert len(source) == 2
        assert parts(source[1]) == (QUESTION, answer, solution)


@every_row
def test_a_row_without_its_gold_is_refused(write, schema, row, answer, solution):
    field = "answer_norm" if "answer_norm" in row else GOLD.get(schema, "answer")
    empty = {"reward_model": gold("")["reward_model"]}.get(field, " ")
    bad = [{k: v for k, v in row.items() if k != field}]
    bad += [{**row, field: value} for value in (None, empty, {"a": 1}, True)]
    for damaged in bad:
        if field in damaged or "answer" not in field:
            path = write(row, damaged)
            refuse(ProblemFile(path), path, "line 2", f"`{field}", "this row")


@every_row
def test_a_row_without_its_question_is_refused(write, schema, row, answer, solution):
    columns = ("prompt", "problem", "question", "messages", "conversations", "Problem")
    columns += ("instruction", "query", "input")
    field = next(column for column in columns if column in row)
    for value in (None, "", 7):
        # Countdown asks for itself where nobody else does.
        if schema == "countdown" and not value:
            continue
        path = write(row, {**row, field: value, "extra_info": None})
        refuse(ProblemFile(path), path, "line 2", f"`{field}`")


@pytest.mark.parametrize("style", templates.ALL, ids=lambda style: style.name)
@pytest.mark.parametrize("frame", ["text", "chat", "JSON", "rendered"])
def test_instructions_that_a_row_already_has_are_taken_off(write, style, frame):
    asked = style.render(QUESTION)
    prompt = {
        "text": asked,
        "chat": turns(asked),
        "JSON": json.dumps(turns(asked)),
        "rendered": f"<｜begin▁of▁sentence｜><｜User｜>{asked}<｜Assistant｜><think>",
    }[frame]
    assert ProblemFile(write({"prompt": prompt, "answer": "1"}))[0].question == QUESTION


@pytest.mark.parametrize(
    "value, answer",
    [
        (27.0, "27"),
        (-3.0, "-3"),
        (-0.5, "-0.5"),
        (0, "0"),
        (10**20, "1" + "0" * 20),
        ("025", "25"),
        ("000", "0"),
        ("0204", "0204"),
        ("00", "00"),
        ("-025", "-025"),
        (" 1,080 ", "1,080"),
        (["\\sqrt{2}"], "\\sqrt{2}"),
        ([7.0], "7"),
        ("336^\\circ", "336^\\circ"),
        ("2, 3", "2, 3"),
    ],
)
def test_typed_golds_become_the_text_they_mean(write, value, answer):
    assert ProblemFile(write({"problem": "?", "answer": value}))[0].answer == answer


@pytest.mark.parametrize("value", [["1", "2"], float("nan"), True, [["1"]], {"a": 1}])
def test_golds_of_no_meaning_are_refused(write, value):
    path = write({"problem": "?", "answer": value})
    refuse(ProblemFile(path, "problem"), f"{path}, line 1", "`answer` is")


def test_the_first_of_several_forms_is_read_where_asked_for(write):
    path = write({"problem": "?", "answer": ["\\frac12", "0.5"]})
    refuse(ProblemFile(path), "2 answers", "'forms'")
    assert ProblemFile(path, "forms")[0].answer == "\\frac12"


def test_a_context_stands_before_its_question(write):
    row = {"question": "So?", "final_answer": ["1"], "context": "Let $x=1$."}
    assert ProblemFile(write(row))[0].question == "Let $x=1$.\nSo?"


@pytest.mark.parametrize("schema", [None, "countdown"])
def test_countdown_asks_for_itself(write, schema):
    problem = ProblemFile(write({"target": 98, "nums": [44, 19, 35]}), schema)[0]
    assert "[44, 19, 35]" in problem.question and "98" in problem.question


def test_columns_of_any_name_can_be_given(write):
    columns = Columns(question="input", answer="label", solution="why")
    rows = [
        {"input": QUESTION, "label": 27.0, "why": WORKED, "answer": "no"},
        {"input": turns(QUESTION), "label": ["27"]},
    ]
    source = ProblemFile(write(*rows), columns)
    assert parts(source[0]) == (QUESTION, "27", WORKED)
    assert parts(source[1]) == (QUESTION, "27", None)
    path = write({"input": QUESTION})
    refuse(ProblemFile(path), "input", "Columns(question=..., answer=...)")
    refuse(ProblemFile(path, columns), "`label` is missing", "line 1")


@pytest.mark.parametrize(
    "ending, answer",
    [
        ("#### 1,080", "1080"),
        ("#### -3", "-3"),
        ("#### 1,234,567 \n", "1234567"),
        ("#### 5 #### 6", "6"),
        ("#### 1, 2", "1, 2"),
    ],
)
def test_the_gold_of_gsm8k_follows_the_last_hashes(write, ending, answer):
    row = {"question": QUESTION, "answer": f"So.\n{ending}"}
    assert ProblemFile(write(row))[0].answer == answer


@pytest.mark.parametrize("ending", ["5", "####", "#### \n", "#### 5\nor 6"])
def test_a_solution_that_does_not_end_in_its_answer_is_refused(write, ending):
    path = write({"question": QUESTION, "answer": f"So.\n{ending}"})
    refuse(ProblemFile(path, "gsm8k"), "line 1", "`answer` does not end in `#### N`")


@pytest.mark.parametrize(
    "solution, answer",
    [
        ("\\boxed{1} then \\boxed{2}", "2"),
        ("\\boxed{\\{1, \\{2\\}\\}}", "\\{1, \\{2\\}\\}"),
        ("\\boxed{\\left\\{x\\right.}", "\\left\\{x\\right."),
        ("\\boxed{\\frac{1}{\\sqrt{2}}}", "\\frac{1}{\\sqrt{2}}"),
        ("\\boxed {3}", "3"),
        ("$\\boxed 3$.", "3"),
        ("\\fbox{4}", "4"),
        ("\\boxed{5} and \\boxed{", "5"),
        ("\\boxed{5} and \\boxed{}", "5"),
        ("\\boxed{\\boxed{6}", "6"),
        ("\\boxed{7} \\boxedtext{8}", "7"),
    ],
)
def test_the_gold_of_math_is_in_the_last_complete_box(write, solution, answer):
    row = {"problem": QUESTION, "solution": solution}
    assert ProblemFile(write(row))[0].answer == answer


def test_a_box_in_a_box_is_one_answer(write):
    boxed = "\\boxed{\\fbox{3}}"
    found = ProblemFile(write({"problem": QUESTION, "answer": boxed}))[0].answer
    assert graders.grade("\\boxed{3}", found).outcome == "correct"
    solved = {"problem": QUESTION, "solution": f"\\boxed{{1}}, no, {boxed}"}
    found = ProblemFile(write(solved, name="solved.jsonl"))[0].answer
    assert found == "\\fbox{3}"


@pytest.mark.parametrize("solution", ["it is 3", "\\boxed{3", "\\boxed{ }", "\\boxed"])
def test_a_solution_without_a_complete_box_is_refused(write, solution):
    path = write({"problem": QUESTION, "solution": solution})
    refuse(ProblemFile(path), "line 1", "no complete \\boxed{}")


@pytest.mark.parametrize("schema", ["question", "problem", "prompt", "roll", "nemo"])
def test_a_worked_solution_in_any_column_of_answers_is_read_by_its_hashes(
    write, schema
):
    row = next(row for name, row, *_ in ROWS if name == schema)
    field = GOLD.get(schema, "answer")
    source = ProblemFile(write(row, {**row, field: WORKED}))
    assert parts(source[1]) == (QUESTION, "1250", WORKED)


def test_two_answers_of_one_solution_are_refused(write):
    row = {"query": QUESTION, "response": "So.\n#### 5\nThe answer is: 6"}
    refuse(ProblemFile(write(row)), "line 1", "`response` has two answers, '5'", "'6'")


def test_a_chat_of_several_questions_is_refused(write):
    row = chat(QUESTION, **gold("1"))
    row["prompt"] *= 2
    refuse(ProblemFile(write(row)), "line 1", "2 user turns")


DIALOG = [*turns(QUESTION), {"role": "assistant", "content": "1250"}]


@pytest.mark.parametrize("messages", [json.dumps(DIALOG), [*DIALOG, "cut off"]])
def test_a_dialog_may_be_text_and_hold_what_is_no_turn(write, messages):
    (problem,) = ProblemFile(write({"messages": messages}))
    assert (problem.question, problem.answer) == (QUESTION, "1250")


@pytest.mark.parametrize("messages", ["hello", "5", '[{"role": '])
def test_text_that_is_no_dialog_is_refused(write, messages):
    with pytest.raises(ValueError, match="line 1: `messages` is not a chat"):
        len(ProblemFile(write({"messages": messages})))
