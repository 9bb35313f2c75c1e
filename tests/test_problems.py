"""Files of every layout give bare questions and checkable answers, or say why not."""

import dataclasses
import gzip
import json
import pathlib

import pytest

from maspo_jax.data import problems, templates
from maspo_jax.data.problems import Problem, ProblemFile

SHARED = pathlib.Path(__file__).parents[1] / ".." / "shared" / "data"
needs_shared = pytest.mark.skipif(
    not SHARED.is_dir(), reason="needs the problem sets in ../shared/data"
)

QUESTION = "How many bolts are $\\frac{1}{2}$ of {2,500}?"
WORKED = "Half of 2500 is <<2500/2=1250>>1,250 bolts.\n#### 1,250"
BOXED = "First \\boxed{7}, but half of it is $\\boxed{\\frac{2500}{2}}$, not \\boxed{8"


def chat(content, **rest):
    turns = [{"role": "system", "content": "Be brief."}]
    return {"prompt": [*turns, {"role": "user", "content": content}], **rest}


def gold(answer):
    return {"reward_model": {"style": "rule", "ground_truth": answer}}


# Name of a layout, a row of it, and the answer and solution to be read from the row.
ROWS = [
    ("gsm8k", {"question": QUESTION, "answer": WORKED}, "1250", WORKED),
    ("math", {"problem": QUESTION, "solution": BOXED}, "\\frac{2500}{2}", BOXED),
    ("problem", {"problem": QUESTION, "answer": "1250"}, "1250", None),
    (
        "problem",
        {"problem": QUESTION, "answer": "\\frac12", "solution": BOXED},
        "\\frac12",
        BOXED,
    ),
    ("problem", {"problem": QUESTION, "answer": 1250.0}, "1250", None),
    ("problem", {"problem": QUESTION, "answer": -0.5}, "-0.5", None),
    ("problem", {"problem": QUESTION, "answer": 0}, "0", None),
    (
        "problem",
        {"problem": QUESTION, "answer": "025", "answer_norm": "25"},
        "25",
        None,
    ),
    ("question", {"question": QUESTION, "answer": "1250"}, "1250", None),
    ("verl", chat(QUESTION, **gold("1250")), "1250", None),
    ("verl", chat(QUESTION, **gold(["1250"])), "1250", None),
    *(
        ("verl", chat(style.render(QUESTION), **gold("1250")), "1250", None)
        for style in templates.ALL
    ),
    (
        "verl",
        chat("?", **gold("1250"), extra_info={"question": QUESTION, "answer": WORKED}),
        "1250",
        WORKED,
    ),
    ("verl", {"prompt": QUESTION, **gold("1250"), "solution": "1250"}, "1250", None),
]
every_row = pytest.mark.parametrize("layout, row, answer, solution", ROWS)


@pytest.fixture
def write(tmp_path):
    def write(*rows, name="some.jsonl"):
        lines = [r if isinstance(r, str) else json.dumps(r) for r in rows]
        data = "\n".join([*lines, ""]).encode()
        path = tmp_path / name
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return str(path)

    return write


def refuse(source, *words, error=ValueError):
    """Asserts that reading fails, with all the words, and for `len` as for an item."""
    for read in (len, lambda s: s[0]):
        with pytest.raises(error) as caught:
            read(source)
        assert not [word for word in words if word not in str(caught.value)]


def test_every_layout_is_tested():
    assert {layout for layout, *_ in ROWS} == set(problems.LAYOUTS)


@every_row
@pytest.mark.parametrize("name", ["some.jsonl", "some.jsonl.gz"])
def test_rows_are_recognized_and_read(write, layout, row, answer, solution, name):
    path = write(row, row, name=name)
    expected = (QUESTION, answer, solution)
    for source in (ProblemFile(path), ProblemFile(path, layout)):
        assert len(source) == 2
        problem = source[1]
        assert (problem.question, problem.answer, problem.solution) == expected


@every_row
def test_a_row_without_its_gold_is_refused(write, layout, row, answer, solution):
    field = {"gsm8k": "answer", "math": "solution", "verl": "reward_model"}
    field = "answer_norm" if "answer_norm" in row else field.get(layout, "answer")
    word = "`answer" if field == "answer_norm" else f"`{field}"
    damaged = [
        {k: v for k, v in row.items() if k not in (field, "answer")},
        {**row, field: None},
        {**row, field: gold("")["reward_model"] if layout == "verl" else " "},
        {**row, field: {"a": 1}},
        {**row, field: True},
    ]
    for bad in damaged:
        path = write(row, bad)
        refuse(ProblemFile(path), path, "line 2", word, "remove this row")


@every_row
def test_a_row_without_its_question_is_refused(write, layout, row, answer, solution):
    field = next(c for c in ("prompt", "problem", "question") if c in row)
    for value in (None, "", 7):
        path = write(row, {**row, field: value, "extra_info": None})
        refuse(ProblemFile(path), path, "line 2", f"`{field}`")


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


@pytest.mark.parametrize("solution", ["it is 3", "\\boxed{3", "\\boxed{ }", "\\boxed"])
def test_a_solution_without_a_complete_box_is_refused(write, solution):
    path = write({"problem": QUESTION, "solution": solution})
    refuse(ProblemFile(path), "line 1", "no complete \\boxed{}")


def test_a_worked_solution_is_no_final_answer(write):
    path = write({"question": "?", "answer": "1"}, {"question": "?", "answer": WORKED})
    refuse(ProblemFile(path), "line 2", "`answer` is a worked solution")


def test_a_chat_of_several_questions_is_refused(write):
    row = chat(QUESTION, **gold("1"))
    row["prompt"] *= 2
    refuse(ProblemFile(write(row)), "line 1", "2 user turns")


