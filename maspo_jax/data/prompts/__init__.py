"""From a problem to the tokens a policy is asked.

    Problem --template--> text --tokenizer, render--> Prompts

`templates` holds the instructions that published work asks with, `ChatTemplate` asks
in the chat format of a checkpoint, tokenizers turn text into tokens and back, and
`render` puts them together: it is the one answer to "what is a prompt".
"""

from maspo_jax.data.prompts import templates
from maspo_jax.data.prompts.chat import ChatTemplate, template_of
from maspo_jax.data.prompts.templates import Template
from maspo_jax.data.prompts.tokenizer import (
    ByteTokenizer,
    FileTokenizer,
    PieceTokenizer,
    Tokenizer,
)

__all__ = [
    "ByteTokenizer",
    "ChatTemplate",
    "FileTokenizer",
    "PieceTokenizer",
    "Template",
    "Tokenizer",
    "template_of",
    "templates",
]
