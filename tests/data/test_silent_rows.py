"""Rows that could be read as something they do not say are refused, or read right."""

import decimal
import functools
import json

import pyarrow
import pyarrow.parquet
import pytest

from maspo_jax.data.prompts import markup, templates
from maspo_jax.data.sources import Columns, ProblemFile, golds
from maspo_jax.rewards import extraction

ASKED = "What is $2+2$?"
SOLVED = "It is $\\boxed{4}$, as $2+2=4$."
REASONED = f"<think>\nMaybe \\boxed{{5}}? No.\n</think>\n\n{SOLVED}"


def user(content=ASKED):
    return {"role": "user", "content": content}


def said(content):
    return {"role": "assistant", "content": content}


def refusal(path, schema=None):
    with pytest.raises(ValueError) as caught:
        len(ProblemFile(path, schema))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def verl(gold, **row):
    return {"prompt": [user()], "reward_model": {"ground_truth": gold}, **row}


@pytest.mark.parametrize(
    "gold, answer",
    [
        ('["4"]', "4"),
        (' [ "4" ] ', "4"),
        ('["\\\\frac{1}{2}"]', "\\frac{1}{2}"),
        (['["4"]'], "4"),
        ('"4"', "4"),
        ('["025"]', "25"),
        ("[4]", "4"),
        ("[ 0.5 ]", "0.5"),
        ("[true]", "true"),
        ("<answer>4</answer>", "4"),
        ("4<|im_end|>", "4"),
        ("4</s>", "4"),
        ("\ufeff4\u200b", "4"),
        ("So\n#### 1,234", "1234"),
        # What is no JSON, or JSON that is mathematics.
        ("[0, 1]", "[0, 1]"),
        ("[x]", "[x]"),
        ("[[1, 2], [3, 4]]", "[[1, 2], [3, 4]]"),
        ("{1, 2}", "{1, 2}"),
        ("[x, y)", "[x, y)"),
        ('"a" or "b"', '"a" or "b"'),
        ('{"a", "b"}', '{"a", "b"}'),
        ("true", "true"),
        ('{"target": 54, "numbers": [19, 35]}', '{"numbers": [19, 35], "target": 54}'),
    ],
)
def test_json_text_is_what_it_stands_for(write, gold, answer):
    assert ProblemFile(write(verl(gold)))[0].answer == answer
    if isinstance(gold, str):
        assert ProblemFile(write({"problem": "?", "answer": gold}))[0].answer == answer


@pytest.mark.parametrize(
    "gold, fault",
    [
        ('["4", "5"]', "is a list of 2 answers"),
        ('["4", 5]', "is a list of 2 answers"),
        ("[]", "is missing, null or empty"),
        ('[["4"]]', "is not text but"),
        ("['4']", "looks like a list or an object and is no JSON"),
        ('["\\sqrt{2}"]', "looks like a list or an object and is no JSON"),
        ('["\\frac{1}{2}"]', "whose backslashes are not doubled"),
        ('{"inputs": ["1"], "outputs": ["2"]}', "JSON with inputs, outputs, such as"),
        (
            '[{"type": "stdin", "input": "1"}]',
            "JSON with input, type, such as the tests",
        ),
        ("{'inputs': ['1']}", "looks like a list or an object and is no JSON"),
        ("```python\nprint(4)\n```", "is code, not a final answer"),
        ("def f(x):\n    return x", "is code, not a final answer"),
        ("assert f(1) == 2", "is code, not a final answer"),
        ("print(4)", "is code, not a final answer"),
        ("for i in range(3): print(i)", "is code, not a final answer"),
        ("\\boxed{}", "which is no answer"),
        ("$$", "which is no answer"),
        ("SELECT a FROM t WHERE b = 1;", "is code, not a final answer"),
        ("public static int f(int x) { return x; }", "is code, not a final answer"),
        ("int main() { return 0; }", "is code, not a final answer"),
        ("function f(x) { return x; }", "is code, not a final answer"),
        ("console.log(4)", "is code, not a final answer"),
        ("![](https://x.org/1.jpg)", "is a picture"),
        ('<img src="a.png">', "is a picture"),
        ("[asy] draw((0,0)--(1,1)); [/asy]", "is a picture"),
        ("\\begin{tikzpicture}\\end{tikzpicture}", "is a picture"),
        ("\\includegraphics{a.png}", "is a picture"),
        ("data:image/png;base64,iVBORw0KGgo=", "is a picture"),
        ("image_12.png", "is a picture"),
        ("https://x.org/answer", "is a link"),
        ("\\boxed{5} or \\boxed{6}", "has 2 boxes with different contents (5, 6)"),
        ("array(['4'], dtype=object)", "is a list as Python prints it"),
        ("4\0", "has a NUL character (U+0000)"),
        ("[null]", "is missing, null or empty"),
        ("\\[ \\text{ } \\]", "which is no answer"),
    ],
)
def test_lists_and_programs_are_no_answer(write, gold, fault):
    message = refusal(write(verl("4"), verl(gold)))
    assert "line 2: `reward_model.ground_truth` " in message and fault in message


