"""What others have reported of rows, templates and graders: all as it should be.

Every line of `public_cases.jsonl` that is neither of the checker nor of a checkpoint is
written to a real file and read as a run reads it.
"""

import ast
import json
import re

import pytest
import tokenizers as library
from conftest import SHARED, command

from maspo_jax.config import serialization
from maspo_jax.data.prompts import ChatTemplate, FileTokenizer, template_of, templates
from maspo_jax.data.sources import Columns, ProblemFile
from maspo_jax.rewards import Verifier, grade

FILE = SHARED / "reference" / "public_cases.jsonl"
LINES = FILE.read_text("utf-8").splitlines() if FILE.is_file() else []
CASES = [
    pytest.param(case, id=f"{number}-{case['kind']}")
    for number, case in enumerate(map(json.loads, LINES), 1)
    if case["what"] not in ("checker", "checkpoint", "evaluation")
]
pytestmark = pytest.mark.skipif(
    not CASES, reason="the cases are not beside this checkout (../shared)"
)
# What the refusal of a kind has to say: the place, the field, the fault.
SAYS = {
    "json_text_gold": ("line 1", "`reward_model.ground_truth`", "2 answers"),
    "sentinel_gold": ("line 2", "`answer`", "no answer", "unanswered=1"),
    "messages_hide_the_solution": ("line 1", "`solution`", "\\boxed"),
    "chat_as_repr": ("line 1", "`prompt`", "looks like a chat and is no JSON"),
    "picture": ("line 1", "pictures", "`images`"),
    "code_row": ("line 2", "`ability` is 'code'", "no math problem"),
    "lfs_pointer": ("train.jsonl", "Git LFS", "git lfs pull"),
}
POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    f"oid sha256:{'4d7a2146' * 8}\nsize 123456\n"
)


def read(case, write, tmp_path):
    """Returns the source of a case, of a file with its rows."""
    given = case["input"]
    if "file" in given:
        path = tmp_path / given["file"]
        path.write_text(POINTER)
        return ProblemFile(str(path))
    schema = None
    if "layout" in given:
        call = ast.parse(given["layout"], mode="eval").body
        named = {word.arg: ast.literal_eval(word.value) for word in call.keywords}
        schema = Columns(**named)
    return ProblemFile(write(*given["rows"]), schema)


def check_data(case, write, tmp_path):
    source, expected = read(case, write, tmp_path), dict(case["expected"])
    if expected.keys() & {"error", "remedy"}:
        with pytest.raises(ValueError) as caught:
            len(source)
        message = str(caught.value)
        assert "\n" not in message
        if "error" in expected:
            assert [word for word in SAYS[case["kind"]] if word not in message] == []
        else:  # does what it says
            schema = re.search(r"schema '(\w+)' if they are forms", message)[1]
            row = case["input"]["rows"][0]
            forms = row["reward_model"]["ground_truth"]
            assert ProblemFile(source.path, schema)[0].answer == forms[0]
        return
    problems = list(source)
    golds = expected.pop("answers", None)
    assert golds in (None, [problem.answer for problem in problems])
    for field, value in expected.items():
        assert getattr(problems[0], field) == value
    for problem in problems:
        boxed = f"\\boxed{{{problem.answer}}}"
        assert grade(boxed, problem.answer).outcome == "correct"


def check_tokenizer(case, tmp_path):
    given = case["input"]["tokenizer.json"]
    words = library.Tokenizer(library.models.WordLevel({"a": 0, "b": 1, "p": 2}, "a"))
    words.pre_tokenizer = library.pre_tokenizers.Whitespace()
    call = re.search(r"enable_(\w+)\((?:length=)?(\d*)\)", given)
    kind, size = call[1], int(call[2]) if call[2] else None
    if kind == "truncation":
        words.enable_truncation(size)
    else:
        words.enable_padding(length=size, pad_id=2, pad_token="p")
    words.save(str(tmp_path / "tokenizer.json"))
    text = ["a", "b"] * (9 if kind == "truncation" else 1)
    tokenizer = FileTokenizer(str(tmp_path))
    assert tokenizer.encode(" ".join(text)) == [("a", "b").index(word) for word in text]


def check_date(case, tmp_path):
    text = case["input"]["chat_template"]
    (tmp_path / "chat_template.jinja").write_text(text)
    chat = ChatTemplate(str(tmp_path), templates.PLAIN)
    assert chat.render("Why?") == "26 Jul 2024Why?"  # whatever the day is
    other = ChatTemplate(str(tmp_path), templates.PLAIN, date="2026-11-27")
    assert other.render("Why?") == "27 Nov 2026Why?"
    (difference,) = serialization.differences(
        *map(serialization.to_json, (chat, other))
    )
    assert difference.startswith("date: '2026-11-27' in the run")


def check_named_templates(case, tmp_path):
    named = case["input"]["chat_template"]
    settings = json.dumps({"chat_template": named})
    (tmp_path / "tokenizer_config.json").write_text(settings)
    with pytest.raises(ValueError, match="rag, tool_use and none named default"):
        template_of(str(tmp_path))


def check_template(case, tmp_path):
    check = {
        "saved_truncation": check_tokenizer,
        "template_date": check_date,
        "templates_without_default": check_named_templates,
    }[case["kind"]]
    check(case, tmp_path)


EXPERIMENT = """
import dataclasses
from conftest import EXPERIMENTS
from maspo_jax.config import Grading, loading

def silent(response, gold):
    return {value}

experiment = dataclasses.replace(
    loading.load(str(EXPERIMENTS / "tiny.py"), []), grading=Grading(grader=silent)
)
"""


def check_training(case, tmp_path):
    given = case["input"]
    if case["kind"] == "unclosed_think":
        with Verifier(workers=1) as verifier:
            (verdict,) = verifier.grade([given["text"]], [given["gold"]])
        assert verdict.outcome == case["expected"]
        return
    value = re.fullmatch(r"lambda response, gold: (.*)", given["grader"])[1]
    file = tmp_path / "graded.py"
    file.write_text(EXPERIMENT.format(value=value))
    status, output = command(file, "--run", tmp_path / "run")
    assert status == 2
    error = output.splitlines()[-1]
    assert error.startswith("error: grading.grader=silent fails")
    assert f"returned {value}: must be a Verdict" in error
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


@pytest.mark.parametrize("case", CASES)
def test_every_public_case_is_as_expected(case, write, tmp_path):
    if case["what"] == "data":
        check_data(case, write, tmp_path)
    elif case["what"] == "template":
        check_template(case, tmp_path)
    else:
        check_training(case, tmp_path)


def test_no_case_is_forgotten():
    elsewhere = {json.loads(line)["what"] for line in LINES}
    assert elsewhere - {"data", "template", "training"} == {
        *("checker", "checkpoint", "evaluation")
    }
    assert len(CASES) == 32
