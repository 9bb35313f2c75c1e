"""Prompts that a chat format was already rendered around.

    <|im_start|>user ... <|im_end|> <|im_start|>assistant  ->  ...

Some sets keep a prompt as a policy of theirs was asked. A template would render it a
second time, so that the markup is taken off where it is one of a known format with one
question, and refused anywhere else.
"""

import re


def _format(begin, system, user, end, assistant):
    """Returns the pattern of a begin token and the heads and ends of turns."""
    begin, system, user, end, assistant = map(
        _literal, (begin, system, user, end, assistant)
    )
    space = r"\s*" if end else ""  # else it is of the question
    return re.compile(
        rf"\s*(?:{begin})?(?:{system}(?P<system>.*?){end}{space})?"
        rf"{user}(?P<question>.*?)"
        rf"(?:{end}{space})?(?:{assistant}\s*(?:<think>\s*)?)?",
        re.DOTALL,
    )


def _literal(text):
    """Returns the pattern of a text, whose line breaks need not be there."""
    return re.escape(text).replace("\\\n", "\n").replace("\n", "\n?")


def _headed(role):
    return f"<|start_header_id|>{role}<|end_header_id|>\n\n"


_FORMATS = (
    _format(  # DeepSeek-R1 and its distillations: the system turn has no head
        "<｜begin▁of▁sentence｜>", "", "<｜User｜>", "", "<｜Assistant｜>"
    ),
    _format(  # ChatML: Qwen
        "",
        "<|im_start|>system\n",
        "<|im_start|>user\n",
        "<|im_end|>",
        "<|im_start|>assistant",
    ),
    _format(  # Llama 3
        "<|begin_of_text|>",
        _headed("system"),
        _headed("user"),
        "<|eot_id|>",
        _headed("assistant"),
    ),
    _format(  # Gemma, which has no system turn
        "<bos>",
        "<start_of_turn>system\n",
        "<start_of_turn>user\n",
        "<end_of_turn>",
        "<start_of_turn>model",
    ),
)

# No bare question holds one of them.
_MARKUP = re.compile(
    r"<\|(?:im_start|im_end|start_header_id|end_header_id|eot_id|begin_of_text"
    r"|system|user|assistant|endoftext|end|start|message|channel)\|>"
    r"|<｜[^｜\s]{1,30}｜>"
    r"|</?(?:start|end)_of_turn>"
    r"|\[/?INST\]|<</?SYS>>|</s>|<(?:bos|eos)>|\A\s*<s>(?!.*</s>.)"
    # Alpaca and Vicuna, at the beginning of a line.
    r"|^[ \t]*#{2,3} ?(?:Instructions?|Response|Human|Assistant|User|System|Input):",
    re.IGNORECASE | re.MULTILINE,
)
# What tokenizers put around a text, and marks of its encoding.
_BEGIN = re.compile(
    r"\A(?:\s|[\ufeff\u200b]|<s>|<bos>|<\|(?:begin_of_text|startoftext)\|>"
    r"|<｜begin▁of▁sentence｜>)+"
)
_END = re.compile(
    r"(?:\s|[\ufeff\u200b]|</s>|<eos>|<end_of_turn>|<pad>"
    r"|<\|(?:im_end|endoftext|eot_id|end_of_text|end)\|>"
    r"|<｜end▁of▁sentence｜>)+\Z"
)
# Without tokens of its own, a chat shows by who is to speak at its end.
_SPEAKER = re.compile(
    r"\b(?:User|Human|Instruction):.*\b((?:Assistant|GPT|AI|Bot|Response):)"
    r"\s*(?:<think>\s*)?\Z"
    r"|(?:\A|\n)\s*(?:Question|Problem|Q) ?(?:\d+ ?)?[:.]"
    r".*\n\s*((?:Answer|Solution|A) ?:)\s*(?:<think>\s*)?\Z",
    re.DOTALL | re.IGNORECASE,
)


def strip_markup(prompt: str) -> str:
    """Returns the question of a prompt rendered as one user turn, else the prompt."""
    if _MARKUP.search(prompt):
        for form in _FORMATS:
            found = form.fullmatch(prompt)
            if found and found["question"]:
                parts = found["question"], found["system"] or ""
                if not any(map(_MARKUP.search, parts)):
                    return found["question"]
    return prompt


def without_ends(text: str) -> str:
    """Returns a text without begin tokens before it and end tokens behind it."""
    return _END.sub("", _BEGIN.sub("", text))


def find_markup(text: str) -> str | None:
    """Returns the first markup of a chat format in a text, None where there is none."""
    found = _MARKUP.search(text)
    speaks = _SPEAKER.search(text)
    if found:
        return found[0].strip()
    return speaks and (speaks[1] or speaks[2])