@pytest.mark.parametrize(
    "gold",
    [
        *("proof", "Proof.", "notfound", "not found", "N/A", "NaN", "null"),
        *("\\text{proof}", "$\\text{notfound}$", "\\boxed{\\text{Proof}}", "no answer"),
        *("See solution.", "Omitted", "QED", "Q.E.D.", "None", "None.", "See above"),
        *("See solution above", "see the attached figure", "TBD", "to be determined"),
        *("unknown", "error", "unsolved", "proved", "not given", "not_found", "<NA>"),
        *("no final answer", "Answer omitted", "The answer is not provided.", "..."),
        *("[object Object]", "\\ldots", "{}", "''", "-", "---", "?", "no answer found"),
    ],
)
def test_words_in_the_place_of_an_answer_are_none(write, gold):
    good = {"problem": ASKED, "answer": "4", "question_type": "proof"}
    path = write(good, {**good, "answer": gold})
    assert "line 2: `answer` is" in refusal(path)
    assert len(ProblemFile(path, unanswered=1)) == 1
    for row in ({"solution": f"\\boxed{{{gold}}}"}, {"solution": f"So\n#### {gold}"}):
        if "####" in row["solution"]:
            row = {"question": ASKED, "answer": row["solution"]}
        assert "which is no answer" in refusal(write({"problem": ASKED, **row}))


@pytest.mark.parametrize(
    "gold",
    [
        *(
            "none",
            "\\text{None}",
            "True",
            "No",
            "no solution",
            "undefined",
            "\\emptyset",
            "A",
        ),
        *("34\\text{ sq. units}", "9 a.m. Monday", "x = 1. ", "p", "proof by A"),
        "\\text{All real numbers except } 0 \\text{ and } 1",
        "$f(x)=ax+b$, where $b$ is an arbitrary integer, and $a$ is a positive integer",
        "\\[\n\\boxed{\\frac{1}{2}}\n\\]",
        *("+", "\\emptyset", "does not exist", "impossible", "not defined", "see-saw"),
        *("-1000000", "no real solutions", "none of the above", "missing 2", "A > B"),
        *("x.y", "1 < x < 5", "\\boxed{5}, \\text{so } \\boxed{5}", "let x = 5"),
        *("return", "5!", "12.5", "a_1, \\dots, a_n", "f(x) = {x}", "Update"),
        *("\\{\\}", "()", "\\boxed{4}", "class 2", "import tax", "for x in [0, 1]"),
    ],
)
def test_answers_in_words_stay(write, gold):
    assert ProblemFile(write(verl(gold)))[0].answer == gold.strip()


@pytest.mark.parametrize(
    "gold",
    [
        "1 is positive. Done.",
        "We add both sides. The result is $4$.",
        "Let $x$ be it. $x+1=2$ follows.",
        "word " * 21,
        "The answer is four.",
        "So $x$ must be $4$.",
    ],
)
def test_prose_is_no_answer(write, gold):
    message = refusal(write(verl("4"), verl(gold)))
    assert "line 2: `reward_model.ground_truth` is prose" in message


TAGS = [
    *((f"<{kind}>", f"</{kind}>") for kind in ("think", "Thinking", "thought")),
    *(("<reasoning>", "</reasoning>"), ("<seed:think>", "</seed:think>")),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
]


@pytest.mark.parametrize("opens, closes", TAGS)
def test_reasoning_in_a_gold_is_named_by_its_tag(write, opens, closes):
    """All tags that the checker takes off a response, and it takes none off a gold."""
    for gold in (f"{opens}x{closes} 5", f"{opens}x{closes} \\boxed{{5}}"):
        assert extraction.strip_reasoning(gold).strip() == gold.partition("> ")[2]
        message = refusal(write(verl("4"), verl(gold)))
        assert (
            f"line 2: `reward_model.ground_truth` has the reasoning tag {opens} in"
            in (message)
        )
    for gold in (f"{opens}\nmaybe 4", f"so {closes} 4", closes):
        message = refusal(write(verl("4"), verl(gold)))
        assert "has the reasoning tag " in message and "prose" not in message
    question = {"problem": f"{opens}\nWhat?", "answer": "4"}
    assert "begins with the reasoning" in refusal(write(question))
    solved = {
        "problem": ASKED,
        "solution": f"{opens}\\boxed{{5}}?{closes} \\boxed{{4}}",
    }
    assert ProblemFile(write(solved))[0].answer == "4"
    cut = {**solved, "solution": f"{opens}\\boxed{{5}}? "}
    assert f"ends within its reasoning: {opens} never" in refusal(write(cut))


