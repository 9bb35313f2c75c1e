"""`maspo data` shows what is understood of a file, or why it is not."""

import json
import subprocess
import sys

import pytest
from conftest import run

from maspo_jax.cli import data
from maspo_jax.data.prompts import ByteTokenizer, templates, tokenizer_files
from maspo_jax.rewards import golds

ROWS = [
    {"problem": f"What is ${n}+{n}$?", "answer": f"\\frac{{{n}}}{{3}}", "id": f"p{n}"}
    for n in range(4, 10)
]
UNREADABLE = "2 \\div"


def shown(*words):
    status, output = run(data, *words)
    assert status == 0, output
    return output


def test_it_shows_schema_columns_prompts_and_answers(write):
    rows = [*ROWS, {"problem": "?", "answer": UNREADABLE, "solution": "s", "id": "odd"}]
    lines = shown(write(*rows)).splitlines()
    assert lines[0].endswith("some.jsonl: 7 problems, 1 of them with a worked solution")
    assert lines[1] == "schema: problem, reading problem, answer"
    first = [
        "p4",
        "  prompt",
        "    What is $4+4$?",
        f"    {templates.BOXED.after.strip()}",
        "  reference answer",
        "    \\frac{4}{3}",
        "  is read as",
        "    4/3",
    ]
    assert lines[3:11] == first
    assert [line for line in lines if line in {row["id"] for row in rows}] == [
        *("p4", "p6", "p8"),
    ]
    assert lines[-4:] == [
        "0 of 7 (0.0%) rows have no answer",
        "1 of 7 (14.3%) answers cannot be read: only their own spelling would earn a "
        "reward",
        f"    {UNREADABLE}",
        "0 of 7 (0.0%) answers have another reading, which would earn as well",
    ]


def test_rows_without_an_answer_are_counted_and_named(write):
    proof = {"problem": "Prove it.", "answer": "proof"}
    path = write(ROWS[0], proof, proof, ROWS[1])
    output = shown(path, "--show", 1)
    assert "2 of 4 (50.0%) rows have no answer\n" in output
    assert f"    {path}, line 2: `answer` is 'proof', which is no answer\n" in output
    assert "line 3" not in output


def test_an_answer_that_cannot_be_read_says_why(write):
    row = {"problem": "?", "answer": UNREADABLE}
    output = shown(write(row, row))
    assert f"  cannot be read\n    {golds.fault(UNREADABLE)}\n" in output
    assert f"    {UNREADABLE} (2 times)\n" in output


def test_answers_with_two_readings_are_counted_and_shown(write):
    rows = [{"problem": "?", "answer": answer} for answer in ("5", "50\\%", "(2,3)")]
    output = shown(write(*rows, rows[-1], {"problem": "?", "answer": UNREADABLE}))
    assert output.endswith(
        "3 of 5 (60.0%) answers have another reading, which would earn as well\n"
        "    (2,3), an interval (2 times)\n"
        "    50\\%, without its percent sign\n"
    )


def test_columns_a_schema_and_a_template_can_be_named(write):
    path = write({"input": "1+1=?", "label": ["2"], "more": 1})
    output = shown(path, "--columns", "input", "label", "--template", "gsm8k_hash")
    assert "reading input, label" in output
    assert templates.GSM8K_HASH.render("1+1=?") in output
    forms = write({"problem": "?", "answer": ["0.5", "1/2"]})
    assert "schema: forms" in shown(forms, "--schema", "forms")


def test_prompts_are_those_of_a_checkpoint(write, tmp_path):
    (tmp_path / "chat_template.jinja").write_text("<|u|>{{ messages[0].content }}<|a|>")
    output = shown(write(ROWS[0]), "--checkpoint", tmp_path, "--template", "plain")
    assert "    <|u|>What is $4+4$?<|a|>\n" in output


def test_the_columns_of_other_schemas_are_those_it_reads(write):
    row = {
        "data_source": "x",
        "prompt": [{"role": "user", "content": "?"}],
        "ability": "math",
        "reward_model": {"ground_truth": "4"},
        "extra_info": {"index": 3},
    }
    assert "reading prompt, reward_model, extra_info" in shown(write(row))
    task = {"target": 98, "nums": [44, 19, 35]}
    output = shown(write(task))
    assert "0 of 1 (0.0%) answers cannot be read" in output
    assert json.dumps({"numbers": [44, 19, 35], "target": 98}) in output


