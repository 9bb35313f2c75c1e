"""A prompt begins once, whoever writes its begin token, and holds its question."""

import json

import pytest

from maspo_jax.data.prompts import templates
from maspo_jax.data.prompts.render import prompt_tokens
from maspo_jax.data.prompts.tokenizer import ByteTokenizer, PieceTokenizer
from maspo_jax.data.sources import Problem

PROBLEM = Problem("a", "12", "3")


class Beginning(PieceTokenizer):
    """Puts `<` before a text, as the file of a tokenizer may say."""

    bos_tokens = (2,)  # of the first piece


TOKENIZER = Beginning(("<", "1", "2"))


class Chat:
    """Stands for a chat template, which writes what it needs."""

    add_bos = False

    def render(self, question):
        return f"<{question}"


@pytest.mark.parametrize(
    "template",
    [templates.PLAIN, templates.Template("written", before="<"), Chat()],
    ids=["added", "written by a template", "written by a chat"],
)
def test_a_prompt_begins_once(template):
    assert prompt_tokens(PROBLEM, template, TOKENIZER) == [2, 3, 4]


def test_a_chat_that_writes_none_is_given_none():
    class Bare(Chat):
        def render(self, question):
            return question

    assert prompt_tokens(PROBLEM, Bare(), TOKENIZER) == [3, 4]


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("asked", ["1+1?", 'Is "é" a\nletter?', "Is \\frac{é}{2} 5?"])
def test_a_question_written_as_json_is_in_its_prompt(asked, ascii_only):
    class Quoted(Chat):
        def render(self, question):
            turns = [{"role": "user", "content": question}]
            return json.dumps(turns, ensure_ascii=ascii_only)

    class Cut(Chat):
        def render(self, question):
            return json.dumps(question[:-1], ensure_ascii=ascii_only)

    problem = Problem("a", asked, "2")
    assert prompt_tokens(problem, Quoted(), ByteTokenizer())
    with pytest.raises(ValueError, match="leaves its question out, or changes"):
        prompt_tokens(problem, Cut(), ByteTokenizer())