CHATS = [
    ([user(), said("4")], "4", None),
    ([user(), said("no solution")], "no solution", None),
    ([user(), said(SOLVED)], "4", SOLVED),
    ([user(), said(REASONED)], "4", REASONED),
    ([user(), said("2+2=<<2+2=4>>4\n#### 4")], "4", "2+2=<<2+2=4>>4\n#### 4"),
]
every_chat = pytest.mark.parametrize("turns, answer, solution", CHATS)


@every_chat
@pytest.mark.parametrize("schema", ["nemo_dialog", "sharegpt", "row"])
@pytest.mark.parametrize("name", ["some.jsonl", "some.json"])
def test_the_gold_of_a_chat_is_what_its_assistant_answers(
    write, turns, answer, solution, schema, name
):
    names = {"user": "human", "assistant": "gpt"}
    other = [{"from": names[t["role"]], "value": t["content"]} for t in turns]
    row = {
        "nemo_dialog": {"messages": [{"role": "system", "content": ""}, *turns]},
        "sharegpt": {"conversations": other},
        "row": other,
    }[schema]
    problem = ProblemFile(write(row, name=name))[0]
    assert problem.question == ASKED
    assert (problem.answer, problem.solution) == (answer, solution)


@every_chat
@pytest.mark.parametrize("asked", [False, True])
def test_a_ground_truth_beside_a_chat_is_the_gold(
    write, turns, answer, solution, asked
):
    row = {"messages": turns[: 1 if asked else 2], "dataset": ["math"]}
    for gold in ("7", ["7"], 7):
        problem = ProblemFile(write({**row, "ground_truth": gold}))[0]
        assert (problem.question, problem.answer) == (ASKED, "7")


def test_a_turn_may_have_its_gold_apart(write):
    answered = {"from": "assistant", "ground_truth": {"value": "4"}}
    row = [{"from": "human", "value": ASKED}, answered]
    for each in (row, {"conversations": row}):
        problem = ProblemFile(write(each, each, name="some.json"))[1]
        assert (problem.question, problem.answer) == (ASKED, "4")
    answered["ground_truth"] = {}
    assert "is missing" in refusal(write(row))


@pytest.mark.parametrize("gold", [0, 0.0, "0"])
def test_zero_is_said_like_any_number(write, gold):
    turns = [user(), {"from": "gpt", "value": gold}]
    assert ProblemFile(write({"conversations": turns}))[0].answer == "0"
    answered = {"from": "gpt", "ground_truth": gold}
    assert ProblemFile(write({"conversations": [user(), answered]}))[0].answer == "0"


@pytest.mark.parametrize("column", ["from", "role"])
@pytest.mark.parametrize("value", ["user", "aime", None])
def test_an_array_of_rows_is_no_chat(write, column, value):
    row = {"problem": ASKED, "answer": "4", column: value}
    assert len(ProblemFile(write(row, row, name="some.json"))) == 2


@pytest.mark.parametrize(
    "turns, fault",
    [
        ([user()], "0 assistant turns instead of one: name the column"),
        ([user(), said("4"), said("5")], "2 assistant turns"),
        ([user(), user(), said("4")], "2 user turns"),
        (
            [user(), said("1 is positive. Done.")],
            "a solution without a complete \\boxed",
        ),
        ([user(), said("I think that it is four")], "a solution without a complete"),
        ([user(), said("The answer is 4.")], "a solution without a complete"),
        ([user(), said("So\n4")], "a solution without a complete"),
        ([user(), said("<think>\nso \\boxed{4}")], "<think> never closes"),
        ([user(), said("<think>\n\\boxed{4}</think> 4")], "behind </think>"),
        ([user(), said("")], "is missing, null or empty"),
        ([user(), said(None)], "is missing, null or empty"),
    ],
)
def test_chats_without_an_answer_are_refused(write, turns, fault):
    message = refusal(write({"messages": [user(), said("4")]}, {"messages": turns}))
    assert "line 2: `messages`" in message and fault in message


def test_a_solution_beside_a_chat_is_the_one_that_counts(write):
    row = {"problem": ASKED, "messages": [user(), said("So it is.")]}
    problem = ProblemFile(write({**row, "solution": SOLVED}))[0]
    assert (problem.answer, problem.solution) == ("4", SOLVED)
    message = refusal(write({**row, "solution": "1 is positive. Done."}))
    assert "`solution` holds no complete \\boxed{}" in message
    answered = {**row, "solution": SOLVED, "answer": "7"}
    problem = ProblemFile(write(answered))[0]
    assert (problem.answer, problem.solution) == ("7", SOLVED)


