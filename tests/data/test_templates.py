"""Templates add text around a question and never touch the question itself."""

import json

import pytest

from maspo_jax.config import serialization
from maspo_jax.data.prompts import Template, templates

every_template = pytest.mark.parametrize(
    "template", templates.ALL, ids=lambda t: t.name
)

QUESTIONS = (
    "What is 1+1?",
    "Let $Answer = {x}$; is 5% of %s $x, ${y} or \\boxed{2}?",
    "  space and lines around it\n\n",
    "Two\nlines, a tab\t and U+2028 \u2028.",
)


@every_template
@pytest.mark.parametrize("question", QUESTIONS)
def test_the_question_survives_as_it_is(template, question):
    prompt = template.render(question)
    assert prompt.count(question) == 1
    assert template.question(prompt) == question


@every_template
def test_a_prompt_of_any_template_is_bared_once(template):
    assert templates.strip_instructions(template.render(QUESTIONS[1])) == QUESTIONS[1]


@every_template
def test_a_template_that_names_a_form_of_answer_writes_it(template):
    marks = {templates.BOX: "\\boxed{", templates.HASHES: "####"}
    mark = marks.get(template.answer, template.answer)
    assert template.answer is None or mark in template.render("?")


def test_text_of_no_template_is_left_alone():
    assert templates.DAPO.question(QUESTIONS[0]) is None
    assert templates.strip_instructions(QUESTIONS[0]) == QUESTIONS[0]


def test_before_and_after_may_not_overlap():
    assert Template("twin", before="ab", after="ba").question("aba") is None


def test_only_the_plain_template_asks_nothing():
    silent = [t for t in templates.ALL if t.render("") == ""]
    assert silent == [templates.PLAIN]


def test_dapo_keeps_its_dollar_sign():
    assert "Answer: $Answer (without quotes)" in templates.DAPO.render("?")


@every_template
def test_an_experiment_can_hold_it(template):
    record = json.loads(json.dumps(serialization.to_json(template)))
    assert serialization.from_json(record) == template


RENDERED = (
    "<｜User｜>{}<｜Assistant｜><think>\n",
    "<｜User｜>{}<｜Assistant｜><think>",
    "<｜User｜>{}<｜Assistant｜>",
    "\n<｜User｜>{}<｜Assistant｜><think>\n",
    "<｜begin▁of▁sentence｜><｜User｜>{}<｜Assistant｜><think>\n",
)


@pytest.mark.parametrize("frame", RENDERED)
@pytest.mark.parametrize("question", QUESTIONS)
def test_the_markup_of_a_rendered_prompt_is_taken_off(frame, question):
    question = question.rstrip()  # a line break there may belong to an instruction
    for asked in (question, templates.BOXED.render(question)):
        assert templates.strip_instructions(frame.replace("{}", asked)) == question


def test_names_are_unique():
    assert len({template.name for template in templates.ALL}) == len(templates.ALL)
