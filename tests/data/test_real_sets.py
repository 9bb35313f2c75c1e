"""Every real set and every toy row of ../shared/data is read, whole and right."""

import pytest
from conftest import SHARED

from maspo_jax.data.sources import Distinct, ProblemFile, containers, schemas

DATA = SHARED / "data"
pytestmark = pytest.mark.shared

SIZES = {
    "aime24/test.jsonl": 30,
    "aime25/test.jsonl": 30,
    "aime25/test_math_ai_raw.jsonl": 30,
    "aime_1983_2023/train.jsonl.gz": 975,
    "amc22_23/test.jsonl": 83,
    "amc23/test.jsonl": 40,
    "countdown/test.jsonl.gz": 256,
    "countdown/train.jsonl.gz": 4096,
    "dapo_math_17k/train.jsonl.gz": 17917,
    "deepmath_5k/train.jsonl.gz": 4994,
    "deepscaler_preview/train.jsonl.gz": 39808,
    "gsm8k/test.jsonl.gz": 1319,
    "gsm8k/train.jsonl.gz": 7473,
    "math500/test.jsonl": 500,
    "math_lvl3to5/train.jsonl.gz": 8521,
    "math_train/train.jsonl.gz": 7470,
    "minerva/test.jsonl": 272,
    "olympiadbench/test.jsonl.gz": 675,
    "raw/ttrl_aime24.json": 30,
}
# Rows whose answer is the text `None`; by their question it is 9, and 2.
UNANSWERED = {"math_lvl3to5/train.jsonl.gz": 2}
FILES = sorted(
    path.relative_to(DATA).as_posix()
    for path in DATA.rglob("*.*")
    if path.suffix in (".jsonl", ".json", ".gz", ".parquet")
)
FORMATS = [name for name in FILES if name.startswith("formats/")]
TOY = "A box holds 17 red pens and 25 blue pens. How many pens are in the box?"
BOLTS = "A machine makes 1,250 bolts per hour. How many bolts does it make in 8 hours?"
# Fixtures of another content than the three toy problems.
OTHERS = {"countdown_hf", "countdown_verl", "olympiadbench"}


def stem(name):
    return name.removeprefix("formats/").split(".")[0]


def test_no_set_is_forgotten():
    replicated = "raw/dapo_aime-2024.verl.parquet"
    real = {
        name for name in FILES if not name.startswith(("formats/", "checker_cases/"))
    }
    assert real == set(SIZES) | {replicated}


@pytest.mark.parametrize("name", SIZES)
def test_real_sets_are_read_whole(name):
    missing = UNANSWERED.get(name, 0)
    source = ProblemFile(str(DATA / name), unanswered=missing)
    assert len(source) == SIZES[name] - missing
    assert len({problem.id for problem in source}) == len(source)


@pytest.mark.parametrize("name", FORMATS)
def test_toy_rows_of_every_schema_hold_the_same_problems(name):
    source = Distinct(ProblemFile(str(DATA / name)))
    assert len({problem.id for problem in source}) == len(source)
    if stem(name) not in OTHERS:
        assert (source[0].question, source[0].answer) == (TOY, "42")
        assert source[1].question == BOLTS
        assert source[1].answer in ("10000", "10,000", "10{,}000")
        if len(source) > 2:
            assert source[2].question == "What is $\\frac{1}{2}+\\frac{1}{3}$?"


def test_toy_rows_of_other_content():
    def golds(name):
        return [problem.answer for problem in ProblemFile(str(DATA / "formats" / name))]

    assert golds("olympiadbench.jsonl") == ["$2,-2$", "$90$"]
    assert golds("countdown_verl.jsonl") == ['{"numbers": [44, 19, 35], "target": 98}']
    assert golds("countdown_hf.jsonl")[1:] == golds("countdown_verl.jsonl")


def test_the_toy_rows_cover_what_rows_are_recognized_as():
    found = {
        schemas.recognize(next(containers.rows(str(DATA / n)))[1]) for n in FORMATS
    }
    without = {"messages", "forms", "open_instruct", "open_reasoner", "sharegpt"}
    without |= {"alpaca", "nemotron", "metamath", "completion"}
    assert set(schemas.SCHEMAS) - found == without


def test_gsm8k_with_its_line_separator():
    source = ProblemFile(str(DATA / "gsm8k" / "train.jsonl.gz"))
    row = next(p for p in source if p.id == "gsm8k-train-2381")
    assert "\u2028" in row.question + row.solution
    assert all(p.answer.lstrip("-").replace(".", "").isdigit() for p in source)
    assert all(p.solution.count("####") == 1 for p in source)


def test_form_feeds_of_dapo_are_kept_as_they_are():
    source = ProblemFile(str(DATA / "dapo_math_17k" / "train.jsonl.gz"))
    assert sum("\x0crac{" in problem.question for problem in source) == 606


def test_a_replicated_set_is_read_whole_and_made_distinct():
    source = ProblemFile(str(DATA / "raw" / "dapo_aime-2024.verl.parquet"))
    assert len(source) == 960
    distinct = Distinct(source)
    assert len(distinct) == 30
    plain = {p.answer for p in ProblemFile(str(DATA / "aime24/test.jsonl"))}
    assert {problem.answer for problem in distinct} == plain


def test_minerva_takes_the_last_box_of_the_solution_not_of_the_question():
    source = ProblemFile(str(DATA / "minerva/test.jsonl"))
    assert sum("\\boxed" in problem.question for problem in source) == 70
    assert not any("\\boxed" in problem.answer for problem in source)


def test_repeats_of_dapo_are_counted():
    source = ProblemFile(str(DATA / "dapo_math_17k" / "train.jsonl.gz"))
    # 662 repeat an earlier text exactly; white space and case add some.
    assert len(source) - len(Distinct(source)) >= 662