def test_structs_may_be_json_text(write):
    row = {
        "prompt": json.dumps([user("?")]),
        "reward_model": json.dumps({"style": "rule", "ground_truth": "4"}),
        "extra_info": json.dumps({"question": ASKED, "answer": SOLVED}),
    }
    problem = ProblemFile(write(row))[0]
    assert (problem.question, problem.answer, problem.solution) == (ASKED, "4", SOLVED)
    for column in ("reward_model", "extra_info"):
        message = refusal(write({**row, column: str({"ground_truth": "4"})}))
        assert f"`{column}` is text that is no JSON object" in message
    for extra in ("train", "", None, 5, [1]):  # which need not be there
        assert ProblemFile(write({**row, "extra_info": extra}))[0].answer == "4"
    assert "`reward_model` is text" in refusal(write({**row, "reward_model": "rule"}))


@pytest.mark.parametrize(
    "prompt",
    [
        str([user()]),
        f"array({[user()]}, dtype=object)",
        str(user()),
        "[{'content': 'a', 'role': 'system'}\n {'content': 'b', 'role': 'user'}]",
        json.dumps([user()])[:-3],
        json.dumps(user()),
        json.dumps({"messages": [user()]}),
    ],
)
def test_chats_that_are_no_json_are_refused(write, prompt):
    message = refusal(write({"prompt": prompt, "answer": "4"}))
    assert "`prompt` is text that looks like a chat and is no JSON list" in message


@pytest.mark.parametrize(
    "asked",
    [
        *("[1, 2] is an interval. How long?", "[{1}, {2}] has how many members?"),
        *("{'a': 1} has how many keys?", "Let $a[i]$ be it. {role: 1}?"),
        "Is a <|b| and |c|> d?",
    ],
)
def test_questions_that_begin_like_lists_stay(write, asked):
    assert ProblemFile(write({"prompt": asked, "answer": "4"}))[0].question == asked


CHATML = (
    "<|im_start|>system\nBe brief.<|im_end|>\n"
    "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
)
LLAMA3 = (
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n"
)
DEEPSEEK = "<｜begin▁of▁sentence｜>Be brief.<｜User｜>{}<｜Assistant｜><think>\n"
GEMMA = "<bos><start_of_turn>user\n{}<end_of_turn>\n<start_of_turn>model\n"
RENDERED = [
    *(CHATML, CHATML + "<think>\n", CHATML.removesuffix("<|im_start|>assistant\n")),
    *(CHATML.partition("<|im_end|>\n")[2], "\n" + CHATML),
    *(LLAMA3, LLAMA3.removeprefix("<|begin_of_text|>"), LLAMA3.rstrip()),
    *(DEEPSEEK, DEEPSEEK.replace("Be brief.", ""), "<｜User｜>{}", GEMMA),
]


@pytest.mark.parametrize("form", RENDERED)
@pytest.mark.parametrize("style", templates.ALL, ids=lambda style: style.name)
def test_rendered_prompts_are_their_question(write, form, style):
    prompt = form.replace("{}", style.render(ASKED))
    assert ProblemFile(write({"prompt": prompt, "answer": "4"}))[0].question == ASKED


@pytest.mark.parametrize(
    "prompt, mark",
    [
        (CHATML + "Let me think.\n<think>", "<|im_start|>"),
        (CHATML + CHATML, "<|im_start|>"),
        ("<｜User｜>a<｜Assistant｜>b<｜User｜>c<｜Assistant｜>", "<｜User｜>"),
        ("<|im_start|>a<｜User｜>b<｜Assistant｜>", "<|im_start|>"),
        (LLAMA3.replace("user", "tool"), "<|begin_of_text|>"),
        ("[INST] What is it? [/INST]", "[INST]"),
        ("<|user|>\nWhat is it?<|end|>\n<|assistant|>", "<|user|>"),
        ("What is it?<|endoftext|>", "<|endoftext|>"),
        ("<|User|>What is it?<|Assistant|>", "<|User|>"),
        ("User: What is it?\nAssistant: <think>\n", "Assistant:"),
        ("They talk.\n\nHuman: What is it?\n\nAssistant:", "Assistant:"),
        ("USER: What is it? ASSISTANT:", "ASSISTANT:"),
        ("### Instruction:\nWhat is it?\n\n### Response:\n", "### Instruction:"),
        ("Question: 1+1?\nAnswer: 2\n\nQuestion: What is it?\nAnswer:", "Answer:"),
        ("Q: What is it?\nA:", "A:"),
        ("<s>What is it?", "<s>"),
        ("What is it?</s>", "</s>"),
    ],
)
def test_other_rendered_prompts_are_refused(write, prompt, mark):
    message = refusal(write({"prompt": prompt, "answer": "4"}))
    assert f"`prompt` holds `{mark}` of a rendered chat" in message
    assert "`extra_info.question` holds" in refusal(
        write(verl("4", extra_info={"question": prompt}))
    )


