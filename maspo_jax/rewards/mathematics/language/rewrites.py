r"""What is rewritten in a text before it is cut into tokens.

    100^\circ\mathrm{C}, 3{:}30 p.m.  ->  100\text{ celsius}, 3:30 pm

Spellings that no single token shows, as a table. Every pattern is linear.
"""

import re

from maspo_jax.rewards.mathematics.language import lexicon

_DROPPED = ("$$", "\\(", "\\)", "\\[", "\\]")  # delimiters of mathematics
_TEMPERATURE = (
    r"(?:\^\s*(?:\\circ|\{\s*\\circ\s*\})|\\degree)(?![A-Za-z])\s*(?:\\[,;: ]\s*)?"
    r"(?:\\(?:text|mathrm)\s*\{\s*SCALE\s*\}|SCALE(?![A-Za-z]))"
)
# A text without the first string does not match the pattern beside it.
_RULES = [
    (hint, re.compile(pattern), replacement)
    for hint, pattern, replacement in (
        ("\\text{,}", r"\\text\{,\}", "{,}"),
        ("{", r"(?<![_^a-zA-Z}])\{([-+=:.])\}", r"\1"),  # 3{:}30, {-}7
        ("C", _TEMPERATURE.replace("SCALE", "C"), r"\\text{ celsius}"),
        ("F", _TEMPERATURE.replace("SCALE", "F"), r"\\text{ fahrenheit}"),
        (".", r"\b(?:np|numpy|math|sympy)\.(?=[a-z])", ""),  # Minerva: np.arcsin
        ("m", r"\b([aApP])\.\s?m\b\.?|(?<=\d)\s*([aApP])m\b", r" \1\2m"),  # p.m., 3pm
        ("M", r"\b([aApP])\.\s?M\b\.?|(?<=\d)\s*([aApP])M\b", r" \1\2m"),
    )
]
_ESCAPED_TWICE = re.compile(r"\\\\(?=[A-Za-z])")


def rewritten(text):
    """Returns a text in the spellings that the tokenizer knows."""
    if not text.isascii():
        text = text.translate(lexicon.UNICODE)
    text = text.replace("\\$", " dollars ")
    for delimiter in _DROPPED:
        text = text.replace(delimiter, "")
    if "\\\\" in text and "\\begin" not in text:  # \\frac, from JSON within JSON
        text = _ESCAPED_TWICE.sub(r"\\", text)
    for hint, pattern, replacement in _RULES:
        if hint in text:
            text = pattern.sub(replacement, text)
    return text