@pytest.mark.parametrize(
    "words, error",
    [
        (["gone.jsonl"], "no file of problems at gone.jsonl"),
        (["{}", "--schema", "gsm"], "schema 'gsm' is unknown: give one of"),
        (["{}", "--schema", "gsm8k"], "line 1: `answer` is missing or null"),
        (["empty.jsonl"], "empty.jsonl is empty: it holds no problem"),
        (["{}", "--template", "none"], "template=none: choose one of"),
        (["{}", "--schema", "nemo", "--columns", "a", "b"], "one of the two"),
        (["{}", "--show", "-1"], "--show"),
        (["{}", "--checkpoint", "gone"], "no folder gone"),
        (["{}", "--columns", "problem", "anwser"], "the column `anwser` is missing"),
    ],
)
def test_what_cannot_be_shown_is_one_line(write, words, error, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.jsonl").write_text("\n")
    path = write({"question": "?", "problem": "?", "solution": "4"})
    status, output = run(data, *[word.format(path) for word in words])
    assert status == 2 and output.count("\n") == 1
    assert output.startswith("error: ") and error in output


def test_a_file_without_an_answer_ends_with_an_error(write):
    status, output = run(data, write({"problem": "?", "answer": "TBD"}))
    assert status == 2
    assert "schema: problem, reading problem, answer\n" in output
    assert "1 of 1 (100.0%) rows have no answer\n" in output
    assert "error: " in output.splitlines()[-1] and "no problem" in output


def test_what_is_not_read_and_what_repeats_is_told(write):
    row = {"id": "a", "problem": "1+1=?", "answer": "2", "subject": "x"}
    other = {"id": "a", "problem": "2+2=?", "answer": "4", "level": 1}
    output = shown(write(row, other, {**row, "id": "b"}, {**other, "answer": "5"}))
    assert "not read: subject, level\n" in output
    assert "2 of 4 questions repeat an earlier one: leave them out with Dist" in output
    assert "1 questions have answers that differ" in output
    assert "    a: 4; a: 5\n" in output
    assert "1 ids name several problems, such as 'a'" in output
    plain = shown(write(row))
    assert "repeat" not in plain and "differ" not in plain and "ids" not in plain


def test_columns_of_forms_are_those_that_are_read(write):
    output = shown(
        write({"problem": "?", "answer": ["1/2", "0.5"]}), "--schema", "forms"
    )
    assert "schema: forms, reading problem, answer\n" in output


def test_a_long_answer_is_shown_by_its_end(write):
    solution = "First we add. " * 40 + "So it is \\boxed{5}."
    output = shown(write({"problem": "?", "answer": solution}))
    assert (
        "    ... " in output and "So it is \\boxed{5}.\n  is read as\n    5\n" in output
    )


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    tokenizer_files.write_tokenizer(ByteTokenizer(), folder)
    values = {
        "model_type": "llama",
        "vocab_size": 258,
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
    }

    def write(**changes):
        (folder / "config.json").write_text(json.dumps(values | changes))
        return folder

    return write


def test_prompts_are_counted_in_tokens_of_the_checkpoint(write, checkpoint):
    path = write(ROWS[0], {**ROWS[1], "problem": "What?"})
    output = shown(path, "--checkpoint", checkpoint(), "--template", "plain")
    longest = len(ROWS[0]["problem"])
    assert output.endswith(
        f"prompts in tokens: {(longest + 5) / 2:.0f} in the mean, the longest "
        f"{longest} (p4): the least --prompt-length\n"
    )


@pytest.mark.parametrize(
    "changes, error",
    [
        ({"hidden_size": "8"}, "config.json: hidden_size='8': must be a whole"),
        ({"model_type": None}, "config.json: model_type is missing"),
        ({"vocab_size": 90}, "by its config.json the checkpoint has vocab_size=90"),
    ],
)
def test_a_checkpoint_is_checked_before_it_is_trained(
    write, checkpoint, changes, error
):
    status, output = run(data, write(ROWS[0]), "--checkpoint", checkpoint(**changes))
    assert status == 2 and error in output


def test_looking_at_a_checkpoint_loads_no_jax(write, checkpoint):
    words = [write(ROWS[0]), "--checkpoint", str(checkpoint())]
    script = f"""
import sys
from maspo_jax.cli import data
data.main({words!r})
assert "jax" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