BEGINS = ["<s>", "<bos>", "<|begin_of_text|>", "<|startoftext|>", "\ufeff"]
BEGINS += ["<｜begin▁of▁sentence｜>"]
ENDS = ["</s>", "<eos>", "<end_of_turn>", "<pad>", "<|im_end|>", "<|endoftext|>"]
ENDS += ["<|eot_id|>", "<|end_of_text|>", "<|end|>", "<｜end▁of▁sentence｜>", "\u200b"]


def test_tokens_around_a_gold_are_taken_off(write):
    for begin in BEGINS:
        assert ProblemFile(write(verl(f"{begin} 4")))[0].answer == "4"
    for end in ENDS:
        assert ProblemFile(write(verl(f"4{end}\n{end}")))[0].answer == "4"


def test_what_is_no_markup_is_left_as_it_is():
    spoken = "User: 1. Assistant: 2. Who is right?"
    for text in ("", ASKED, " a\n", "<|x|> and <｜>", "a [INT] b", "<think> x", spoken):
        assert markup.strip_markup(text) == text and markup.find_markup(text) is None


@pytest.mark.parametrize(
    "style",
    [style for style in templates.ALL if style.answer == templates.BOX],
    ids=lambda style: style.name,
)
def test_instructions_of_a_format_string_are_taken_off(write, style):
    asked = style.render("@").replace("{", "{{").replace("}", "}}")
    asked = asked.replace("@", "What is {2}?")
    for prompt in (
        asked,
        f"{asked}\n",
        f" {asked} \n".lstrip(),
        asked.removesuffix("."),
    ):
        row = {"question": prompt, "answer": "4"}
        question = ProblemFile(write(row))[0].question
        assert question.rstrip() == "What is {2}?"


@pytest.mark.parametrize(
    "columns",
    [
        {"images": ["AAAA"]},
        {"image": {"bytes": "AAAA", "path": None}},
        {"Image_2": "a.png"},
        {"decoded_image": "AAAA"},
    ],
)
def test_pictures_are_refused(write, columns):
    row = {"problem": ASKED, "answer": "4"}
    message = refusal(write(row, {**row, **columns}))
    (name,) = columns
    assert f"line 2: the row has pictures in `{name}`" in message
    named = Columns("problem", "answer")
    assert "has pictures" in refusal(write({**row, **columns}), named)


@pytest.mark.parametrize(
    "asked, fault",
    [
        ("<image>What is x?", "`prompt` asks about `<image>`, which text cannot show"),
        ("What is x in <image_1>?", "`prompt` asks about `<image_1>`"),
        ("<|vision_start|><|image_pad|>x?", "`prompt` asks about `<|vision_start|>`"),
        ('x in <img src="a.png">?', "`prompt` asks about `<img`"),
        (
            [user([{"type": "image"}, {"type": "text", "text": "x?"}])],
            "`prompt` has a turn of parts (image, text) instead of one text",
        ),
    ],
)
def test_pictures_within_a_question_are_refused(write, asked, fault):
    assert fault in refusal(write({"prompt": asked, "answer": "4"}))


def test_questions_that_link_to_a_picture_are_counted(write, caplog):
    row = {"problem": "Find x: ![](https://x.org/a.png)", "answer": "4"}
    plain = {"problem": "Is it [x](y), or 5! [a](b)?", "answer": "4"}
    assert len(ProblemFile(write(row, plain, row))) == 3
    assert "2 questions link to a picture" in caplog.text


@pytest.mark.parametrize(
    "columns",
    [
        *({"images": []}, {"images": None}, {"image": ""}, {"image": {"path": None}}),
        *({"image": False}, {"images": [None, {"bytes": "", "path": None}]}),
        *({"ability": "math"}, {"task": "math"}, {"category": "coding theory"}),
        *({"domain": "decoding"}, {"dataset": ["math"]}, {"imagery": "x"}),
        {"prompt": [user([{"type": "text", "text": ASKED}])]},
    ],
)
def test_rows_without_pictures_and_programs_stay(write, columns):
    row = {"prompt": ASKED, "answer": "4", **columns}
    assert ProblemFile(write(row))[0].question == ASKED


@pytest.mark.parametrize(
    "columns",
    [
        *({"ability": "code"}, {"task_type": "verifiable_code"}, {"category": "code"}),
        *({"domain": "code_sandbox"}, {"task": "Coding"}, {"dataset": ["code"]}),
    ],
)
def test_rows_that_ask_for_a_program_are_refused(write, columns):
    (name,) = columns
    message = refusal(write(verl("4", ability="math"), verl("4", **columns)))
    assert f"line 2: `{name}` is " in message and "no math problem" in message


FORMS = [
    (verl(["0.5", "1/2"]), "verl"),
    ({"problem": "?", "answer": ["0.5", "1/2"]}, "problem"),
    ({"question": "?", "final_answer": ["0.5", "1/2"]}, "olympiadbench"),
    ({"prompt": [user()], "label": [0.5, "1/2"]}, "slime"),
    ({"messages": [user()], "ground_truth": ["0.5", "1/2"]}, "open_instruct"),
]


