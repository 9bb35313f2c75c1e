"""Where the final answer of a response is found, and where none is."""

import pytest
from support.deadlines import cpu_deadline

from maspo_jax.data.prompts import chat
from maspo_jax.rewards import extraction
from maspo_jax.rewards.extraction import (
    LONGEST,
    TAIL,
    extract,
    reference,
    strip_reasoning,
)

ANSWERS = [
    "42",
    r"\frac{1}{2}",
    r"\{1, 2\}",
    r"\left\{ x \right.",
    r"a\} \}",
    r"\text{a } {b}",
    "x_{1}",
    "(1, 2)",
]
EMPTY = [
    "",
    "   \n",
    r"\boxed{}",
    r"the answer is \boxed{ }",
    "#### ",
    "The answer is $",
]


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize(
    "frame",
    [
        r"so \boxed{%s}.",
        r"$$\boxed {%s}$$ and more text",
        r"first \boxed{7}, no: \fbox{%s}",
        r"<think>\boxed{7}</think> Hence \boxed{%s}",
        r"\boxed{\boxed{%s}}",
        r"The answer is 7. \boxed{%s} and the answer is 8.",
    ],
)
def test_the_last_complete_box_counts(answer, frame):
    assert extract(frame.replace("%s", answer)).text == answer


@pytest.mark.parametrize("answer", ["42", "1,234", "-5", "$x+1$", "3/4"])
@pytest.mark.parametrize(
    "frame",
    [
        "The answer is %s.",
        "**Final Answer:** %s",
        "Answer: **%s**",
        "long work\n#### %s",
        "The answer is 7. No, wait: the answer is %s",
        "<answer>%s</answer>",
        "The final answer is: %s. I hope it is correct.",
        "### Final Answer\n\n%s\n",
        "**Answer**\n%s",
        "Final Answer:\n$$\n%s\n$$",
        "The answer to the problem is %s.",
        "The answer equals %s, which is small.",
        "The answer is thus %s.",
        "所以答案是%s。",
        "答案：%s",
        "**%s**",
    ],
)
def test_without_a_box_the_last_statement_counts(answer, frame):
    assert extract(frame.replace("%s", answer)).text == answer


@pytest.mark.parametrize(
    "response, answer",
    [
        (r"so $\boxed 5$.", "5"),
        (r"so \boxed 12.", "12"),
        (r"so \fbox x", "x"),
        (r"so \boxed x^2", None),
        (r"so \boxed 5/6", None),
        ("**Answer:** m + n = 256 + 37 = **293**", "m + n = 256 + 37 = **293**"),
        ("**Answer:** 2**3", "2**3"),
        ("Answer: **42**", "42"),
        ("综上所述，答案是：\\(5\\)", "\\(5\\)"),
    ],
)
def test_what_belongs_to_an_answer_and_what_is_around_it(response, answer):
    assert extract(response).text == answer


@pytest.mark.parametrize("response", EMPTY)
def test_an_empty_answer_is_no_answer(response):
    assert extract(response).text is None


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_box_that_never_closes_is_no_answer(answer):
    assert extract(rf"so \boxed{{{answer}").text is None
    assert extract(rf"\boxed{{7}} and then \boxed{{{answer}").text is None


@pytest.mark.parametrize(
    "response",
    [
        "Therefore there are 34 such numbers.",
        "17 + 17 = 34",
        "It may be 34 or 35.",
        "Perhaps the intended answer is (C) 34, since there are 34 terms.",
        "I wonder whether the answer is 34.",
        "The answer is 34. Or, maybe the answer is 35.",
        "I have no answer\n34",
        "<think>The answer is 34.</think>",
        r"the answer is \frac{3",
    ],
)
def test_the_last_number_of_a_text_is_no_answer(response):
    assert extract(response).text is None


@pytest.mark.parametrize(
    "link", [", ", " and ", r"$ and $", r" \quad ", "; ", "$, $x=$"]
)
def test_adjacent_boxes_are_one_answer_only_to_a_list(link):
    response = rf"the roots are \boxed{{1}}{link}\boxed{{2}}"
    assert extract(response, many=True).text == "1, 2"
    assert extract(response, many=False).text == "2"


def test_boxes_with_prose_between_are_not_joined():
    response = r"first \boxed{1}. But I forgot a case, so \boxed{2}"
    assert extract(response, many=True).text == "2"


@pytest.mark.parametrize(
    "gold", ["5", " 5 ", r"\boxed{5}", "#### 5", r"so $\boxed{5}$"]
)
def test_references_are_unwrapped(gold):
    assert reference(gold) == "5"


