"""The command line: one answer, or a file of cases."""

import gzip
import json
import subprocess
import sys

import pytest

from maspo_jax import api
from maspo_jax.cli.grade import main
from maspo_jax.config import Grading
from maspo_jax.rewards import grade, graders, is_correct
from maspo_jax.rollout.grading import make_verifier


@pytest.mark.parametrize(
    "response, status, outcome", [("0.5", 0, "correct"), ("0.6", 1, "wrong")]
)
def test_a_response_from_a_file(tmp_path, capsys, response, status, outcome):
    path = tmp_path / "response.txt"
    path.write_text(rf"so \boxed{{{response}}}")
    assert main([r"\frac12", "--response", str(path)]) == status
    assert capsys.readouterr().out == f"{outcome}: value\nanswer: {response}\n"


def test_a_response_from_standard_input():
    done = subprocess.run(
        [sys.executable, "-m", "maspo_jax", "grade", "7"],
        input=b"The answer is 8.",
        capture_output=True,
    )
    assert (done.returncode, done.stdout) == (1, b"wrong: value\nanswer: 8\n")


THOUGHTS = {
    r"<think> I guess \boxed{5}": "no_answer",
    r"<think> I guess \boxed{6}</think> \boxed{5}": "correct",
    r"I guess \boxed{5}</think> That is all I know.": "no_answer",
    r"<think>Hm.</think> \boxed{5}, written after `</think>`": "correct",
    r"<think>Hm.</think> \boxed{5}, and not in `<think>`": "correct",
    r"<think>Hm.</think> The marks are </think> <think> and so \boxed{5}": "correct",
}


@pytest.mark.parametrize("response", THOUGHTS, ids=repr)
def test_every_door_strips_the_same_reasoning(tmp_path, capsys, response):
    """Training and evaluation, the functions, the command and its audit."""
    outcome = THOUGHTS[response]
    with make_verifier(Grading()) as verifier:
        (verdict,) = verifier.grade([response], ["5"])
    assert verdict.outcome == outcome
    assert api.grade(response, "5") == grade(response, "5") == verdict
    assert is_correct(response, "5") == (outcome == "correct")
    for own in (graders.hendrycks, graders.prime, graders.Tolerant()):
        with make_verifier(Grading(own)) as verifier:
            (found,) = verifier.grade([response], ["5"])
        assert found.outcome == own(response, "5").outcome == outcome
    (tmp_path / "response").write_text(response)
    assert main(["5", "--response", str(tmp_path / "response")]) == (
        outcome != "correct"
    )
    assert capsys.readouterr().out.startswith(outcome)
    expected = {"correct": True}.get(outcome, outcome)
    case = {"gold": "5", "response": response, "expected": expected}
    (tmp_path / "cases").write_text(json.dumps(case))
    assert main(["--audit", str(tmp_path / "cases")]) == 0
    assert capsys.readouterr().out.splitlines()[2].split() == ["scored", *"1100"]


@pytest.mark.parametrize("name", ["cases.jsonl", "cases.jsonl.gz"])
def test_an_audit_prints_the_table_and_the_misses(tmp_path, capsys, name):
    cases = [
        {"id": "a", "kind": "int", "gold": "5", "response": "#### 5", "expected": True},
        {"id": "b", "kind": "int", "gold": "5", "response": "#### 6", "expected": True},
        {"id": "c", "kind": "arguable", "gold": "5", "response": "", "expected": True},
        {"id": "d", "kind": "long", "gold": "5", "expected": "no_answer",
         "response": "", "response_parts": [["5 ", 1000]]},
    ]  # fmt: skip
    path, data = tmp_path / name, "\n".join(map(json.dumps, cases)).encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert main(["--audit", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["int", "2", "1", "0", "1"]
    assert lines[4].split() == ["scored", "3", "2", "0", "1"]
    assert lines[5].startswith("b int: expected True, wrong")
    assert "checks/s" in lines[-1]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["5", "--response", "missing"], "--response missing: No such file"),
        (["5", "--response", "folder"], "--response folder: Is a directory"),
        (["--audit", "missing"], "--audit missing: No such file or directory"),
        (["--audit", "folder"], "--audit folder: Is a directory; correct the path"),
        (["--audit", "text"], "--audit text:1: not a case"),
        (["--audit", "list"], "--audit list:1: not a case"),
        (["--audit", "part"], "--audit part:2: a case without gold and expected"),
        (["--audit", "packed"], "--audit packed:1: not UTF-8 text; correct the file"),
        (["--audit", "part.gz"], "--audit part.gz:2: a case without gold"),
        (["--audit", "cut.gz"], "--audit cut.gz: not a whole gzip file"),
        (["--audit", "spoilt.gz"], "--audit spoilt.gz: not a whole gzip file"),
        (["--audit", "torn.gz"], "--audit torn.gz: not a whole gzip file"),
        (["--audit", "text.gz"], "--audit text.gz: not a whole gzip file"),
        (["5", "--deadline", "-1"], "--deadline=-1.0: must lie in (0, inf)"),
        (["5", "--deadline", "nan"], "--deadline=nan: must lie in (0, inf)"),
        (["5", "--deadline", "inf"], "--deadline=inf: must lie in (0, inf)"),
        (
            ["--audit", "part", "--deadline", "0"],
            "--deadline=0.0: must lie in (0",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_one_clear_error(
    tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("five")
    (tmp_path / "list").write_text("[5]")
    (tmp_path / "part").write_text('\n{"response": "5"}')
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.gz").write_text("five")
    packed = gzip.compress(b'\n{"response": "5"}')
    (tmp_path / "packed").write_bytes(packed)
    (tmp_path / "part.gz").write_bytes(packed)
    (tmp_path / "cut.gz").write_bytes(packed[:-9])
    (tmp_path / "spoilt.gz").write_bytes(packed[:12] + b"spoilt" + packed[18:])
    (tmp_path / "torn.gz").write_bytes(packed[:10] + b"\xff" + packed[11:])
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {message}")


def test_a_response_that_is_not_text_is_graded_all_the_same(tmp_path, capsys):
    path = tmp_path / "response.txt"
    path.write_bytes(rb"\xff so \boxed{5}".replace(rb"\xff", b"\xff"))
    assert main(["5", "--response", str(path)]) == 0
    assert capsys.readouterr().out.startswith("correct")


def test_a_reference_answer_may_be_spelled_as_nothing(tmp_path, capsys):
    """None is a word here, and no missing value."""
    file = tmp_path / "response"
    file.write_text(r"so \boxed{\text{None}}")
    assert main(["None", "--response", str(file)]) == 0
    assert "answer: \\text{None}" in capsys.readouterr().out
    file.write_text("so none of them")
    assert main(["None", "--response", str(file)]) == 1
    assert "\nanswer:" not in capsys.readouterr().out


def test_a_gold_or_an_audit_is_needed(capsys):
    assert main([]) == 2
    assert "reference answer" in capsys.readouterr().err