@pytest.mark.parametrize("row, schema", FORMS)
def test_the_remedy_for_several_forms_works_for_their_columns(write, row, schema):
    path = write(row)
    for given in (None, schema):
        message = refusal(path, given)
        assert "is a list of 2 answers" in message and "schema 'forms'" in message
    assert ProblemFile(path, "forms")[0].answer == "0.5"


def test_no_remedy_is_named_that_does_not_work(write):
    path = write({"input": "?", "output": ["0.5", "1/2"]})
    message = refusal(path, Columns("input", "output"))
    assert "2 answers" in message and "forms" not in message
    assert "unknown schema" in refusal(path)
    assert "no schema has the columns input, output" in refusal(path, "forms")


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


@pytest.mark.parametrize(
    "name", ["some.jsonl", "some.json", "some.jsonl.gz", "some.parquet"]
)
def test_a_pointer_of_git_lfs_is_named(tmp_path, name):
    (tmp_path / name).write_text(POINTER)
    message = refusal(str(tmp_path / name))
    assert f"{name} is a pointer of Git LFS" in message and "git lfs pull" in message


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("name", ["some.jsonl", "some.jsonl.gz"])
def test_an_object_over_several_lines_is_named(write, rows, name):
    row = {"problem": ASKED, "answer": "4"}
    path = write("\n".join([json.dumps(row, indent=1)] * rows), name=name)
    message = refusal(path)
    assert "line 1: one JSON object over several lines, with the columns" in message
    assert "problem, answer" in message and "one line" in message


def test_columns_in_lists_are_named(write):
    columns = {"problem": [ASKED, "?"], "answer": ["4", "5"]}
    message = refusal(write(columns))
    assert (
        "`problem` is a list of 2 values" in message and "columns in lists" in message
    )
    assert "over several lines" in refusal(write(json.dumps(columns, indent=1)))


