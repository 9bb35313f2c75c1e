"""The begin token of a prompt: there is one, whoever writes it."""

import pytest

from maspo_jax.data.prompts import templates
from maspo_jax.data.prompts.render import prompt_tokens
from maspo_jax.data.prompts.tokenizer import PieceTokenizer
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