@pytest.mark.parametrize(
    "piece",
    [
        "a ", "{", "}", "\\", r"\boxed{", r"\boxed{1} ", "answer is ", "#### ", "**",
        "the final answer: ", "</think>", "\n", "$",
    ],
)  # fmt: skip
def test_a_megabyte_takes_no_time(piece):
    text = piece * (1_000_000 // len(piece))
    with cpu_deadline():
        found = extract(text, many=True)
    assert found.text is None or len(found.text) <= LONGEST * 64


BARE = {r"\boxed 5.": "5", r"\boxed x": "x", r"\boxed\pi": r"\pi"}
BARE |= {r"\boxed \infty$": r"\infty", r"\boxed 3.5": "3.5"}


@pytest.mark.parametrize("text", BARE)
def test_a_box_without_braces_holds_what_stands_alone(text):
    assert extract("So " + text).text == BARE[text]


@pytest.mark.parametrize("text", [r"\boxed 5x", r"\boxed\frac12", r"\boxed\sqrt{2}"])
def test_a_box_without_braces_holds_no_more(text):
    assert extract("So " + text).text is None


def test_only_the_end_of_a_response_is_searched():
    assert extract(r"\boxed{5}" + "a " * 1_000).text == "5"
    assert extract(r"\boxed{5}" + "a " * TAIL).text is None


REASONING = {
    # Opened wherever it stands, with what is before it, and never closed: no answer.
    "\n<think>\nso 34": "",
    "Well. 34 <think> so 34": "",
    "<think>Hm.</think><think>so 34": "",
    "<think>Hm.</think> 34\n <think>no, 35": "",
    "Hm.</think> 34\n<think>no, 35": "",
    # Closed: what follows, the text between two of them too.
    "\n <think>Hm.</think> 34": " 34",
    "Well. 35 <think>Hm.</think> 34": " 34",
    "<think>Hm. <think>Hm.</think> 34": " 34",
    "<think>Hm.</think> 34\n<think>Sure.</think>\nYes.": " 34\n\nYes.",
    "<think></think>\n<think></think>34": "\n34",
    # A word of an answer about reasoning, once reasoning is over.
    "<think>Hm.</think> The <think>: 34": " The <think>: 34",
    "<think>Hm.</think> Say `<think>`. 34": " Say `<think>`. 34",
    "Hm.</think> Say `<think>`. 34": " Say `<think>`. 34",
    "<think>Hm.</think> 34. I wrote </think> before.": " 34. I wrote </think> before.",
    # Closed, but opened by the prompt: what follows, and of several the last that
    # begins a line, where reasoning had gone on.
    "It ends in </think>. 34": ". 34",
    "Hm.</think> 34": " 34",
    "</think>\n34": "\n34",
    "35</think></think>34": "34",
    "35</think>\nHm. 36\n </think>\n34": "\n34",
    "<think>35</think> 36\n</think> 34": " 34",
    "35</think> 34, says `</think>`.": " 34, says `</think>`.",
    "<think>Hm.</think>\n35</think>\n</think>34": "34",
    "<think>Hm.</think>\xa0</think>34": "34",
    "<think>Hm.</think>\r\n\r</think>34": "34",
    "34": "34",
    "": "",
}


@pytest.mark.parametrize("text", REASONING, ids=repr)
def test_what_is_not_reasoning_is_the_answer(text):
    assert strip_reasoning(text) == REASONING[text]


def test_boxes_far_apart_are_no_list():
    near, far = (f"\\boxed{{1}} and{' ' * gap}\\boxed{{2}}" for gap in (9, 64))
    assert extract(near, many=True).text == "1, 2"
    assert extract(far, many=True).text == "2"


def test_quoted_tags_side_by_side_open_nothing():
    said = "<think>Hm.</think>\\boxed{5} says </think><think> x"
    assert extract(said).text == "5"


TAGS = {
    **{f"<{kind}>": f"</{kind}>" for kind in ("Think", "thinking", "thought")},
    **{f"<{kind}>": f"</{kind}>" for kind in ("reasoning", "seed:think", "REASONING")},
    "<|begin_of_thought|>": "<|end_of_thought|>",
}


@pytest.mark.parametrize("opens", TAGS)
def test_other_tags_are_around_reasoning_as_think_is(opens):
    for text, answer in REASONING.items():
        pair = (("<think>", opens), ("</think>", TAGS[opens]))
        for think, tag in pair:
            text, answer = text.replace(think, tag), answer.replace(think, tag)
        assert strip_reasoning(text) == answer
    assert strip_reasoning(f"{opens}Hm. 35{TAGS[opens]} 34") == " 34"


@pytest.mark.parametrize("opens", [tag for tag in TAGS if tag.lower() != "<think>"])
def test_reasoning_ends_with_its_own_tag(opens):
    assert strip_reasoning(f"{opens}Hm.</think> 34") == ""
    assert strip_reasoning(f"<think>Hm.{TAGS[opens]} 34") == ""
    assert strip_reasoning(f"<think>Hm. {opens}35{TAGS[opens]}</think> 34") == " 34"


def test_reasoning_opened_many_times_takes_no_time():
    with cpu_deadline():
        assert strip_reasoning("<think></think>\n" * 100_000 + "34").strip() == "34"
        assert strip_reasoning("<think>\n" * 100_000) == ""
        spaces = " " * 1_000_000 + "\n" * 1_000_000
        assert strip_reasoning(spaces + "34").strip() == "34"


@pytest.mark.parametrize("text", REASONING, ids=repr)
def test_reasoning_is_stripped_once_whoever_asks_again(text):
    answer = strip_reasoning(text)
    assert strip_reasoning(answer) is answer
    assert extract(text) == extract(answer)


def test_prompts_and_answers_agree_on_what_is_around_reasoning():
    assert (chat.THINK, chat.THOUGHT) == (extraction.THINK, extraction.THOUGHT)