ROW = json.dumps({"problem": ASKED, "answer": "4"})


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("a.jsonl", b"PAR1\x15\x04", ("a parquet file", "ends in .parquet")),
        ("a.jsonl", b"\x1f\x8b\x08", ("a gzip file", "ends in .gz")),
        ("a.jsonl", b"PK\x03\x04", ("a zip archive", "unzip")),
        ("a.jsonl", b"BZh9", ("a bzip2 file", "bunzip2")),
        ("a.jsonl", b"\x28\xb5\x2f\xfd", ("a zstd file", "unzstd")),
        ("a.jsonl", b"ARROW1", ("an Arrow file", "to_parquet")),
        ("a.jsonl", ROW.encode("utf-16"), ("text in UTF-16", "UTF-8")),
        ("a.jsonl", b'{"problem": "caf\xe9"}', ("not in UTF-8", "iconv -f LATIN1")),
        ("a.jsonl", b"<!DOCTYPE html><html>", ("a web page (HTML)", "download")),
        ("a.parquet", b"<html>", ("a web page (HTML)", "download")),
        ("a.parquet", ROW.encode(), ("JSON, not what its name says", ".jsonl")),
        ("a.jsonl.gz", ROW.encode(), ("JSON, not what its name says", ".jsonl")),
        ("a.csv", b"problem,answer\n1+1?,2\n", ("it may be CSV", "read_csv(FILE)")),
        ("a.tsv", b"problem\tanswer\n1+1?\t2\n", ("it may be TSV", "sep=")),
        ("a.jsonl", f"{ROW}{ROW}".encode(), ("several objects on one line",)),
        ("a.jsonl", ROW[:30].encode(), ("half a row", "copy it again")),
        ("a.json", f"[{ROW},]".encode(), ("a comma behind the last element",)),
        ("a.jsonl", str({"problem": "?"}).encode(), ("as Python prints it",)),
    ],
)
def test_files_of_other_kinds_are_named_with_the_remedy(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    message = refusal(str(tmp_path / name))
    assert [word for word in (name, *words) if word not in message] == []


def test_parquet_and_gzip_files_of_their_names_are_read(write):
    row = {"problem": ASKED, "answer": "4"}
    for name in ("a.parquet", "a.jsonl.gz", "a.json.gz"):
        assert len(ProblemFile(write(row, name=name))) == 1


@pytest.mark.parametrize(
    "content, words",
    [
        ({"data": [{"problem": "?", "answer": "4"}]}, ("`data`", "jq -c '.data[]'")),
        (
            {"train": [{"problem": "?", "answer": "4"}], "test": [{"problem": "x"}]},
            ("`train`, `test`", "write the rows alone"),
        ),
    ],
)
def test_an_object_around_all_rows_is_named(write, content, words):
    message = refusal(write(content))
    assert [word for word in words if word not in message] == []


def test_a_chat_may_be_columns_that_count_its_turns(write):
    answered = {"from": "assistant", "ground_truth": {"value": "4"}}
    row = {"0": {"from": "human", "value": ASKED}, "1": answered}
    for name in ("a.json", "a.parquet"):
        problem = ProblemFile(write(row, row, name=name))[1]
        assert (problem.question, problem.answer) == (ASKED, "4")
    later = {"10": said("4"), "9": user()}
    assert ProblemFile(write(later))[0].answer == "4"
    assert "unknown schema" in refusal(write({"0": "a", "1": "b"}))


def test_a_name_that_is_there_twice_is_refused(write):
    row = '{"problem": "?", "answer": "4", "answer": "5"}'
    message = refusal(write(row))
    assert "line 1: `answer` is there twice in one object" in message
    assert "twice" in refusal(write(row, name="a.json"))


BARE = {"question": ASKED, "answer": "4"}
ALPACA = {"instruction": ASKED, "input": "?", "output": "4"}


@pytest.mark.parametrize("broken", ["\\u0000", "\\ud800", "\\udfff"])
@pytest.mark.parametrize(
    "row, field",
    [
        *((BARE, field) for field in ("question", "answer", "solution", "id", "ID")),
        (verl("4", extra_info={"question": ASKED}), "extra_info.answer"),
        (verl("4", extra_info={}), "extra_info.index"),
        (ALPACA, "input"),
        ({"question": ASKED, "final_answer": "4"}, "context"),
        ({"prompt": ASKED}, "solution"),
    ],
)
def test_what_is_no_text_is_named(write, broken, row, field):
    row = json.loads(json.dumps(row))
    *above, name = field.split(".")
    inner = row[above[0]] if above else row
    inner[name] = "\\boxed{4} ab@"
    bad = json.dumps(row).replace("@", broken)
    good = json.dumps(row).replace("@", "")
    message = refusal(write(good, bad))
    assert f"line 2: `{field}` has " in message and "(U+" in message
    message.encode("utf-8")


def test_a_box_in_a_box_is_part_of_it():
    written = "\\boxed{x = \\fbox{4}}, \\boxed 5 and \\boxed{\\{1\\}}"
    assert golds.boxes(written) == ["x = \\fbox{4}", "5", "\\{1\\}"]


def test_the_bare_problem_of_verl_comes_first(write):
    extra = {"raw_problem": ASKED, "question": f"{ASKED} Think."}
    row = {"prompt": [user("?")], "reward_model": {"ground_truth": "4"}}
    for name in ("raw_problem", "question"):
        assert (
            ProblemFile(write({**row, "extra_info": extra}))[0].question
            == (extra[name])
        )
        broken = {**extra, name: "What is it?</s>"}
        message = refusal(write({**row, "extra_info": broken}))
        assert f"`extra_info.{name}` holds `</s>`" in message
        del extra[name]
    assert ProblemFile(write({**row, "extra_info": extra}))[0].question == "?"


def test_an_instruction_stands_before_what_it_is_about(write):
    for missing in (None, "", " "):
        assert ProblemFile(write({**ALPACA, "input": missing}))[0].question == ASKED
    asked = ProblemFile(write({**ALPACA, "input": "It is even."}))[0].question
    assert asked == f"{ASKED}\n\nIt is even."


def test_rows_of_parquet_are_counted_through_its_batches(tmp_path, monkeypatch):
    row = {"problem": ASKED, "answer": "4"}
    table = pyarrow.Table.from_pylist([*[row] * 4, {**row, "answer": "\0"}])
    path = str(tmp_path / "a.parquet")
    pyarrow.parquet.write_table(table, path)
    batches = pyarrow.parquet.ParquetFile.iter_batches
    small = functools.partialmethod(batches, batch_size=2)
    monkeypatch.setattr(pyarrow.parquet.ParquetFile, "iter_batches", small)
    assert f"{path}, row 5: `answer`" in refusal(path)


@pytest.mark.parametrize("given", [5, ["a", "b"], {"a": 1}])
def test_what_a_question_is_about_is_text_or_missing(write, given):
    message = refusal(write(ALPACA, {**ALPACA, "input": given}))
    assert "line 2: `input` is not text but" in message
    for missing in (None, "", " \n", []):
        path = write({**ALPACA, "input": missing})
        assert ProblemFile(path)[0].question == ASKED
    context = {"question": ASKED, "final_answer": "4", "context": given}
    assert "`context` is not text but" in refusal(write(context))


CHOICES = {"question": ASKED, "choices": ["3", "4", "5", "6"]}


@pytest.mark.parametrize(
    "row",
    [
        {**CHOICES, "answer": 1},
        {**CHOICES, "answer": "B"},
        {**CHOICES, "answer": "(B)"},
        {**CHOICES, "choices": {"label": ["A", "B"], "text": ["3", "4"]}, "answer": 1},
        {"question": ASKED, "options": ["A)3", "B)4"], "answer": "B"},
        {**CHOICES, "choices": ["0", "1", "2"], "answer": 1},  # counts, or is one
    ],
)
def test_the_number_of_a_choice_is_no_answer(write, row):
    message = refusal(write(row))
    assert "the place of" in message and "the letter B as the answer" in message


@pytest.mark.parametrize(
    "row",
    [
        {**CHOICES, "answer": "4"},
        {**CHOICES, "answer": "7"},
        {**CHOICES, "choices": [], "answer": 1},
        {**CHOICES, "choices": ["0", "1", "2"], "answer": "1"},
        {**CHOICES, "choices": None, "answer": "B"},
        {**CHOICES, "question": "Which? A) 3 B) 4 C) 5 D) 6", "answer": "B"},
    ],
)
def test_answers_beside_choices_stay(write, row):
    assert ProblemFile(write(row))[0].answer == str(row["answer"])


def test_columns_that_are_not_there_are_named_with_those_that_are(write):
    message = refusal(write(ROW), Columns("problem", "anwser"))
    assert "the column `anwser` is missing (did you mean `answer`?)" in message
    assert "found are problem, answer" in message


def test_a_remedy_names_what_helps(write):
    path = write(ROW, {"question": ASKED, "answer": "4"})
    assert "another schema (question)" in refusal(path)
    alone = refusal(write({"problem": ASKED, "answer": ["4", {}]}))
    assert "schema (" not in alone and "--columns" not in alone
    more = refusal(write({"problem": ASKED, "answer": {"a": 1}, "gold": "4"}))
    assert "--columns QUESTION ANSWER" in more and "Columns(question=..." in more
    assert "Columns found: 'problem ', 'x'" in refusal(write({"problem ": "?", "x": 1}))


def test_what_is_left_out_of_chats_and_questions_is_counted(write, caplog):
    system = {"role": "system", "content": "Be brief."}
    len(ProblemFile(write({"prompt": [system, user()], "answer": "4"})))
    assert "1 chats have a system turn, which is left out" in caplog.text
    assert "a picture alone" in refusal(
        write({"problem": "![](https://x.org/1.jpg)", "answer": "4"})
    )
    for start in ("<think>\nWhat?", "</think> What?"):
        message = refusal(write({"problem": start, "answer": "4"}))
        assert "begins with the reasoning of a response" in message


PREFILLED = [user(), said("Let me see.\n<think>")]
GIVEN = {"extra_info": {"question": ASKED}}


@pytest.mark.parametrize(
    "row, schema",
    [
        ({"answer": "4"}, None),
        ({"solution": SOLVED}, None),
        ({"ground_truth": "4"}, None),
        ({"reward_model": {"ground_truth": "4"}}, None),
        ({"reward_model": {"ground_truth": "4"}, **GIVEN}, None),
        ({"gold": "4"}, Columns("prompt", "gold")),
    ],
)
@pytest.mark.parametrize("form", [list, json.dumps])
def test_a_response_that_a_prompt_begins_is_refused(write, row, schema, form):
    good = {"prompt": form([user()]), **row}
    blank = {"prompt": form([user(), said("")]), **row}
    begun = {"prompt": form(PREFILLED), **row}
    assert ProblemFile(write(good, blank), schema)[1].question == ASKED
    message = refusal(write(good, begun), schema)
    assert "line 2: `prompt` ends in an assistant turn ('Let me see." in message
    assert "remove that turn, or name the column `messages`" in message


def test_what_an_assistant_says_before_the_question_is_refused(write):
    greeted = [said("Ask me."), user()]
    row = {"prompt": greeted, "answer": "4"}
    message = refusal(write({**row, "prompt": [user()]}, row))
    assert "line 2: `prompt` has an assistant turn ('Ask me.') before the" in message
    for turns in (greeted, [*greeted, said("4")]):
        message = refusal(write({"messages": turns}))
        assert "`messages` has an assistant turn ('Ask me.') before the" in message


def test_turns_of_other_roles_are_counted(write, caplog):
    spoken = {"content": "Be brief."}
    for role, remedy in (
        ("developer", ": set one in the template"),
        ("tool", ""),
    ):
        caplog.clear()
        len(
            ProblemFile(
                write({"prompt": [user(), {"role": role, **spoken}], "answer": "4"})
            )
        )
        (record,) = caplog.records
        assert record.message.endswith(
            f"1 chats have a {role} turn, which is left out{remedy}"
        )


def test_gaps_of_tables_have_no_answer(write):
    rows = [{"problem": ASKED, "answer": each} for each in (4.0, float("nan"))]
    path = write(*rows, name="a.parquet")
    assert "row 2: `answer` is NaN, which is no answer" in refusal(path)
    assert ProblemFile(path, unanswered=1)[0].answer == "4"
    price = {"problem": ASKED, "answer": decimal.Decimal("5.50")}
    assert ProblemFile(write(price, name="b.parquet"))[0].answer == "5.50"
