"""What a benchmark shares with a training source is found, and nothing else."""

import json

import pytest
from conftest import SHARED

from maspo_jax.cli.contamination import main
from maspo_jax.data.sources import Problem, ProblemFile, contamination
from maspo_jax.data.sources.contamination import Finding, compare

DATA = SHARED / "data"

LONG = (
    "A box holds seventeen red pens and $25$ blue pens; nine of them are taken out. "
    "How many pens are left in the box?"
)
REPOSED = LONG.replace("How many pens are left", "What share of all pens is left")
OTHER = "Find all functions $f$ from the integers to itself with $f(f(n))=n+1$."


def look(training, benchmark, answers=("33", "33"), **options):
    """Returns what is found of one question in another, None for nothing."""
    training = [Problem("t", training, answers[0])]
    benchmarks = {"b": [Problem("b", benchmark, answers[1])]}
    (report,) = compare(training, benchmarks, **options)
    assert (report.benchmark, report.problems) == ("b", 1)
    return report.findings[0] if report.findings else None


@pytest.mark.parametrize(
    "copy",
    [
        LONG,
        LONG.upper(),
        LONG.replace(" ", "\n"),
        LONG.replace("$25$", "\\(25\\)").replace(";", ","),
    ],
)
def test_the_same_letters_and_digits_are_the_same_text(copy):
    assert look(copy, LONG) == Finding("b", "t", True, 1.0, True)


def test_a_copy_inside_other_text_is_found():
    found = look(f"{OTHER} {LONG} {OTHER}", LONG)
    assert (found.equal, found.overlap) == (False, 1.0)


@pytest.mark.parametrize("words", [8, 5])
def test_a_copy_of_as_many_words_as_are_compared_is_found(words):
    few = " ".join(f"word{n}" for n in range(words))
    benchmark, training = Problem("b", few, "1"), Problem("t", f"{few} and more", "1")
    (report,) = contamination.compare([training], {"b": [benchmark]}, words)
    assert [(one.equal, one.overlap) for one in report.findings] == [(False, 1.0)]


def test_half_of_the_runs_of_words_are_enough():
    asked = [f"word{n}" for n in range(9)]  # two runs of eight
    found = look(" ".join([*asked[:8], "other"]), " ".join(asked))
    assert (found.equal, found.overlap) == (False, 0.5)
    assert look(" ".join([*asked[:8], "other"]), " ".join([*asked, "word9"])) is None


def test_a_problem_posed_anew_is_found_and_told_from_a_copy():
    found = look(REPOSED, LONG, answers=("3/4", "33"))
    assert not found.equal and not found.same_answer and 0.5 <= found.overlap < 1


def test_another_problem_is_not_found():
    assert look(OTHER, LONG) is None
    assert look(" ".join(sorted(LONG.split())), LONG) is None


def test_few_words_are_compared_as_a_whole_only():
    assert look("What is 1+1?", "what is 1 + 1") == Finding("b", "t", True, 0.0, True)
    assert look("What is 1+1? " + LONG, "What is 1+1?") is None


def test_longer_sequences_find_less():
    overlap = [look(REPOSED, LONG, words=n).overlap for n in (2, 4, 8)]
    assert overlap == sorted(overlap, reverse=True) and overlap[0] > overlap[2]


@pytest.mark.parametrize(
    "answers", [("1{,}000", "1,\\!000"), ("$2$", "2"), ("\\dfrac12", "\\frac12")]
)
def test_answers_are_the_same_in_other_spelling(answers):
    assert look(LONG, LONG, answers).same_answer
    assert not look(LONG, LONG, (answers[0], "7")).same_answer


def test_the_closest_training_problem_is_reported():
    training = [
        Problem("reposed", REPOSED, "1"),
        Problem("copy", LONG, "2"),
        Problem("within", f"{LONG} {OTHER}", "33"),
    ]
    (report,) = compare(training, {"b": [Problem("b", LONG, "33")]})
    assert [finding.training for finding in report.findings] == ["copy"]
    assert (report.count(), report.count("equal"), report.count("same_answer")) == (
        1,
        1,
        0,
    )


def test_the_command_writes_what_it_prints(write, tmp_path, capsys):
    rows = [{"id": "t0", "problem": OTHER, "answer": "1"}]
    training = write(
        *rows, {"id": "t1", "problem": LONG, "answer": "33"}, name="t.jsonl"
    )
    clean = write({"id": "c", "problem": "Why?", "answer": "1"}, name="clean.jsonl")
    dirty = write({"id": "d", "problem": LONG, "answer": "33"}, name="dirty.jsonl")
    out = tmp_path / "new" / "folder"
    assert main([training, "--against", clean, dirty, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert f"| {clean} | 1 | 0 | 0 | 0 |" in " ".join(printed.split())
    assert f"| {dirty} | 1 | 1 | 1 | 1 |" in " ".join(printed.split())
    written = (out / "contamination.md").read_text("utf-8")
    assert printed.strip() in written
    assert "| d | t1 | 100% | same | same |" in " ".join(written.split())
    data = json.loads((out / "contamination.json").read_text())
    assert data["benchmarks"][1]["findings"][0]["training"] == "t1"
    assert (data["words"], data["share"]) == (8, contamination.SHARE)


def test_the_command_refuses_what_cannot_be_read(write, tmp_path, capsys):
    gone, out = str(tmp_path / "gone.jsonl"), tmp_path / "out"
    good = write({"problem": "?", "answer": "1"})
    for words in ([gone, "--against", good], [good, "--against", gone]):
        assert main([*words, "--out", str(out)]) == 2
        assert "gone.jsonl" in capsys.readouterr().err
    assert main([good, "--against", good, "--words", "1"]) == 2
    assert "--words=1: must lie in [2, inf)" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.shared
def test_half_of_amc23_is_in_the_training_set_of_dapo():
    names = ("aime24/test.jsonl", "aime25/test.jsonl", "amc23/test.jsonl")
    training = ProblemFile(str(DATA / "dapo_math_17k" / "train.jsonl.gz"))
    benchmarks = {name: ProblemFile(str(DATA / name)) for name in names}
    found = [len(report.findings) for report in compare(training, benchmarks)]
    # data/README.md knows of 20 whose first 120 letters and digits are the same.
    assert found[:2] == [0, 0] and 20 <= found[2] <= 30


@pytest.mark.shared
def test_gsm8k_shares_no_question_between_its_splits():
    train, test = (
        ProblemFile(str(DATA / "gsm8k" / f"{split}.jsonl.gz"))
        for split in ("train", "test")
    )
    (report,) = compare(train, {"test": test})
    assert report.count("equal") == 0