def test_identifiers_are_kept_or_say_where_the_row_is(write):
    row = {"problem": "?", "answer": "1"}
    rows = [{**row, "id": 0}, {**row, "unique_id": "a/b"}, row, {**row, "id": None}]
    names = [problem.id for problem in ProblemFile(write(*rows))]
    assert names == ["0", "a/b", "some.jsonl:3", "some.jsonl:4"]
    indexed = chat("?", **gold("1"), extra_info={"index": 5})
    assert ProblemFile(write(indexed))[0].id == "5"


def test_only_a_newline_ends_a_row(write):
    text = "One\u2028two\u0085three\x0cfour\r?"
    row = json.dumps({"problem": text, "answer": "1"}, ensure_ascii=False)
    source = ProblemFile(write(row.replace("\\r", "\\r"), "", "  \r", row))
    assert [problem.question for problem in source] == [text, text]


@pytest.mark.parametrize(
    "bad", ['{"problem": ', "not JSON", "[1]", "3", '"a"', "\ufffe"]
)
def test_a_malformed_line_is_named(write, bad):
    path = write({"problem": "?", "answer": "1"}, "", bad)
    refuse(ProblemFile(path), f"{path}, line 3", "one")


def test_bytes_that_are_no_text_are_named(write, tmp_path):
    path = tmp_path / "some.parquet"
    path.write_bytes(b"PAR1\xff\xfe\x00\n")
    refuse(ProblemFile(str(path)), f"{path}, line 1", "one JSON object per line")


@pytest.mark.parametrize("keep", [4, 30, -9])
def test_a_damaged_gzip_file_is_named(write, tmp_path, keep):
    rows = [{"problem": f"{i}{i * i}?", "answer": str(i)} for i in range(200)]
    whole = pathlib.Path(write(*rows, name="whole.jsonl.gz"))
    part = tmp_path / "part.jsonl.gz"
    part.write_bytes(whole.read_bytes()[:keep])
    refuse(ProblemFile(str(part)), str(part), "damaged gzip")
    part.write_bytes(b"plain text")
    refuse(ProblemFile(str(part)), str(part), "damaged gzip")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (str(tmp_path / "gone.jsonl"), str(tmp_path)):
        refuse(ProblemFile(path), path, error=FileNotFoundError)


@pytest.mark.parametrize("lines", [(), ("", " ")])
def test_an_empty_file_is_refused(write, lines):
    path = write(*lines)
    refuse(ProblemFile(path), path, "is empty")


def test_an_unknown_layout_lists_columns_and_layouts(write):
    path = write({"target": 36, "nums": [1, 2]})
    refuse(ProblemFile(path), "line 1", "target, nums", *problems.LAYOUTS)
    with pytest.raises(ValueError, match="'gsm'.*verl, gsm8k"):
        ProblemFile(path, layout="gsm")


def test_the_first_rows_are_read_alone(write):
    rows = [{"problem": "?", "answer": str(i)} for i in range(3)]
    path = write(*rows, "damaged")
    assert [p.answer for p in ProblemFile(path, first=2)] == ["0", "1"]
    with pytest.raises(ValueError, match="first=0"):
        ProblemFile(path, first=0)


def test_an_experiment_can_hold_it(write):
    source = ProblemFile(write({"problem": "?", "answer": "1"}), first=1)
    assert len(source) == 1
    again = ProblemFile(**json.loads(json.dumps(dataclasses.asdict(source))))
    assert again == source and hash(again) == hash(source)


def test_nothing_is_read_before_it_is_asked_for():
    ProblemFile("gone.jsonl")


@needs_shared
def test_real_gsm8k_with_its_line_separator():
    source = ProblemFile(str(SHARED / "gsm8k" / "train.jsonl.gz"))
    assert len(source) == 7473
    row = next(p for p in source if p.id == "gsm8k-train-2381")
    assert "\u2028" in row.question + row.solution
    assert all(p.answer.lstrip("-").replace(".", "").isdigit() for p in source)
    assert all(p.solution.count("####") == 1 for p in source)


@needs_shared
@pytest.mark.parametrize(
    "name, size",
    [
        ("aime24/test.jsonl", 30),
        ("aime25/test.jsonl", 30),
        ("amc23/test.jsonl", 40),
        ("dapo_math_17k/train.jsonl.gz", 17917),
        ("deepscaler_preview/train.jsonl.gz", 39808),
        ("gsm8k/test.jsonl.gz", 1319),
        ("math500/test.jsonl", 500),
        ("math_train/train.jsonl.gz", 7470),
        ("minerva/test.jsonl", 272),
        ("olympiadbench/test.jsonl.gz", 675),
    ],
)
def test_real_sets_are_read_whole(name, size):
    source = ProblemFile(str(SHARED / name))
    assert len(source) == size
    assert len({problem.id for problem in source}) == size


@needs_shared
@pytest.mark.parametrize(
    "name",
    [
        "dapo_math_17k",
        "flowrl_eval",
        "gsm8k_hf",
        "math500",
        "math_hendrycks",
        "open_r1_dapo_processed",
        "openrlhf",
        "verifiers",
        "verl_gsm8k",
        "verl_ground_truth_list",
        "verl_math",
    ],
)
def test_toy_rows_of_every_layout_hold_the_same_problem(name):
    problem = ProblemFile(str(SHARED / "formats" / f"{name}.jsonl"))[0]
    toy = "A box holds 17 red pens and 25 blue pens. How many pens are in the box?"
    assert problem == Problem(problem.id, toy, "42", problem.solution)
